"""The Binance simulator as a process of its own, as strangers see it."""

import asyncio
import json
import signal
import subprocess
import sys

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

STREAMS = "/stream?streams=btcusdt@depth@100ms/btcusdt@bookTicker/btcusdt@trade"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_process_prints_one_line_and_ends_cleanly_on_a_signal(number):
    code = "from processes.venue_sim import Options, serve; serve('binance', Options(synthetic=1))"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        try:
            urls = json.loads(process.stdout.readline())
            assert urls.keys() == {"ready", "http", "ws", "control"} and urls["ready"] is True

            async def client():
                async with connect(urls["ws"] + STREAMS) as stream:
                    await stream.recv()
                    process.send_signal(number)
                    with pytest.raises(ConnectionClosed) as caught:
                        while True:
                            await stream.recv()
                    assert caught.value.rcvd.code == 1001

            asyncio.run(client())
            assert process.wait(20) == 0
            assert process.stdout.read() == b"" and process.stderr.read() == b""
        finally:
            process.kill()
