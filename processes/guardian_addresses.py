"""Guardian addresses: keeps the addresses of venues' hosts at hand, so that no kill waits for a resolver."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from hft.http_client import Url, parse_url
from processes.transport.stream import Address, ConnectFailed, resolve

_REFRESH_S = 60.0
#: The first answers are worth waiting for, this long.
_FIRST_S = 2.0


class Addresses:
    """Resolves hosts in a thread of its own, again and again; what was known stays when a resolver fails."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[Address, ...]] = {}
        self._urls: dict[str, Url] = {}
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._run, name="addresses", daemon=True)
        self._closed = False
        self._thread.start()

    def follow(self, url: str) -> None:
        """Keep the addresses of this URL's host; returns when they are known, or after a moment."""
        self._urls[url] = parse_url(url, ("http", "https"))
        done = threading.Event()
        threading.Thread(target=self._first, args=(url, done), name="first address", daemon=True).start()
        done.wait(_FIRST_S)

    def of(self, url: str) -> Sequence[Address]:
        """What is known; empty if nothing is."""
        return self._known.get(url, ())

    def close(self) -> None:
        """End the thread."""
        self._closed = True
        self._wake.set()
        self._thread.join(_FIRST_S)

    def _run(self) -> None:
        while not self._wake.wait(_REFRESH_S):
            for url in list(self._urls):
                self._resolve(url)

    def _first(self, url: str, done: threading.Event) -> None:
        self._resolve(url)
        done.set()

    def _resolve(self, url: str) -> None:
        try:
            self._known[url] = resolve(self._urls[url])
        except ConnectFailed:
            pass  # What was known is better than nothing.
