"""Doctor's checks of cores: are they there, left alone, awake and fast."""

from __future__ import annotations

import struct

from processes.doctor_subject import Finding, Subject
from processes.host import Host, cores_text, parse_core_mask

#: A core that may sleep deeper than this answers a packet that much later.
EXIT_LATENCY_US_MAX = 2

BOOT = "kernel arguments in tuning/kernel/hft.cfg, then reboot"


def cores_exist(subject: Subject) -> Finding:
    """Every pinned core is online."""
    online = subject.host.online
    missing = subject.cores - online
    return Finding(
        "cores",
        "unknown" if not online else "bad" if missing else "ok",
        f"online {cores_text(online)}" + (f"; {cores_text(missing)} pinned but not online" if missing else ""),
        f"{cores_text(subject.cores)} online" if subject.cores else "any",
        "a stage pinned to a core that is not there is refused",
        "name other cores in the config's placement, or bring them online (SMT off removes siblings)",
    )


def _covered(subject: Subject, name: str, covered: frozenset[int], why: str) -> Finding:
    # A list of cores that should contain every pinned one.
    missing = subject.cores - covered
    grade = ("bad" if missing else "ok") if subject.cores else ("ok" if covered else "warn")
    return Finding(
        name,
        grade,
        cores_text(covered) + (f"; not {cores_text(missing)}" if missing else ""),
        cores_text(subject.cores) if subject.cores else "the trading cores",
        why,
        BOOT,
    )


def isolated_cores(subject: Subject) -> Finding:
    """The scheduler puts nothing else on the trading cores."""
    why = "any other task on a trading core takes milliseconds away from a stage"
    return _covered(subject, "isolated cores", subject.isolated, why)


def tickless_cores(subject: Subject) -> Finding:
    """The timer tick is off on the trading cores."""
    found = subject.host.cores("/sys/devices/system/cpu/nohz_full") or frozenset()
    return _covered(subject, "nohz_full", found, "the scheduler's tick interrupts a stage 100 to 1000 times a second")


def rcu_offloaded(subject: Subject) -> Finding:
    """RCU callbacks run elsewhere; nohz_full implies it."""
    found = subject.host.argument_cores("rcu_nocbs") | subject.host.argument_cores("nohz_full")
    return _covered(subject, "rcu_nocbs", found, "kernel callbacks otherwise run on the core that queued them")


def governor(subject: Subject) -> Finding:
    """The trading cores keep their highest frequency."""
    host = subject.host
    found = {core: host.core_file(core, "cpufreq/scaling_governor") for core in subject.trading}
    wrong = {core for core, value in found.items() if value not in (None, "performance")}
    known = sorted({value for value in found.values() if value})
    return Finding(
        "governor",
        ("bad" if subject.cores else "warn") if wrong else "ok" if known else "unknown",
        (", ".join(known) or "no frequency control") + (f" (cores {cores_text(wrong)})" if wrong else ""),
        "performance",
        "a core that slowed down needs up to milliseconds to come back",
        subject.apply(),
    )


def smt(subject: Subject) -> Finding:
    """No two stages share a core's execution units."""
    host = subject.host
    active = host.text("/sys/devices/system/cpu/smt/active")
    shared = []
    for core in sorted(subject.cores):
        siblings = host.cores(f"/sys/devices/system/cpu/cpu{core}/topology/thread_siblings_list") or frozenset()
        if len(siblings & subject.cores) > 1 and core == min(siblings & subject.cores):
            shared.append(cores_text(siblings & subject.cores))
    return Finding(
        "SMT",
        "bad" if shared else "unknown" if active is None else "warn" if active == "1" else "ok",
        f"pinned cores {' and '.join(shared)} are one core's threads" if shared else {"1": "on", "0": "off"}.get(active or "", "unknown"),
        "off",
        "a busy sibling takes a third to a half of a core's speed, at moments nobody chooses",
        f"off in the firmware, or {subject.apply()}; at least pin no two stages to siblings",
    )


def irq_default(subject: Subject) -> Finding:
    """New interrupts go to housekeeping cores."""
    text = subject.host.text("/proc/irq/default_smp_affinity")
    try:
        found = None if text is None else parse_core_mask(text)
    except ValueError:
        found = None
    # The mask of an untouched host covers cores that do not exist.
    hit = (found or frozenset()) & subject.trading
    everywhere = not subject.cores and not subject.isolated
    return Finding(
        "IRQ default",
        "unknown" if found is None else "ok" if not hit else "warn",
        "unreadable" if found is None else cores_text(found & subject.host.online if subject.host.online else found),
        "housekeeping cores only" if not everywhere else "not the trading cores",
        "devices that appear later would interrupt a stage",
        f"irqaffinity= on the kernel command line, or {subject.apply()}",
    )


def irq_placement(subject: Subject) -> Finding:
    """No interrupt is served by a trading core."""
    host = subject.host
    hit: list[str] = []
    readable = False
    for number in host.folders("/proc/irq"):
        if not number.isdigit():
            continue
        served = host.cores(f"/proc/irq/{number}/effective_affinity_list") or host.cores(f"/proc/irq/{number}/smp_affinity_list")
        readable = readable or served is not None
        if served and served & subject.trading:
            hit.append(number)
    pinned = bool(subject.cores or subject.isolated)
    grade = "unknown" if not readable else "ok" if not hit else "bad" if subject.cores else "warn"
    listed = ",".join(hit[:8]) + (f" and {len(hit) - 8} more" if len(hit) > 8 else "")
    return Finding(
        "IRQ affinity",
        grade,
        "unreadable" if not readable else f"IRQ {listed} on trading cores" if hit else "none on trading cores",
        "none on trading cores" if pinned else "isolated cores that serve none",
        "a device interrupt and its soft interrupt stop a stage for 2 to 50 us",
        subject.apply(),
    )


def irq_balancer(subject: Subject) -> Finding:
    """irqbalance does not undo the placement."""
    host = subject.host
    running = host.running("irqbalance")
    banned = host.text("/run/systemd/system/irqbalance.service.d/hft.conf") is not None
    return Finding(
        "irqbalance",
        "ok" if not running or banned else "warn",
        ("running, trading cores banned" if banned else "running") if running else "not running",
        "not running, or the trading cores banned",
        "it moves interrupts back every ten seconds; it spares isolcpus, not cores chosen otherwise",
        subject.apply(),
    )


def _deepest(host: Host, core: int) -> tuple[int, str] | None:
    # Exit latency (us) and name of the deepest idle state that is enabled.
    states = []
    for state in host.folders(f"/sys/devices/system/cpu/cpu{core}/cpuidle"):
        latency_us = host.number(f"/sys/devices/system/cpu/cpu{core}/cpuidle/{state}/latency")
        if latency_us is not None and host.core_file(core, f"cpuidle/{state}/disable") != "1":
            states.append((latency_us, host.core_file(core, f"cpuidle/{state}/name") or state))
    return max(states, default=None)


def idle_states(subject: Subject) -> Finding:
    """The trading cores do not sleep deeply, by their own states or by a request on /dev/cpu_dma_latency."""
    host = subject.host
    deepest = max((found for core in subject.trading if (found := _deepest(host, core))), default=None)
    held_us = _latency_request_us(host)
    polling = host.arguments.get("idle") == "poll"
    shallow = polling or (held_us is not None and held_us <= EXIT_LATENCY_US_MAX)
    texts = [f"deepest enabled {deepest[1]} ({deepest[0]} us)"] if deepest else []
    texts += [f"latency request {held_us} us"] if held_us is not None else []
    texts += ["idle=poll"] if polling else []
    shallow = shallow or (deepest is not None and deepest[0] <= EXIT_LATENCY_US_MAX)
    return Finding(
        "C-states",
        "ok" if shallow else "unknown" if deepest is None else "warn",
        ", ".join(texts) or "no idle states (virtual machine?)",
        f"exit latency at most {EXIT_LATENCY_US_MAX} us",
        "a core that slept answers 50 to 200 us late; a spinning stage never sleeps, one that backs off does",
        f"{subject.apply()}, or intel_idle.max_cstate=1 processor.max_cstate=1 at boot",
    )


def _latency_request_us(host: Host) -> int | None:
    # The strictest request in force, as the kernel gives it: four bytes; about 2000 s when nobody asked.
    try:
        raw = (host.root / "dev/cpu_dma_latency").read_bytes()
    except OSError:
        return None
    value = struct.unpack("=i", raw[:4])[0] if len(raw) >= 4 else None
    return value if value is not None and value < 1_000_000 else None
