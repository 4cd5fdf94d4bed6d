"""Fake host: a tree that looks like the /proc and /sys of an 8-core machine, tuned or untuned, for doctor and the tuning scripts."""

from __future__ import annotations

import struct
from pathlib import Path

CORES = 8
#: IRQ -> the core that serves it on the untuned host.
IRQS = {1: 0, 24: 3, 25: 6}

LIMITS = """Limit                     Soft Limit           Hard Limit           Units
Max locked memory         {memlock}            {memlock}            bytes
Max open files            {nofile}             {nofile}             files
Max realtime priority     {rtprio}             {rtprio}
"""

#: Files that a kernel shows as `[chosen] other`, and what they offer.
CHOICES = {
    "sys/kernel/mm/transparent_hugepage/enabled": ("always", "madvise", "never"),
    "sys/kernel/mm/transparent_hugepage/defrag": ("always", "defer", "defer+madvise", "madvise", "never"),
}


def write(root: Path, path: str, text: str) -> None:
    """Write one file of the tree."""
    target = root / path.lstrip("/")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text + "\n")


def untuned(root: Path) -> Path:
    """A server as the distribution leaves it."""
    cpu = "sys/devices/system/cpu"
    for path, text in {
        f"{cpu}/present": "0-7",
        f"{cpu}/online": "0-7",
        f"{cpu}/isolated": "",
        f"{cpu}/nohz_full": "(null)",
        f"{cpu}/smt/active": "0",
        f"{cpu}/smt/control": "off",
        f"{cpu}/vulnerabilities/spectre_v2": "Mitigation: Retpolines",
        f"{cpu}/vulnerabilities/meltdown": "Not affected",
        "sys/devices/system/clocksource/clocksource0/current_clocksource": "tsc",
        "sys/devices/system/node/node0/cpulist": "0-7",
        "sys/devices/virtual/workqueue/cpumask": "ff",
        "sys/kernel/mm/transparent_hugepage/enabled": "[always] madvise never",
        "sys/kernel/mm/transparent_hugepage/defrag": "always defer defer+madvise [madvise] never",
        "sys/kernel/mm/transparent_hugepage/khugepaged/defrag": "1",
        "sys/kernel/mm/ksm/run": "1",
        "proc/cmdline": "BOOT_IMAGE=/vmlinuz root=/dev/sda1 quiet",
        "proc/cpuinfo": "processor : 0\nflags : fpu tsc nonstop_tsc",
        "proc/swaps": "Filename Type Size Used Priority\n/dev/sda2 partition 1000 0 -2",
        "proc/mounts": "tmpfs /dev/shm tmpfs rw,nosuid,nodev 0 0",
        "proc/self/limits": LIMITS.format(memlock=8388608, nofile=1024, rtprio=0),
        "proc/self/timerslack_ns": "50000",
        "proc/irq/default_smp_affinity": "ff",
        "proc/812/comm": "irqbalance",
        "proc/sys/kernel/osrelease": "6.1.0-18-amd64",
        "proc/sys/kernel/sched_rt_runtime_us": "950000",
        "proc/sys/kernel/numa_balancing": "1",
        "proc/sys/kernel/nmi_watchdog": "1",
        "proc/sys/vm/swappiness": "60",
        "proc/sys/vm/stat_interval": "1",
        "proc/sys/net/core/busy_read": "0",
        "lib/systemd/system/irqbalance.service": "[Service]",
    }.items():
        write(root, path, text)
    for core in range(CORES):
        write(root, f"{cpu}/cpu{core}/cpufreq/scaling_governor", "powersave")
        write(root, f"{cpu}/cpu{core}/topology/thread_siblings_list", str(core))
        for state, (name, latency_us) in enumerate((("POLL", 0), ("C1", 2), ("C6", 133))):
            for key, value in (("name", name), ("latency", str(latency_us)), ("disable", "0")):
                write(root, f"{cpu}/cpu{core}/cpuidle/state{state}/{key}", value)
    for number, core in IRQS.items():
        write(root, f"proc/irq/{number}/smp_affinity_list", "0-7")
        write(root, f"proc/irq/{number}/effective_affinity_list", str(core))
    for folder in ("run", "dev/shm"):
        (root / folder).mkdir(parents=True)
    (root / "dev/cpu_dma_latency").write_bytes(struct.pack("=i", 2_000_000_000))
    return root


def tuned(root: Path) -> Path:
    """The same machine after everything that tuning/ recommends, cores 2-7 trading."""
    untuned(root)
    cpu = "sys/devices/system/cpu"
    for path, text in {
        f"{cpu}/isolated": "2-7",
        f"{cpu}/nohz_full": "2-7",
        "proc/cmdline": "isolcpus=managed_irq,domain,2-7 nohz_full=2-7 rcu_nocbs=2-7 irqaffinity=0-1",
        "sys/kernel/mm/transparent_hugepage/enabled": "always [madvise] never",
        "proc/swaps": "Filename Type Size Used Priority",
        "proc/mounts": "tmpfs /dev/shm tmpfs rw,nosuid,nodev,huge=within_size 0 0",
        "proc/self/limits": LIMITS.format(memlock="unlimited", nofile=65536, rtprio=80),
        "proc/irq/default_smp_affinity": "3",
        "proc/sys/kernel/sched_rt_runtime_us": "-1",
        "proc/sys/kernel/numa_balancing": "0",
        "proc/sys/kernel/nmi_watchdog": "0",
        "run/systemd/system/irqbalance.service.d/hft.conf": "[Service]",
    }.items():
        write(root, path, text)
    for core in range(2, CORES):
        write(root, f"{cpu}/cpu{core}/cpufreq/scaling_governor", "performance")
        write(root, f"{cpu}/cpu{core}/cpuidle/state2/disable", "1")
    for number in IRQS:
        write(root, f"proc/irq/{number}/smp_affinity_list", "0-1")
        write(root, f"proc/irq/{number}/effective_affinity_list", str(number % 2))
    return root


def settle(root: Path) -> None:
    """Do what the kernel does with a written choice: show all of them again, the chosen one in brackets."""
    for path, choices in CHOICES.items():
        text = (root / path).read_text().strip()
        if "[" not in text:
            assert text in choices, f"{path}: a kernel refuses {text!r}"
            write(root, path, " ".join(f"[{choice}]" if choice == text else choice for choice in choices))


def contents(root: Path) -> dict[str, bytes]:
    """Every file of the tree, path -> bytes."""
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}
