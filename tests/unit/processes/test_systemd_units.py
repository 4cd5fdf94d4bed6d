"""The systemd units: they load without a word, stay shut, and agree with the config they start."""

import re
import shutil
import subprocess
import tomllib
from configparser import RawConfigParser
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[3]
UNITS = REPOSITORY / "tuning" / "systemd"
CONFIG = tomllib.loads((REPOSITORY / "configs" / "bare-metal.toml").read_text())
NETWORKED = ("feed", "execution")

#: unit -> worst exposure allowed; 0 is shut, 10 is open. What is left open is explained in the unit.
ENGINE = {"hft-engine.service": 1.5}
TUNING = {"hft-tuning.service": 3.2}
GUARDIAN = {"hft-guardian.service": 1.4}
STAGES = {
    f"hft-stage@{stage}.service": 1.4 if stage.startswith(NETWORKED) else 0.5
    for process in CONFIG["placement"]["processes"].values()
    for stage in process["stages"]
}

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None or not Path("/lib/systemd/system").is_dir(), reason="systemd is not installed"
)


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """A host with the units as they are in the repository, and an empty program wherever one of them starts one.

    `verify` complains about programs that do not exist; the root supplies them, so that the units need no editing.
    """
    root = tmp_path_factory.mktemp("root")
    shutil.copytree("/lib/systemd/system", root / "usr/lib/systemd/system", symlinks=True, ignore_dangling_symlinks=True)
    shutil.copytree(UNITS, root / "etc/systemd/system")
    for unit in UNITS.glob("*.service"):
        for program in re.findall(r"^Exec\w+=[-+!:@]*(\S+)", unit.read_text(), re.MULTILINE):
            path = root / program.lstrip("/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("#!/bin/sh\n")
            path.chmod(0o755)
    return root


def analyze(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["systemd-analyze", *arguments[:-1], f"--root={root}", arguments[-1]]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env={"PATH": "/usr/bin:/bin", "LC_ALL": "C"})


def setting(stage: str, name: str) -> list[str]:
    """Every value a stage's unit gives a setting, drop-ins included, in the order systemd reads them."""
    files = [UNITS / "hft-stage@.service", *sorted((UNITS / f"hft-stage@{stage}.service.d").glob("*.conf"))]
    return [value for file in files for value in re.findall(rf"^{name}=(.*)$", file.read_text(), re.MULTILINE)]


def stages() -> list[tuple[str, dict]]:
    return [(stage, process) for process in CONFIG["placement"]["processes"].values() for stage in process["stages"]]


def cores(text: str) -> set[int]:
    parts = [part.partition("-") for part in text.split(",")]
    return {core for first, _, last in parts for core in range(int(first), int(last or first) + 1)}


@needs_systemd
@pytest.mark.parametrize("unit", [*ENGINE, *TUNING, *GUARDIAN, *STAGES, "hft.slice", "system.slice", "user.slice"])
def test_verify_prints_nothing(root, unit):
    done = analyze(root, "verify", unit)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@needs_systemd
def test_verify_would_print_an_unknown_setting(root, tmp_path):
    # verify's exit code says nothing of unknown settings; that it prints them is what the test above rests on.
    broken = tmp_path / "root"
    shutil.copytree(root, broken, symlinks=True)
    with open(broken / "etc/systemd/system/hft-engine.service", "a") as unit:
        unit.write("[Service]\nWatchdogSeconds=2\n")
    assert "WatchdogSeconds" in analyze(broken, "verify", "hft-engine.service").stderr


@needs_systemd
@pytest.mark.parametrize(("unit", "exposure_max"), [*ENGINE.items(), *TUNING.items(), *GUARDIAN.items(), *STAGES.items()])
def test_security_scores_a_unit_at_most(root, unit, exposure_max):
    done = analyze(root, "security", "--offline=true", "--no-pager", unit)
    found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", done.stdout)
    assert found, done.stdout + done.stderr
    assert float(found[1]) <= exposure_max, done.stdout


@needs_systemd
def test_the_system_calls_a_stage_needs_are_allowed():
    allowed = system_calls("@default", "@system-service") - system_calls("@privileged", "@resources")
    needed = {"mlockall", "prctl", "mmap", "fallocate", "fdatasync", "flock", "sendto", "recvfrom", "epoll_wait", "sched_getaffinity"}
    assert needed <= allowed
    # The engine, unlike a stage, pins and schedules what it starts.
    assert {"sched_setaffinity", "sched_setscheduler"} <= system_calls("@system-service") - system_calls("@privileged")


def system_calls(*groups: str) -> set[str]:
    """The calls in systemd's groups, groups inside them included."""
    done = subprocess.run(["systemd-analyze", "syscall-filter", *groups], capture_output=True, text=True, timeout=60, check=True)
    names = {line.strip() for line in done.stdout.splitlines() if line.startswith("    ")} - {""}
    names = {name for name in names if not name.startswith("#")}
    inner = {name for name in names if name.startswith("@")}
    return (names - inner) | (system_calls(*inner) if inner else set())


def test_every_stage_of_the_config_has_its_drop_ins_and_no_other_stage_has():
    expected = {f"hft-stage@{stage}.service.d" for stage, _ in stages()}
    assert {path.name for path in UNITS.glob("hft-stage@*.service.d")} == expected


@pytest.mark.parametrize(("stage", "process"), stages(), ids=lambda value: value if isinstance(value, str) else "")
def test_a_stage_is_placed_where_the_config_says(stage, process):
    assert setting(stage, "CPUAffinity") == [str(process["core"])]
    priority = process.get("fifo_priority")
    assert setting(stage, "CPUSchedulingPriority") == ([str(priority)] if priority else [])
    assert setting(stage, "CPUSchedulingPolicy") == (["fifo"] if priority else [])
    assert all(priority is None or priority <= int(limit) for limit in setting(stage, "LimitRTPRIO"))


@pytest.mark.parametrize("stage", [stage for stage, _ in stages()])
def test_only_stages_that_talk_to_a_venue_have_a_network(stage):
    networked = stage.startswith(NETWORKED)
    assert setting(stage, "PrivateNetwork")[-1] == ("no" if networked else "yes")
    families = " ".join(setting(stage, "RestrictAddressFamilies")).split()
    assert ("AF_INET" in families) == networked


def test_the_guardian_does_not_hang_on_the_engine() -> None:
    text = (UNITS / "hft-guardian.service").read_text()
    assert not re.findall(r"^(?:BindsTo|PartOf|Requires|Requisite|Wants|After)=.*hft-engine", text, re.MULTILINE)
    assert not re.findall(r"^Slice=", text, re.MULTILINE), "what starves the engine's slice does not starve it"
    assert re.findall(r"^Restart=(.*)$", text, re.MULTILINE) == ["always"]
    assert int(re.findall(r"^OOMScoreAdjust=(.*)$", text, re.MULTILINE)[0]) < -800


def test_a_stage_without_drop_ins_gets_no_network():
    assert setting("new", "PrivateNetwork") == ["yes"]
    assert setting("new", "RestrictAddressFamilies") == ["AF_UNIX"]
    assert setting("new", "IPAddressDeny") == ["any"]


def test_the_slice_holds_the_placed_cores_and_the_rest_of_the_host_does_not():
    engine = cores(re.findall(r"^AllowedCPUs=(.*)$", (UNITS / "hft.slice").read_text(), re.MULTILINE)[0])
    placed = {process["core"] for _, process in stages()}
    assert placed <= engine
    for drop_in in UNITS.glob("*/hft-housekeeping.conf"):
        assert not cores(re.findall(r"^AllowedCPUs=(.*)$", drop_in.read_text(), re.MULTILINE)[0]) & placed, drop_in
    supervisor = re.findall(r"^CPUAffinity=(.*)$", (UNITS / "hft-engine.service").read_text(), re.MULTILINE)
    assert cores(supervisor[0]) <= engine - placed


def test_tuning_isolates_every_placed_core_and_no_housekeeping_one():
    placed = {process["core"] for _, process in stages()}
    command = re.findall(r"^ExecStart=.*--cores (\S+)$", (UNITS / "hft-tuning.service").read_text(), re.MULTILINE)
    trading = cores(command[0])
    boot = (REPOSITORY / "tuning/kernel/hft.cfg").read_text()
    assert placed <= trading
    assert {frozenset(cores(found)) for found in re.findall(r"(?:nohz_full|rcu_nocbs|isolcpus)=(?:[a-z_]+,)*([0-9,-]+)", boot)} == {
        frozenset(trading)
    }
    assert not cores(re.findall(r"irqaffinity=([0-9,-]+)", boot)[0]) & trading


@pytest.mark.parametrize("name", ["hft-engine.service", "hft-stage@.service"])
@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("Type", "notify"),
        ("NotifyAccess", "main"),
        ("LimitMEMLOCK", "infinity"),
        ("LimitCORE", "0"),
        ("UMask", "0077"),
        ("NoNewPrivileges", "yes"),
        ("RemoveIPC", "no"),
        ("CacheDirectory", "hft"),
        ("Environment", "XDG_CACHE_HOME=/var/cache PYTHONDONTWRITEBYTECODE=1"),
        # Numba needs pages it can write and then run; realtime scheduling is asked for; peers must be visible in /proc.
        ("MemoryDenyWriteExecute", None),
        ("RestrictRealtime", None),
        ("PrivateUsers", None),
        ("PrivateIPC", None),
    ],
)
def test_engine_and_stages_hold_what_the_engine_depends_on(name, key, value):
    parser = RawConfigParser(strict=False, delimiters=("=",), comment_prefixes=("#",), interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string((UNITS / name).read_text())
    assert parser["Service"].get(key) == value
