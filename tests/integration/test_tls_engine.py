"""An engine trades over wss and https on the bundled simulator, whose authority it trusts, with either transport."""

from __future__ import annotations

import tomllib

import pytest

from processes.chaos.sections import only
from support.live_engine import ROOT, Sections, live_engine


def orders_over_tls(transport: str) -> Sections:
    """configs/paper-orders.toml with Binance only: market data, orders and REST all go to the simulator's sockets."""
    sections: Sections = only(tomllib.loads((ROOT / "configs" / "paper-orders.toml").read_text()), "binance")
    sections["engine"]["journal_file_mb"] = 4
    venue = sections["venues"]["binance"]
    venue["transport"] = transport
    venue["simulator"]["tls"] = True
    return sections


@pytest.mark.parametrize("transport", ["direct", "picows"])
def test_an_engine_trades_over_tls(tmp_path, transport):
    with live_engine(tmp_path, orders_over_tls(transport)) as engine:
        engine.start()
        engine.await_running()
        engine.await_orders("filled", 1)
        resolved = engine.engine()["config"]
        venue, execution = resolved["venues"]["binance"], resolved["execution"]["binance"]
        assert venue["transport"] == transport
        assert [url.partition("://")[0] for url in (venue["stream_url"], execution["order_url"])] == ["wss", "wss"]
        assert [url.partition("://")[0] for url in (venue["rest_url"], execution["rest_url"])] == ["https", "https"]
        assert venue["ca_file"] == str(engine.instance.folder / "authority" / "ca.pem")
        assert engine.stop() == 0, engine.log_text()
        report = engine.report()
        assert report["restarts"] == 0 and report["orders"]["unknown"] == 0
        assert (report["venues"][0]["gaps"], report["venues"][0]["malformed"]) == (0, 0)
        assert engine.ctl_json("replay")["equal"] is True
