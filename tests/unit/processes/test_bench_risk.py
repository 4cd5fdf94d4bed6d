"""Risk bench: small parameters in the ordinary run, so that it does not rot."""

from __future__ import annotations

from processes.bench import risk


def test_the_risk_bench_runs_every_control_on_every_intent() -> None:
    document = risk.run(rounds=2, intents=500)
    assert document["bench"] == "risk"
    assert document["results"]["working_orders"] == risk.WORKING
    assert set(document["floor"]) <= set(document["results"])
    assert document["results"]["over_clock_p99_ns"] > 0


def test_the_risk_bench_computes_the_same_in_every_run() -> None:
    assert risk.run(rounds=1, intents=50)["hash"] == risk.run(rounds=1, intents=50)["hash"]
