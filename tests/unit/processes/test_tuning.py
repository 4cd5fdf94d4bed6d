"""tuning/apply.sh and restore.sh on a fake host: what they set, that they undo it exactly, and what they refuse."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from processes import doctor
from support.fake_host import contents, settle, tuned, untuned, write

REPOSITORY = Path(__file__).parents[3]
TUNING = REPOSITORY / "tuning"
CPU = "sys/devices/system/cpu"


@pytest.fixture
def root(tmp_path) -> Path:
    (tmp_path / "host").mkdir()
    return untuned(tmp_path / "host")


def run(script: str, root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(TUNING / script), "--root", str(root), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env={"PATH": os.environ["PATH"], "LC_ALL": "C"})
    settle(root)
    return done


def read(root: Path, path: str) -> str:
    return (root / path).read_text().strip()


def recorded(root: Path) -> str:
    return read(root, "run/hft-tuning/state")


def apply(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    done = run("apply.sh", root, *(arguments or ("--cores", "2-7")))
    assert done.returncode == 0, done.stderr
    return done


def test_restore_after_apply_leaves_the_host_exactly_as_it_was(root):
    before = contents(root)
    apply(root)
    assert contents(root) != before
    done = run("restore.sh", root)
    assert (done.returncode, done.stderr) == (0, "")
    assert contents(root) == before
    assert not (root / "run/hft-tuning").exists()


def test_apply_twice_changes_nothing_the_second_time_and_still_restores(root):
    before = contents(root)
    apply(root)
    once = contents(root)
    assert apply(root).stdout == ""
    assert contents(root) == once
    run("restore.sh", root)
    assert contents(root) == before


def test_apply_again_after_something_moved_keeps_the_first_recorded_value(root):
    before = contents(root)
    apply(root)
    write(root, "proc/irq/24/smp_affinity_list", "4-5")
    apply(root)
    assert read(root, "proc/irq/24/smp_affinity_list") == "0,1"
    assert recorded(root).count("/proc/irq/24/smp_affinity_list") == 1
    run("restore.sh", root)
    assert contents(root) == before


@pytest.mark.parametrize("script", ["apply.sh", "restore.sh"])
def test_dry_run_says_what_it_would_do_and_does_nothing(root, script):
    if script == "restore.sh":
        apply(root)
    before = contents(root)
    done = run(script, root, "--dry-run", *(("--cores", "2-7") if script == "apply.sh" else ()))
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) > 20
    assert all(line.startswith("would ") for line in done.stdout.splitlines())
    assert contents(root) == before


def test_apply_touches_trading_cores_and_leaves_housekeeping_cores_alone(root):
    apply(root, "--cores", "2,4-5")
    governors = [read(root, f"{CPU}/cpu{core}/cpufreq/scaling_governor") for core in range(8)]
    assert [core for core in range(8) if governors[core] == "performance"] == [2, 4, 5]
    assert [read(root, f"{CPU}/cpu4/cpuidle/state{state}/disable") for state in range(3)] == ["0", "0", "1"]
    assert read(root, f"{CPU}/cpu3/cpuidle/state2/disable") == "0"
    assert read(root, "proc/irq/default_smp_affinity") == "cb"
    assert read(root, "proc/irq/24/smp_affinity_list") == "0,1,3,6,7"
    assert "IRQBALANCE_BANNED_CPULIST=2,4,5" in read(root, "run/systemd/system/irqbalance.service.d/hft.conf")


def test_apply_sets_every_sysctl_of_the_file_that_the_kernel_has(root):
    apply(root)
    wanted = dict(re.findall(r"^(\S+) = (\S+)$", (TUNING / "sysctl.d/90-hft.conf").read_text(), re.MULTILINE))
    found = {name: root / "proc/sys" / name.replace(".", "/") for name in wanted}
    present = {name: path.read_text().strip() for name, path in found.items() if path.exists()}
    assert len(present) >= 5
    assert present == {name: wanted[name] for name in present}


def test_doctor_is_content_with_what_apply_did(root):
    apply(root)
    found = {finding.name: finding.grade for finding in doctor.grade(root, range(2, 8))}
    for name in ("governor", "C-states", "IRQ default", "irqbalance", "RT throttling", "lockup detector", "THP", "NUMA"):
        assert found[name] == "ok", name


def test_doctor_and_apply_agree_that_a_tuned_host_needs_nothing_of_what_doctor_checks(tmp_path):
    (tmp_path / "host").mkdir()
    done = run("apply.sh", tuned(tmp_path / "host"), "--cores", "2-7", "--dry-run")
    paths = re.findall(r"^would \w+ (\S+?):? ", done.stdout, re.MULTILINE)
    judged = ("scaling_governor", "/disable", "/irq/", "sched_rt_runtime_us", "numa_balancing", "nmi_watchdog", "hugepage/enabled")
    assert [path for path in paths if any(name in path for name in judged)] == []


def test_masks_of_wide_hosts_have_groups_of_32(root):
    write(root, f"{CPU}/present", "0-69")
    write(root, "proc/irq/default_smp_affinity", "3f,ffffffff,ffffffff")
    apply(root, "--cores", "2-31,33-63")
    assert read(root, "proc/irq/default_smp_affinity") == "3f,00000001,00000003"


def test_a_mask_that_differs_only_in_leading_zeros_is_left_alone(root):
    write(root, "proc/irq/default_smp_affinity", "00000000,00000003")
    apply(root)
    assert read(root, "proc/irq/default_smp_affinity") == "00000000,00000003"


def test_smt_goes_off_first_and_comes_back_last(root):
    write(root, f"{CPU}/smt/control", "on")
    applied = apply(root).stdout.splitlines()
    assert applied[0] == "set /sys/devices/system/cpu/smt/control: on -> off"
    restored = run("restore.sh", root).stdout.splitlines()
    assert restored[-1] == "restored /sys/devices/system/cpu/smt/control: on"


def test_a_second_thread_is_no_trading_core_when_smt_goes_off(root):
    write(root, f"{CPU}/smt/control", "on")
    for core in (2, 6):
        write(root, f"{CPU}/cpu{core}/topology/thread_siblings_list", "2,6")
    before = contents(root)
    done = run("apply.sh", root, "--cores", "2-7")
    assert done.returncode == 2
    assert "core 6 is the second thread of core 2" in done.stderr
    assert contents(root) == before


@pytest.mark.parametrize(
    ("cores", "message"),
    [
        ("0-3", "core 0 keeps house"),
        ("2-8", "this host has 0,1,2,3,4,5,6,7"),
        ("5-2", "no range"),
        ("two", "expected numbers"),
        ("1-", "expected numbers"),
        ("-1", "expected numbers"),
        ("1,,2", "expected numbers"),
        ("$(reboot)", "expected numbers"),
        ("", "usage"),
    ],
)
def test_apply_refuses_cores_that_make_no_sense_and_changes_nothing(root, cores, message):
    before = contents(root)
    done = run("apply.sh", root, "--cores", cores)
    assert done.returncode == 2, done.stdout
    assert message in done.stderr
    assert contents(root) == before


@pytest.mark.parametrize("script", ["apply.sh", "restore.sh"])
@pytest.mark.parametrize("arguments", [["--unknown"], ["--state"]])
def test_unknown_and_incomplete_options_are_usage_errors(root, script, arguments):
    assert run(script, root, *arguments).returncode == 2


def test_apply_for_other_cores_must_be_restored_first(root):
    apply(root)
    before = contents(root)
    done = run("apply.sh", root, "--cores", "3-7")
    assert done.returncode == 1
    assert "run restore.sh first" in done.stderr
    assert contents(root) == before


def test_restore_has_nothing_to_do_when_nothing_was_applied(root):
    before = contents(root)
    done = run("restore.sh", root)
    assert done.returncode == 0
    assert "nothing to restore" in done.stdout
    assert contents(root) == before


def test_a_value_that_went_away_does_not_stop_the_restore(root):
    apply(root)
    (root / "proc/irq/24/smp_affinity_list").unlink()
    done = run("restore.sh", root)
    assert done.returncode == 0
    assert "gone /proc/irq/24/smp_affinity_list" in done.stdout
    assert read(root, f"{CPU}/cpu3/cpufreq/scaling_governor") == "powersave"


def test_the_state_file_may_be_elsewhere(root, tmp_path):
    before = contents(root)
    state = tmp_path / "elsewhere" / "state"
    apply(root, "--cores", "2-7", "--state", str(state))
    assert state.read_text().startswith("cores\t2,3,4,5,6,7\n")
    assert run("restore.sh", root, "--state", str(state)).returncode == 0
    assert contents(root) == before


def refuse_writes(root: Path, path: str) -> str:
    """Make a file refuse every write, root's included, by standing a file of the real kernel in; return what it held."""
    held = read(root, path)
    (root / path).unlink()
    (root / path).symlink_to("/proc/sys/kernel/cap_last_cap")
    return held


def test_a_managed_interrupt_that_refuses_is_said_and_not_recorded(root):
    refuse_writes(root, "proc/irq/24/smp_affinity_list")  # which now reads as a core number of about 40
    write(root, f"{CPU}/present", "0-63")
    done = apply(root, "--cores", "2-63")
    assert "refused /proc/irq/24/smp_affinity_list" in done.stderr
    assert "irq/24" not in recorded(root)
    assert "irq/25" in recorded(root)


def test_any_other_refusal_fails_the_run_and_the_rest_is_still_applied(root):
    refuse_writes(root, "proc/sys/vm/swappiness")
    done = run("apply.sh", root, "--cores", "2-7")
    assert done.returncode == 1
    assert "refused /proc/sys/vm/swappiness" in done.stderr
    assert "swappiness" not in recorded(root)
    assert read(root, f"{CPU}/cpu7/cpufreq/scaling_governor") == "performance"


def test_what_restore_could_not_put_back_stays_recorded_for_the_next_time(root):
    before = contents(root)
    apply(root)
    refuse_writes(root, "proc/sys/vm/swappiness")
    done = run("restore.sh", root)
    assert done.returncode == 1
    assert recorded(root).splitlines() == ["cores\t2,3,4,5,6,7", "value\t/proc/sys/vm/swappiness\t60"]
    (root / "proc/sys/vm/swappiness").unlink()
    write(root, "proc/sys/vm/swappiness", "1")
    assert run("restore.sh", root).returncode == 0
    assert contents(root) == before
