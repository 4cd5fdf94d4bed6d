"""Doctor's checks of the system: memory, clocks, limits, scheduling and the kernel."""

from __future__ import annotations

from processes.doctor_subject import Finding, Subject
from processes.host import chosen, cores_text

#: What the segments of the default layout need in /dev/shm.
SHM_BYTES = 64 << 20
OPEN_FILES_MIN = 4096
#: What the units and the tuning rely on.
KERNEL_MIN = (5, 10)


def huge_pages(subject: Subject) -> Finding:
    """Segments sit on huge pages."""
    options = subject.host.mount_options("/dev/shm")
    forced = chosen(subject.host.text("/sys/kernel/mm/transparent_hugepage/shmem_enabled") or "")
    mode = (options or {}).get("huge", "never")
    mode = forced if forced in ("deny", "force") else mode
    return Finding(
        "huge pages",
        "unknown" if options is None else "ok" if mode in ("always", "within_size", "force") else "warn",
        "/dev/shm is not mounted" if options is None else f"/dev/shm huge={mode}",
        "/dev/shm huge=within_size",
        f"{SHM_BYTES >> 20} MB of rings are 16384 small pages: more than a core's TLB holds",
        "mount -o remount,huge=within_size /dev/shm, and the same option in /etc/fstab",
    )


def transparent_huge_pages(subject: Subject) -> Finding:
    """The kernel does not collapse pages behind a stage's back."""
    mode = chosen(subject.host.text("/sys/kernel/mm/transparent_hugepage/enabled") or "")
    return Finding(
        "THP",
        "unknown" if not mode else "warn" if mode == "always" else "ok",
        mode or "unreadable",
        "madvise or never",
        "khugepaged compacts memory and takes a process's map lock for milliseconds",
        subject.apply(),
    )


def memory_lock(subject: Subject) -> Finding:
    """A process may lock all its memory."""
    limit = subject.host.limit("Max locked memory")
    return Finding(
        "memlock",
        "unknown" if limit is None else "ok" if limit == -1 else "bad" if subject.cores else "warn",
        "unreadable" if limit is None else "unlimited" if limit == -1 else f"{limit >> 10} KiB",
        "unlimited",
        "a page that was swapped out or not yet touched costs a fault in the middle of a decision",
        "LimitMEMLOCK=infinity in the unit, or tuning/limits.d/hft.conf",
    )


def realtime_priority(subject: Subject) -> Finding:
    """A process may ask for SCHED_FIFO."""
    limit = subject.host.limit("Max realtime priority")
    return Finding(
        "rtprio",
        "unknown" if limit is None else "ok" if limit == -1 or limit >= 50 else "warn",
        "unreadable" if limit is None else "unlimited" if limit == -1 else str(limit),
        "at least 50",
        "without it a stage runs under the fair scheduler and yields to whatever lands on its core",
        "LimitRTPRIO=80 in the unit, or tuning/limits.d/hft.conf; nothing to do when run as root",
    )


def open_files(subject: Subject) -> Finding:
    """Sockets, segments and journals fit the limit on open files."""
    limit = subject.host.limit("Max open files")
    enough = limit is not None and (limit == -1 or limit >= OPEN_FILES_MIN)
    return Finding(
        "open files",
        "unknown" if limit is None else "ok" if enough else "warn",
        "unreadable" if limit is None else "unlimited" if limit == -1 else str(limit),
        f"at least {OPEN_FILES_MIN}",
        "a reconnect that cannot open a socket is an outage",
        "LimitNOFILE=65536 in the unit, or tuning/limits.d/hft.conf",
    )


def clock_source(subject: Subject) -> Finding:
    """Reading the clock costs no system call."""
    found = subject.host.text("/sys/devices/system/clocksource/clocksource0/current_clocksource")
    return Finding(
        "clock source",
        "unknown" if found is None else "ok" if found == "tsc" else "warn" if found == "kvm-clock" else "bad",
        found or "unreadable",
        "tsc",
        "hpet and acpi_pm cost 1 us and a system call a reading, tsc 25 ns; every record is stamped several times",
        "find out why the kernel gave tsc up (dmesg, grep -i tsc); then tsc=reliable if the hardware allows",
    )


def swap(subject: Subject) -> Finding:
    """Nothing swaps."""
    host = subject.host
    text = host.text("/proc/swaps")
    devices = [line.split()[0] for line in (text or "").splitlines()[1:]]
    swappiness = host.number("/proc/sys/vm/swappiness")
    return Finding(
        "swap",
        "unknown" if text is None else "ok" if not devices else "warn",
        "unreadable" if text is None else f"{', '.join(devices) or 'none'}; swappiness {swappiness}",
        "none",
        "a page read back from disk costs milliseconds; the engine's unit forbids it for itself only",
        f"swapoff -a and no swap in /etc/fstab; {subject.apply()} lowers swappiness",
    )


def realtime_throttling(subject: Subject) -> Finding:
    """A spinning SCHED_FIFO stage is never paused for the sake of others."""
    runtime_us = subject.host.number("/proc/sys/kernel/sched_rt_runtime_us")
    reserved = {core for core in subject.trading if subject.host.number(f"/sys/kernel/debug/sched/fair_server/cpu{core}/runtime")}
    found = "unreadable" if runtime_us is None else f"sched_rt_runtime_us {runtime_us}"
    if reserved:
        found += f"; fair server on cores {cores_text(reserved)}"
    return Finding(
        "RT throttling",
        "unknown" if runtime_us is None else "ok" if runtime_us == -1 and not reserved else "warn",
        found,
        "-1, and no fair server on trading cores",
        "a stage under SCHED_FIFO that never sleeps is stopped for up to 50 ms in every second",
        f"{subject.apply()}; only with isolated cores, or one runaway stage takes a core for good",
    )


def numa(subject: Subject) -> Finding:
    """The trading cores and their memory are on one node."""
    host = subject.host
    nodes = [name for name in host.folders("/sys/devices/system/node") if name[:4] == "node" and name[4:].isdigit()]
    used = [name for name in nodes if (host.cores(f"/sys/devices/system/node/{name}/cpulist") or frozenset()) & subject.cores]
    balancing = host.number("/proc/sys/kernel/numa_balancing")
    spread = len(used) > 1
    many = len(nodes) > 1
    return Finding(
        "NUMA",
        "unknown" if not nodes else "bad" if spread else "warn" if many and balancing else "ok",
        f"nodes {len(nodes)}; balancing {balancing}" + (f"; pinned cores on {', '.join(used)}" if spread else ""),
        "pinned cores on one node; balancing 0",
        "a ring across nodes doubles its round trip, and balancing unmaps pages to see who faults on them",
        f"pin to one node's cores; {subject.apply()}",
    )


def timer_slack(subject: Subject) -> Finding:
    """Sleeps end when they should."""
    slack_ns = subject.host.number("/proc/self/timerslack_ns")
    return Finding(
        "timer slack",
        "unknown" if slack_ns is None else "ok" if slack_ns <= 50_000 else "warn",
        "unreadable" if slack_ns is None else f"{slack_ns} ns",
        "at most 50000 ns",
        "a stage that parks when idle wakes that much later; spinning stages do not care",
        "TimerSlackNSec=1 in the unit",
    )


def shared_memory(subject: Subject) -> Finding:
    """The segments fit in /dev/shm."""
    try:
        found = subject.statvfs(subject.host.root / "dev/shm")
    except OSError:
        return Finding("/dev/shm", "bad", "absent", "64 MB free", "every ring lives there", "mount -t tmpfs tmpfs /dev/shm")
    size, free = found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize
    return Finding(
        "/dev/shm",
        "ok" if free >= SHM_BYTES else "bad",
        f"{free >> 20} of {size >> 20} MB free",
        f"{SHM_BYTES >> 20} MB free",
        "segments are allocated in full at start; without the room the engine refuses to start",
        "mount -o remount,size=256m /dev/shm (docker run --shm-size=256m); hft.* files of a dead engine may be removed",
    )


def watchdogs(subject: Subject) -> Finding:
    """The lockup detectors do not interrupt trading cores."""
    nmi = subject.host.number("/proc/sys/kernel/nmi_watchdog")
    return Finding(
        "lockup detector",
        "unknown" if nmi is None else "ok" if nmi == 0 else "warn",
        "unreadable" if nmi is None else f"nmi_watchdog {nmi}",
        "0",
        "it raises an interrupt that nothing can mask, and takes a performance counter",
        subject.apply(),
    )


def virtualisation(subject: Subject) -> Finding:
    """The host is a machine, not a guest."""
    # The first core's block is enough; reading all of them interrupts every core.
    text = subject.host.text("/proc/cpuinfo", bytes_max=4096)
    guest = text is not None and "hypervisor" in text.split()
    return Finding(
        "virtualisation",
        "unknown" if text is None else "warn" if guest else "ok",
        "unreadable" if text is None else "virtual machine" if guest else "bare metal",
        "bare metal",
        "a hypervisor takes the core away without telling, and its exits cost microseconds",
        "measure here, trade on bare metal or on a dedicated host",
    )


def mitigations(subject: Subject) -> Finding:
    """What the processor's mitigations cost; for information, always ok."""
    host = subject.host
    folder = "/sys/devices/system/cpu/vulnerabilities"
    active = [name for name in host.folders(folder) if (host.text(f"{folder}/{name}") or "").startswith("Mitigation")]
    mode = host.arguments.get("mitigations", "default")
    return Finding(
        "mitigations",
        "ok",
        f"mitigations={mode}; active: {', '.join(active) or 'none'}",
        "a decision, not a value",
        "each system call and interrupt pays for them; compiled loops that make none do not",
        "leave them on, unless the host runs nothing but the engine and is reached by nobody else",
    )


def kernel(subject: Subject) -> Finding:
    """The kernel is one that the units and the tuning know."""
    release = subject.host.text("/proc/sys/kernel/osrelease")
    numbers = tuple(int(part) for part in (release or "").split("-")[0].split(".")[:2] if part.isdigit())
    wanted = ".".join(map(str, KERNEL_MIN))
    realtime = subject.host.text("/sys/kernel/realtime") == "1"
    return Finding(
        "kernel",
        "unknown" if len(numbers) < 2 else "ok" if numbers >= KERNEL_MIN else "warn",
        (release or "unreadable") + (" PREEMPT_RT" if realtime else ""),
        f"{wanted} or newer",
        "older ones lack cpusets under cgroup v2 and isolation of managed interrupts",
        "a kernel the distribution still supports",
    )
