"""A trader at the simulated Binance in virtual time: signs as the documentation says, written anew from it."""

import base64
import hashlib
import hmac
import json
from urllib.parse import quote, urlencode

from cryptography.hazmat.primitives.serialization import load_der_private_key

from hft.sim.binance.keys import ALICE_KEY, ALICE_SECRET, BOB_KEY, BOB_PRIVATE_KEY
from hft.sim.venue import Opcode
from support.virtual_venue import MS, WALL_NS, VirtualVenue

LIMIT = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "price": "50000", "quantity": "0.01"}


def hmac_sign(payload: str, secret: str = ALICE_SECRET) -> str:
    return hmac.new(secret.encode(), payload.encode(), hashlib.sha256).hexdigest()


def ed25519_sign(payload: str) -> str:
    return base64.b64encode(load_der_private_key(base64.b64decode(BOB_PRIVATE_KEY), None).sign(payload.encode())).decode()


class Trader:
    """Speaks for alice (HMAC, each request signed) or for bob (Ed25519, logged on) over one connection."""

    def __init__(self, driver: VirtualVenue, name: str = "alice", target: str = "/ws-api/v3", subscribe: bool = True) -> None:
        self.driver, self.name = driver, name
        self.key, self.sign = (ALICE_KEY, hmac_sign) if name == "alice" else (BOB_KEY, ed25519_sign)
        self.session = driver.venue.open(driver.venue.admit(target, {}, driver.now_ns), driver.now_ns)
        driver.sent[self.session.number] = []
        self.events = []
        self.count = 0
        if name == "bob":
            assert self.call("session.logon", signed=True)["status"] == 200
        if subscribe:
            method = "userDataStream.subscribe" + (".signature" if name == "alice" else "")
            assert self.call(method, signed=name == "alice")["result"] == {"subscriptionId": 0}

    @property
    def utc_ms(self) -> int:
        return (self.driver.now_ns + WALL_NS) // MS

    def call(self, method, params=None, signed=None, **more):
        """Send a request and return its reply; None if there is none. Events on the way are kept."""
        self.count += 1
        params = dict(params or {}, **more)
        if signed is None:
            signed = self.name == "alice"
        if signed:
            params.setdefault("apiKey", self.key)
            params.setdefault("timestamp", self.utc_ms)
            payload = "&".join(f"{name}={params[name]}" for name in sorted(params))
            params.setdefault("signature", self.sign(payload))
        elif self.name == "bob":
            params.setdefault("timestamp", self.utc_ms)
        request = {"id": self.count, "method": method, "params": params}
        self.driver.venue.receive(self.session, Opcode.TEXT, json.dumps(request).encode(), self.driver.now_ns)
        replies = [message for message in self.collect() if message.get("id") == self.count]
        return replies[0] if replies else None

    def place(self, **more):
        return self.call("order.place", {name: value for name, value in {**LIMIT, **more}.items() if value is not None})

    def collect(self):
        """Take what was sent; events are kept, replies returned."""
        messages = [json.loads(payload) for opcode, payload in self.session.outbox if opcode == Opcode.TEXT]
        self.session.outbox.clear()
        self.events += [message["event"] for message in messages if "event" in message]
        return [message for message in messages if "event" not in message]

    def reports(self):
        """Take the execution reports so far, as (execution, status, last, cumulative)."""
        self.collect()
        found = [(e["x"], e["X"], e["l"], e["z"]) for e in self.events if e["e"] == "executionReport"]
        self.events.clear()
        return found

    def rest(self, verb, path, params=None, headers=None, in_body=False, **more):
        """Send a signed REST request; return status, body, headers."""
        params = {**(params or {}), **more}
        params.setdefault("timestamp", self.utc_ms)
        text = urlencode(params, quote_via=quote)
        text += f"&signature={quote(self.sign(text), safe='')}"
        target, body = (path, text.encode()) if in_body else (f"{path}?{text}", b"")
        answer = self.driver.venue.request(verb, target, {"x-mbx-apikey": self.key, **(headers or {})}, body, self.driver.now_ns)
        return answer.status, json.loads(answer.body), dict(answer.headers)


def code(reply):
    """Status, code and text of a refusal."""
    return reply["status"], reply["error"]["code"], reply["error"]["msg"]
