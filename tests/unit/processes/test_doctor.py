"""doctor: what it says of an untuned, a tuned, an odd and an empty host."""

import json
import os
import struct
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from processes import doctor
from processes.doctor_subject import GRADES
from processes.host import Host, chosen, cores_text, parse_core_mask, parse_cores
from support.fake_host import LIMITS, tuned, untuned, write

CPU = "sys/devices/system/cpu"
TRADING = range(2, 7)


def space(free_bytes: int):
    return lambda path: SimpleNamespace(f_frsize=4096, f_blocks=1 << 20, f_bavail=free_bytes // 4096)


def grades(root: Path, cores=TRADING, free_bytes: int = 1 << 30) -> dict[str, str]:
    return {finding.name: finding.grade for finding in doctor.grade(root, cores, space(free_bytes))}


def find(root: Path, name: str, cores=TRADING, free_bytes: int = 1 << 30) -> doctor.Finding:
    return next(finding for finding in doctor.grade(root, cores, space(free_bytes)) if finding.name == name)


@pytest.mark.parametrize(
    ("text", "expected"), [("", set()), ("0", {0}), ("0-3", {0, 1, 2, 3}), ("0,2-3,7\n", {0, 2, 3, 7}), ("2,2-2", {2})]
)
def test_parse_cores_reads_what_the_kernel_writes(text, expected):
    assert parse_cores(text) == expected


@pytest.mark.parametrize("text", ["a", "1-", "-1", "3-1", "1--2", "1.5", "0x3", "２", "1-99999"])
def test_parse_cores_refuses_what_is_not_a_list(text):
    with pytest.raises(ValueError, match="CPU list"):
        parse_cores(text)


@pytest.mark.parametrize(
    ("text", "expected"), [("3", {0, 1}), ("fc", set(range(2, 8))), ("1,00000001", {0, 32}), ("00000000,00000003", {0, 1})]
)
def test_parse_core_mask_reads_groups_of_32(text, expected):
    assert parse_core_mask(text) == expected


@pytest.mark.parametrize("cores", [set(), {0}, {1}, {0, 1}, {2, 3, 4, 7}, {0, 2, 4}, set(range(64))])
def test_cores_text_reads_back_as_the_same_cores(cores):
    text = cores_text(cores)
    assert (parse_cores(text) if text != "none" else set()) == cores


def test_chosen_takes_the_bracketed_value_or_the_only_one():
    assert chosen("always [madvise] never") == "madvise"
    assert chosen("performance\n") == "performance"


def test_a_tuned_host_is_ok_throughout(tmp_path):
    assert {name: grade for name, grade in grades(tuned(tmp_path)).items() if grade != "ok"} == {}


def test_an_untuned_host_is_bad_where_a_pinned_stage_would_suffer(tmp_path):
    found = grades(untuned(tmp_path))
    bad = {name for name, grade in found.items() if grade == "bad"}
    assert bad == {"isolated cores", "nohz_full", "rcu_nocbs", "governor", "IRQ affinity", "memlock"}
    warned = {name for name, grade in found.items() if grade == "warn"}
    assert warned == {
        "C-states",
        "IRQ default",
        "irqbalance",
        "RT throttling",
        "lockup detector",
        "huge pages",
        "THP",
        "swap",
        "rtprio",
        "open files",
    }


def test_the_same_host_only_warns_when_nothing_is_pinned(tmp_path):
    assert "bad" not in grades(untuned(tmp_path), cores=()).values()


def test_a_host_that_says_nothing_is_unknown_and_never_ok_by_default(tmp_path):
    found = grades(tmp_path, cores=())
    assert found.pop("mitigations") == "ok"
    # Without a kernel command line nothing is isolated; without /proc/<pid> nothing runs.
    assert {name: found.pop(name) for name in ("isolated cores", "nohz_full", "rcu_nocbs")} == dict.fromkeys(
        ("isolated cores", "nohz_full", "rcu_nocbs"), "warn"
    )
    assert found.pop("irqbalance") == "ok"
    assert found.pop("/dev/shm") == "ok"
    assert set(found.values()) == {"unknown"}


@pytest.mark.parametrize("name", ["isolated", "nohz_full"])
def test_a_pinned_core_that_is_not_set_aside_is_named(tmp_path, name):
    root = tuned(tmp_path)
    write(root, f"{CPU}/{name}", "2-4,6-7")
    found = find(root, "isolated cores" if name == "isolated" else name)
    assert (found.grade, found.found) == ("bad", "2-4,6-7; not 5")


def test_an_isolated_cpuset_partition_counts_as_isolation(tmp_path):
    root = tuned(tmp_path)
    write(root, f"{CPU}/isolated", "")
    write(root, "sys/fs/cgroup/cpuset.cpus.isolated", "2-6")
    assert find(root, "isolated cores").grade == "ok"


def test_a_pinned_core_that_is_offline_is_bad(tmp_path):
    root = tuned(tmp_path)
    write(root, f"{CPU}/online", "0-5")
    found = find(root, "cores")
    assert found.grade == "bad"
    assert "6 pinned but not online" in found.found


def test_nohz_full_stands_in_for_rcu_nocbs(tmp_path):
    root = tuned(tmp_path)
    write(root, "proc/cmdline", "nohz_full=2-7")
    assert find(root, "rcu_nocbs").grade == "ok"
    write(root, "proc/cmdline", "rcu_nocbs=all")
    assert find(root, "rcu_nocbs").grade == "ok"
    write(root, "proc/cmdline", "rcu_nocbs=2-x")
    assert find(root, "rcu_nocbs").grade == "bad"


def test_one_slow_trading_core_is_named_and_a_slow_housekeeping_core_is_not(tmp_path):
    root = tuned(tmp_path)
    assert find(root, "governor").grade == "ok"  # cores 0 and 1 are on powersave
    write(root, f"{CPU}/cpu3/cpufreq/scaling_governor", "schedutil")
    found = find(root, "governor")
    assert found.grade == "bad"
    assert "cores 3" in found.found


@pytest.mark.parametrize(("siblings", "grade"), [("3,7", "warn"), ("3-4", "bad")])
def test_smt_is_bad_only_when_two_pinned_cores_are_siblings(tmp_path, siblings, grade):
    root = tuned(tmp_path)
    write(root, f"{CPU}/smt/active", "1")
    for core in parse_cores(siblings):
        write(root, f"{CPU}/cpu{core}/topology/thread_siblings_list", siblings)
    found = find(root, "SMT")
    assert found.grade == grade
    assert ("3-4" in found.found) == (grade == "bad")


def test_an_interrupt_on_a_trading_core_is_named_by_where_it_is_served(tmp_path):
    root = tuned(tmp_path)
    write(root, "proc/irq/24/smp_affinity_list", "0-7")
    assert find(root, "IRQ affinity").grade == "ok"  # allowed there, but served by core 0
    write(root, "proc/irq/24/effective_affinity_list", "5")
    found = find(root, "IRQ affinity")
    assert (found.grade, found.found) == ("bad", "IRQ 24 on trading cores")


@pytest.mark.parametrize(("text", "grade"), [("3", "ok"), ("7", "warn"), ("00000000,00000003", "ok"), ("zz", "unknown")])
def test_the_default_interrupt_mask_must_leave_trading_cores_out(tmp_path, text, grade):
    root = tuned(tmp_path)
    write(root, "proc/irq/default_smp_affinity", text)
    assert find(root, "IRQ default").grade == grade


def test_irqbalance_is_fine_once_the_trading_cores_are_banned(tmp_path):
    root = untuned(tmp_path)
    assert find(root, "irqbalance").grade == "warn"
    write(root, "run/systemd/system/irqbalance.service.d/hft.conf", "[Service]")
    assert find(root, "irqbalance").grade == "ok"


@pytest.mark.parametrize(("latency_us", "grade"), [(0, "ok"), (2, "ok"), (3, "warn"), (2_000_000_000, "warn")])
def test_a_latency_request_makes_deep_sleep_harmless(tmp_path, latency_us, grade):
    root = untuned(tmp_path)
    (root / "dev/cpu_dma_latency").write_bytes(struct.pack("=i", latency_us))
    assert find(root, "C-states").grade == grade


@pytest.mark.parametrize(("latency_us", "grade"), [("2", "ok"), ("3", "warn")])
def test_the_deepest_enabled_idle_state_decides(tmp_path, latency_us, grade):
    root = tuned(tmp_path)
    write(root, f"{CPU}/cpu4/cpuidle/state1/latency", latency_us)
    assert find(root, "C-states").grade == grade


def test_idle_poll_makes_deep_states_harmless(tmp_path):
    root = untuned(tmp_path)
    write(root, "proc/cmdline", "idle=poll")
    assert find(root, "C-states").grade == "ok"


def test_numa_is_bad_when_pinned_cores_are_on_two_nodes(tmp_path):
    root = tuned(tmp_path)
    write(root, "sys/devices/system/node/node0/cpulist", "0-3")
    write(root, "sys/devices/system/node/node1/cpulist", "4-7")
    assert find(root, "NUMA").grade == "bad"
    assert find(root, "NUMA", cores=(2, 3)).grade == "ok"
    write(root, "proc/sys/kernel/numa_balancing", "1")
    assert find(root, "NUMA", cores=(2, 3)).grade == "warn"


def test_a_fair_server_on_a_trading_core_counts_as_throttling(tmp_path):
    root = tuned(tmp_path)
    write(root, "sys/kernel/debug/sched/fair_server/cpu4/runtime", "50000000")
    found = find(root, "RT throttling")
    assert found.grade == "warn"
    assert "cores 4" in found.found


@pytest.mark.parametrize(("source", "grade"), [("tsc", "ok"), ("kvm-clock", "warn"), ("hpet", "bad"), ("acpi_pm", "bad")])
def test_a_clock_that_costs_a_system_call_is_bad(tmp_path, source, grade):
    root = tuned(tmp_path)
    write(root, "sys/devices/system/clocksource/clocksource0/current_clocksource", source)
    assert find(root, "clock source").grade == grade


@pytest.mark.parametrize(
    ("options", "forced", "grade"),
    [
        ("rw", None, "warn"),
        ("rw,huge=advise", None, "warn"),
        ("rw,huge=within_size", None, "ok"),
        ("rw,huge=always", "always within_size advise never [deny] force", "warn"),
        ("rw", "always within_size advise never deny [force]", "ok"),
    ],
)
def test_huge_pages_are_the_mount_s_unless_the_kernel_overrides_it(tmp_path, options, forced, grade):
    root = tuned(tmp_path)
    write(root, "proc/mounts", f"tmpfs /dev/shm tmpfs rw,huge=always 0 0\ntmpfs /dev/shm tmpfs {options} 0 0")
    if forced:
        write(root, "sys/kernel/mm/transparent_hugepage/shmem_enabled", forced)
    assert find(root, "huge pages").grade == grade


@pytest.mark.parametrize(("free_bytes", "grade"), [(64 << 20, "ok"), ((64 << 20) - 4096, "bad"), (0, "bad")])
def test_shared_memory_must_hold_the_default_layout(tmp_path, free_bytes, grade):
    assert find(tuned(tmp_path), "/dev/shm", free_bytes=free_bytes).grade == grade


def test_absent_shared_memory_is_bad(tmp_path):
    findings = doctor.grade(tmp_path, (), os.statvfs)
    assert next(finding for finding in findings if finding.name == "/dev/shm").grade == "bad"


@pytest.mark.parametrize(
    ("key", "value", "name", "grade"),
    [
        ("nofile", 4096, "open files", "ok"),
        ("nofile", 4095, "open files", "warn"),
        ("nofile", "unlimited", "open files", "ok"),
        ("rtprio", 50, "rtprio", "ok"),
        ("rtprio", 49, "rtprio", "warn"),
        ("memlock", "unlimited", "memlock", "ok"),
        ("memlock", 1 << 40, "memlock", "bad"),
    ],
)
def test_limits_are_judged_at_their_boundary(tmp_path, key, value, name, grade):
    root = tuned(tmp_path)
    write(root, "proc/self/limits", LIMITS.format(**{"memlock": "unlimited", "nofile": 65536, "rtprio": 80, key: value}))
    assert find(root, name).grade == grade


@pytest.mark.parametrize(("release", "grade"), [("5.10.0", "ok"), ("5.9.16-x", "warn"), ("6.18.44", "ok"), ("custom", "unknown")])
def test_the_kernel_is_judged_by_its_numbers(tmp_path, release, grade):
    root = tuned(tmp_path)
    write(root, "proc/sys/kernel/osrelease", release)
    assert find(root, "kernel").grade == grade


def test_a_guest_is_told_apart_from_bare_metal(tmp_path):
    root = tuned(tmp_path)
    write(root, "proc/cpuinfo", "flags : fpu hypervisor tsc")
    assert find(root, "virtualisation").grade == "warn"


def test_every_finding_is_whole_on_any_host(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    for root in (untuned(tmp_path / "a"), tuned(tmp_path / "b"), tmp_path):
        for finding in doctor.grade(root, TRADING, space(0)):
            assert finding.grade in GRADES
            assert all(isinstance(text, str) and text for text in finding), finding


def test_the_fix_names_the_pinned_cores(tmp_path):
    assert find(untuned(tmp_path), "governor").fix == "tuning/apply.sh --cores 2-6"


def test_unreadable_files_are_unknown_and_never_raise(tmp_path):
    root = tuned(tmp_path)
    write(root, "proc/sys/kernel/sched_rt_runtime_us", "many")
    write(root, "proc/irq/24/effective_affinity_list", "?")
    assert Host(root).number("/proc/sys/kernel/sched_rt_runtime_us") is None
    assert find(root, "RT throttling").grade == "unknown"
    assert find(root, "IRQ affinity").grade == "ok"


def test_document_counts_and_takes_the_worst_grade(tmp_path):
    document = doctor.document(doctor.grade(untuned(tmp_path), TRADING, space(1 << 30)))
    assert document["grade"] == "bad"
    assert sum(document["counts"].values()) == len(document["findings"])
    assert json.loads(json.dumps(document)) == document
    assert doctor.worst([]) == "ok"


def test_the_table_shows_every_check_and_a_fix_for_each_that_is_not_ok(tmp_path):
    findings = doctor.grade(untuned(tmp_path), TRADING, space(1 << 30))
    text = doctor.table(findings, width=200)
    assert all(finding.name in text for finding in findings)
    assert text.count("fix: ") == sum(finding.grade != "ok" for finding in findings)


def test_examine_judges_the_cores_a_config_pins(capsys):
    config = Path(__file__).parents[3] / "configs" / "bare-metal.toml"
    document = doctor.examine(config)
    assert next(finding for finding in document["findings"] if finding["name"] == "isolated cores")["expected"] == "2-6"
    doctor.print_findings(document)
    assert "isolated cores" in capsys.readouterr().out


def test_doctor_imports_neither_numba_nor_rich_until_it_must():
    script = "import sys; from processes import doctor; doctor.examine(); print({'numba', 'rich'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "set()"
