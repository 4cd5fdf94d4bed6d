"""The WebSocket API of the simulated Binance: requests and replies, sessions that are logged on, user data streams."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlsplit

import msgspec

from hft.sim.binance.desk import Desk
from hft.sim.binance.errors import UNAUTHORIZED, ApiError
from hft.sim.binance.keys import RECV_WINDOW_MAX_MS, RECV_WINDOW_MS, ApiKey, check_time, socket_payload, text_of
from hft.sim.binance.limits import WEIGHT_MAX
from hft.sim.binance.methods import PUBLIC, SIGNED, weight_of
from hft.sim.binance.orders import Caller
from hft.sim.binance.reports import account_position, execution_report
from hft.sim.binance.session import Session
from hft.sim.delivery import Delivery
from hft.sim.exchange.records import Event, EventKind
from hft.sim.market import Market
from hft.sim.venue import MS, RefusedError

CONNECT_WEIGHT = SESSION_WEIGHT = 2
SESSION_METHODS = frozenset(
    (
        "session.logon",
        "session.status",
        "session.logout",
        "session.subscriptions",
        "userDataStream.subscribe",
        "userDataStream.subscribe.signature",
        "userDataStream.unsubscribe",
    )
)
#: Parameters of signature and session, which no method reads.
LEFT_OUT = frozenset(("apiKey", "signature", "timestamp", "recvWindow", "returnRateLimits"))
UNKNOWN_OUTCOME = (
    '"error":{"code":-1007,"msg":"Timeout waiting for response from backend server. Send status unknown; execution status unknown."}'
)


class Request(msgspec.Struct):
    """A request as it comes; `id` is echoed as it is."""

    id: int | str | None = None
    method: str = ""
    params: dict[str, Any] = {}


_decode = msgspec.json.Decoder(Request).decode


class ApiTarget(NamedTuple):
    """What a handshake URL asks for."""

    unit_ns: int  #: what times in answers count
    return_limits: bool  #: whether replies tell the limits


class ApiSession(Session):
    """One client's connection to the WebSocket API."""

    def __init__(self, number: int, now_ns: int, utc_ns: int, target: ApiTarget) -> None:
        """Open it as the URL asks."""
        super().__init__(number, now_ns, private=True)
        self.unit_ns, self.return_limits = target
        self.connected_ns = utc_ns
        #: Who is logged on, and since when.
        self.key: ApiKey | None = None
        self.authorized_ns = 0
        #: Who the logged-on key speaks for; made once, for speed.
        self.caller: Caller | None = None
        #: subscription id -> account, and whether it ends with the log-on
        self.subscriptions: dict[int, tuple[str, bool]] = {}
        self.next_subscription = 0

    def describe(self) -> dict[str, object]:
        """Return facts for people."""
        accounts = [account for account, _ in self.subscriptions.values()]
        return {"session": self.number, "api": True, "logged_on": self.key.customer if self.key else None, "subscriptions": accounts}


def parse_api_target(target: str) -> ApiTarget | None:
    """Read a URL of the WebSocket API; None for another one. Raises RefusedError."""
    parts = urlsplit(target)
    if parts.path.rstrip("/") != "/ws-api/v3":
        return None
    query = dict(parse_qsl(parts.query))
    unit = query.get("timeUnit", "MILLISECOND").upper()
    limits = query.get("returnRateLimits", "true").lower()
    if unit not in ("MILLISECOND", "MICROSECOND") or limits not in ("true", "false"):
        raise RefusedError(400, f"timeUnit or returnRateLimits not understood: {parts.query[:80]}")
    return ApiTarget(MS if unit == "MILLISECOND" else 1_000, limits == "true")


class ApiFront:
    """Answers requests on the WebSocket API, and sends accounts what happens to them."""

    def __init__(self, desk: Desk, delivery: Delivery) -> None:
        self._desk = desk
        self._delivery = delivery
        #: Who subscribes to an account.
        self._subscribers: list[ApiSession] = []

    def forget(self, session: Session) -> None:
        """Drop a connection that is gone."""
        self._subscribers = [known for known in self._subscribers if known is not session]

    def receive(self, session: ApiSession, payload: bytes, market: Market, now_ns: int, utc_ns: int) -> None:
        """Take one request."""
        try:
            request = _decode(payload)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            refusal = ApiError(400, -1135, f"Invalid 'JSON' request: {error}"[:200])
            try:
                self._desk.address.charge(1, utc_ns)
            except ApiError as over:
                refusal = over
            self._send(session, Request(), refusal.status, error_text(refusal), None, now_ns, utc_ns)
            return
        method = request.method
        caller: Caller | None = None
        try:
            if method in SIGNED:
                spec = SIGNED[method]
                self._desk.address.charge(weight_of(method, request.params), utc_ns)
                caller = self._authenticate(session, request.params, utc_ns)
                result = self._desk.run(method, caller, _plain(request.params), utc_ns)
                body = self._frame(session, request, 200, f'"result":{result}', caller if spec.counts else None, utc_ns)
                failed = self._frame(session, request, 504, UNKNOWN_OUTCOME, None, utc_ns) if self._desk.faults.waiting else b""
                self._delivery.reply(session, body, spec.action, failed, now_ns)
                return
            self._send(session, request, 200, f'"result":{self._call(session, request, market, utc_ns)}', None, now_ns, utc_ns)
            if method in ("session.logout", "userDataStream.unsubscribe"):
                self._terminate(session, request, now_ns, utc_ns)
        except ApiError as error:
            self._desk.failed(method, utc_ns)
            body = self._frame(session, request, error.status, error_text(error), caller, utc_ns)
            if error.status == 409:
                self._delivery.reply(session, body, "place", body, now_ns)
            else:
                self._delivery.send((session,), body, "reply", now_ns)

    def publish(self, events: Iterable[Event], now_ns: int) -> None:
        """Send events to those who subscribe to their accounts, and count fills against the unfilled orders."""
        sessions = self._subscribers
        for event in events:
            name = event.account.name
            fill = event.fill
            if fill is not None and fill.order.fills[0] is fill:
                self._desk.order_limits[name].add(-5 if fill.maker else -1, event.at_ns)
            if not sessions or event.kind is EventKind.PREVENTED and not event.leaves_lots:
                continue
            texts: dict[int, str] = {}
            for session in sessions:
                for number, (account, _) in session.subscriptions.items():
                    if account != name:
                        continue
                    text = texts.get(session.unit_ns)
                    if text is None:
                        made = account_position if event.kind is EventKind.BALANCE else execution_report
                        text = texts[session.unit_ns] = made(event, session.unit_ns)
                    body = f'{{"subscriptionId":{number},"event":{text}}}'.encode()
                    symbol = "" if event.order is None else event.order.instrument.symbol
                    self._delivery.send((session,), body, "private", now_ns, symbol)

    def _authenticate(self, session: ApiSession, params: dict[str, Any], utc_ns: int) -> Caller:
        """Return who asks: whoever signed this request, else whoever is logged on. Raises ApiError."""
        if "signature" in params or "apiKey" in params:
            key = self._signer(params)
            caller = self._desk.caller(key, session.unit_ns)
        elif session.caller is not None:
            caller = session.caller
        else:
            raise ApiError(400, -1102, "Mandatory parameter 'apiKey' was not sent, was empty/null, or malformed.")
        stamp, window = params.get("timestamp", ""), params.get("recvWindow", RECV_WINDOW_MS)
        # Most requests are from just now, in ms.
        if not (type(stamp) is int and type(window) is int and window <= RECV_WINDOW_MAX_MS and 0 <= utc_ns - stamp * MS < window * MS):
            check_time(text_of(stamp), text_of(params.get("recvWindow", "")), utc_ns)
        return caller

    def _signer(self, params: dict[str, Any]) -> ApiKey:
        """Return the key that signed parameters. Raises ApiError."""
        for name in ("apiKey", "signature"):
            if not params.get(name):
                raise ApiError(400, -1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.")
        key = self._desk.keys.find(text_of(params["apiKey"]))
        if not key.signed(socket_payload(params), text_of(params["signature"])):
            raise ApiError(400, -1022, "Signature for this request is not valid.")
        return key

    def _call(self, session: ApiSession, request: Request, market: Market, utc_ns: int) -> str:
        """Carry out a public method or one of the session; return its result as JSON. Raises ApiError."""
        method, params, desk = request.method, request.params, self._desk
        if method in PUBLIC:
            plain = _plain(params)
            desk.address.charge(weight_of(method, plain), utc_ns)
            return desk.public.call(market, method, plain, utc_ns // session.unit_ns).decode()
        if method not in SESSION_METHODS:
            desk.address.charge(1, utc_ns)
            raise ApiError(400, -1020, "This operation is not supported.")
        desk.address.charge(SESSION_WEIGHT, utc_ns)
        if method == "session.logon":
            return self._log_on(session, params, utc_ns)
        if method == "session.status":
            return self._status(session, utc_ns)
        if method == "session.logout":
            session.key = session.caller = None
            return self._status(session, utc_ns)
        if method == "session.subscriptions":
            return msgspec.json.encode([{"subscriptionId": number} for number in session.subscriptions]).decode()
        if method == "userDataStream.unsubscribe":
            number = params.get("subscriptionId")
            if number is not None and number not in session.subscriptions:
                raise ApiError(400, -2036, "Subscription not active.")
            return "{}"
        if method == "userDataStream.subscribe":
            if session.key is None:
                raise ApiError(*UNAUTHORIZED)
            return self._subscribe(session, session.key, True)
        key = self._signer(params)
        check_time(text_of(params.get("timestamp", "")), text_of(params.get("recvWindow", "")), utc_ns)
        return self._subscribe(session, key, False)

    def _log_on(self, session: ApiSession, params: dict[str, Any], utc_ns: int) -> str:
        key = self._signer(params)
        if key.public is None:
            raise ApiError(400, -4056, "HMAC_SHA256 API key is not supported.")
        check_time(text_of(params.get("timestamp", "")), text_of(params.get("recvWindow", "")), utc_ns)
        session.key, session.authorized_ns = key, utc_ns
        session.caller = self._desk.caller(key, session.unit_ns)
        return self._status(session, utc_ns)

    def _subscribe(self, session: ApiSession, key: ApiKey, by_log_on: bool) -> str:
        key.require("read")
        if any(account == key.customer for account, _ in session.subscriptions.values()):
            raise ApiError(400, -2035, "User Data Stream subscription already active.")
        number = session.next_subscription
        session.next_subscription += 1
        session.subscriptions[number] = (key.customer, by_log_on)
        if session not in self._subscribers:
            self._subscribers.append(session)
        return f'{{"subscriptionId":{number}}}'

    def _terminate(self, session: ApiSession, request: Request, now_ns: int, utc_ns: int) -> None:
        """End the subscriptions that a logout or an unsubscribe means, and say so."""
        wanted = request.params.get("subscriptionId")
        for number, (_, by_log_on) in list(session.subscriptions.items()):
            if request.method == "session.logout" and not by_log_on or wanted not in (None, number):
                continue
            del session.subscriptions[number]
            event = f'{{"e":"eventStreamTerminated","E":{utc_ns // session.unit_ns}}}'
            self._delivery.send((session,), f'{{"subscriptionId":{number},"event":{event}}}'.encode(), "private", now_ns)

    def _status(self, session: ApiSession, utc_ns: int) -> str:
        unit_ns = session.unit_ns
        key, since = "null", "null"
        if session.key is not None:
            key, since = f'"{session.key.key}"', str(session.authorized_ns // unit_ns)
        return (
            f'{{"apiKey":{key},"authorizedSince":{since},"connectedSince":{session.connected_ns // unit_ns},'
            f'"returnRateLimits":{"true" if session.return_limits else "false"},"serverTime":{utc_ns // unit_ns},'
            f'"userDataStream":{"true" if session.subscriptions else "false"}}}'
        )

    def _send(self, session: ApiSession, request: Request, status: int, text: str, caller: Caller | None, now_ns: int, utc_ns: int) -> None:
        self._delivery.send((session,), self._frame(session, request, status, text, caller, utc_ns), "reply", now_ns)

    def _frame(self, session: ApiSession, request: Request, status: int, text: str, caller: Caller | None, utc_ns: int) -> bytes:
        """Return a reply; those about new orders tell `caller`'s counts of unfilled orders besides the weight."""
        limits = ""
        wanted = request.params.get("returnRateLimits")
        if session.return_limits if wanted is None else wanted in (True, "true"):
            orders = f"{caller.limits.text(utc_ns)}," if caller is not None else ""
            used = self._desk.address.weight.add(0, utc_ns)
            limits = (
                f',"rateLimits":[{orders}{{"rateLimitType":"REQUEST_WEIGHT","interval":"MINUTE","intervalNum":1,'
                f'"limit":{WEIGHT_MAX},"count":{used}}}]'
            )
        number = request.id
        text_id = str(number) if isinstance(number, int) else msgspec.json.encode(number).decode()
        return f'{{"id":{text_id},"status":{status},{text}{limits}}}'.encode()


def error_text(error: ApiError) -> str:
    """Return an error as a member of a reply."""
    document: dict[str, object] = {"code": error.code, "msg": error.text}
    if error.data:
        document["data"] = error.data
    return f'"error":{msgspec.json.encode(document).decode()}'


def _plain(params: dict[str, Any]) -> dict[str, str]:
    """Return the parameters of a method as text, without those of signature and session."""
    return {name: value if isinstance(value, str) else _json_text(value) for name, value in params.items() if name not in LEFT_OUT}


def _json_text(value: object) -> str:
    return msgspec.json.encode(value).decode() if isinstance(value, list) else text_of(value)
