"""Limits changed in a real engine: tighter at once, looser by two people, both replayed, and kept by the next engine."""

from __future__ import annotations

import json
import os
import subprocess
import sys

from support.live_engine import ROOT, live_engine, paper
from support.waiting import wait_until

KEY = "limits.BTC-USDT.BINANCE.order_notional_max"
SECRETS = {"ann": "correct horse", "bob": "battery staple"}


def told(engine, *arguments, secret):
    """An hftctl command that is given a secret; its document."""
    command = [sys.executable, "-m", "processes.cli", *arguments, *engine.where, "--json"]
    done = subprocess.run(command, cwd=ROOT, input=secret, capture_output=True, text=True, timeout=120, check=False, env=os.environ)
    assert done.returncode == 0, done.stderr
    assert not any(known in done.stdout + done.stderr for known in SECRETS.values())
    return json.loads(done.stdout)


def refused(engine):
    return engine.status()["refused"].get("R011", 0)


def test_a_limit_is_tightened_at_once_and_loosened_by_two_people(tmp_path):
    with live_engine(tmp_path, paper()) as engine:
        engine.start()
        engine.await_running()
        engine.await_orders("sent", 2)
        for name, secret in SECRETS.items():
            told(engine, "risk", "person", name, secret=f"{secret}\n{secret}\n")
        document = engine.ctl_json("risk", "set", KEY, "100", "--reason", "nervous")
        assert document["in_force"] is True
        wait_until(lambda: refused(engine) > 2, 60, "quotes of 500 are refused")
        told(engine, "risk", "set", KEY, "9000", "--reason", "calm", "--as", "ann", secret=SECRETS["ann"] + "\n")
        assert KEY in engine.ctl_json("risk", "show")["limits_pending"]
        assert told(engine, "risk", "approve", KEY, "--as", "bob", secret=SECRETS["bob"] + "\n")["in_force"] is True
        sent = engine.status()["orders"]["sent"]
        engine.await_orders("sent", sent + 4)
        assert engine.stop() == 0, engine.log_text()
        assert engine.ctl_json("replay")["equal"] is True

        engine.start()
        engine.await_running()
        shown = engine.ctl_json("risk", "show")
        assert shown["limits_changed"][KEY]["approved_by"] == "bob"
        assert shown["instruments"][0]["limits"]["order_notional_max"] == "9000"
        assert engine.stop() == 0, engine.log_text()
