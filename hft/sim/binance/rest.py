"""REST of the simulated Binance: routes, signatures over what was sent, headers that tell what was used."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import parse_qsl

from hft.sim.binance.desk import Desk
from hft.sim.binance.errors import ApiError
from hft.sim.binance.keys import check_time
from hft.sim.binance.methods import PUBLIC, ROUTES, SIGNED, weight_of
from hft.sim.binance.orders import Caller
from hft.sim.delivery import Delivery, proxy_page
from hft.sim.faults import RestError
from hft.sim.market import Market
from hft.sim.venue import MS, Response, json_response

JSON = (("Content-Type", "application/json;charset=UTF-8"),)
SIGNATURE_PARAMS = ("signature", "timestamp", "recvWindow", "apiKey")


class RestFront:
    """Answers REST requests."""

    def __init__(self, desk: Desk, delivery: Delivery) -> None:
        self._desk = desk
        self._delivery = delivery

    def answer(self, market: Market, verb: str, target: str, headers: Mapping[str, str], body: bytes, now_ns: int, utc_ns: int) -> Response:
        """Return the answer to one request. `headers` has lower-case names."""
        desk = self._desk
        delay_ns = desk.faults.delay_now_ns(now_ns)
        fault = desk.faults.rest_error()
        if fault is not None:
            return _failure(fault, delay_ns)
        path, _, query = target.partition("?")
        method = ""
        try:
            method, params = _split(verb, path, query, body)
            desk.address.charge(weight_of(method, params), utc_ns)
            unit_ns = 1_000 if headers.get("x-mbx-time-unit", "").upper() == "MICROSECOND" else MS
            if method in PUBLIC:
                response = Response(200, JSON, desk.public.call(market, method, params, utc_ns // unit_ns))
            else:
                response = self._signed(method, params, query, body, headers.get("x-mbx-apikey", ""), utc_ns, unit_ns)
            return response._replace(headers=response.headers + self._used(utc_ns), delay_ns=delay_ns)
        except ApiError as error:
            desk.failed(method, utc_ns)
            return self._refused(error, utc_ns, delay_ns)

    def _signed(self, method: str, params: dict[str, str], query: str, body: bytes, api_key: str, utc_ns: int, unit_ns: int) -> Response:
        desk, spec = self._desk, SIGNED[method]
        if not api_key:
            raise ApiError(401, -2014, "API-key format invalid.")
        key = desk.keys.find(api_key)
        signature = params.get("signature", "")
        if not signature:
            raise ApiError(400, -1102, "Mandatory parameter 'signature' was not sent, was empty/null, or malformed.")
        if not key.signed(_payload(query, body), signature):
            raise ApiError(400, -1022, "Signature for this request is not valid.")
        check_time(params.get("timestamp", ""), params.get("recvWindow", ""), utc_ns)
        for name in SIGNATURE_PARAMS:
            params.pop(name, None)
        caller = desk.caller(key, unit_ns)
        try:
            result = desk.run(method, caller, params, utc_ns)
        except ApiError as error:
            # What was carried out in part must not look as if it had not been.
            if error.status == 409:
                desk.failed(method, utc_ns)
                return self._delivery.answer(self._refused(error, utc_ns, 0), spec.action)
            raise
        counts = _counts(caller, utc_ns) if spec.counts else ()
        return self._delivery.answer(Response(200, JSON + counts, result.encode()), spec.action)

    def _used(self, utc_ns: int) -> tuple[tuple[str, str], ...]:
        used = str(self._desk.address.weight.add(0, utc_ns))
        return (("X-MBX-USED-WEIGHT", used), ("X-MBX-USED-WEIGHT-1M", used))

    def _refused(self, error: ApiError, utc_ns: int, delay_ns: int) -> Response:
        headers = self._used(utc_ns)
        document: dict[str, object] = {"code": error.code, "msg": error.text}
        if error.status in (418, 429):
            retry_after_ms = error.data["retryAfter"] if error.data else 0
            assert isinstance(retry_after_ms, int)
            headers = (("Retry-After", str(max(1, -((utc_ns // MS - retry_after_ms) // 1000)))), *headers)
        elif error.data:
            document["data"] = error.data
        return json_response(document, error.status, headers, delay_ns)


def _counts(caller: Caller, utc_ns: int) -> tuple[tuple[str, str], ...]:
    ten, day = caller.limits.ten_seconds.add(0, utc_ns), caller.limits.day.add(0, utc_ns)
    return (("X-MBX-ORDER-COUNT-10S", str(ten)), ("X-MBX-ORDER-COUNT-1D", str(day)))


def _payload(query: str, body: bytes) -> bytes:
    """Return what was signed: query and body as they were sent, without the signature."""
    parts = [text for text in (query, body.decode("latin-1")) if text]
    kept = ["&".join(pair for pair in text.split("&") if not pair.startswith("signature=")) for text in parts]
    return "".join(kept).encode("latin-1")


def _split(verb: str, path: str, query: str, body: bytes) -> tuple[str, dict[str, str]]:
    """Return method and parameters of a known route; each parameter once. Raises ApiError."""
    verbs = ROUTES.get(path)
    if verbs is None:
        raise ApiError(404, -1000, f"No such path: {path[:80]}")
    if verb not in verbs:
        raise ApiError(405, -1000, f"Request method '{verb}' is not supported.")
    try:
        pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=50)
        pairs += parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=50)
    except ValueError:
        raise ApiError(400, -1101, "Too many parameters.") from None
    params = dict(pairs)
    if len(params) != len(pairs):
        raise ApiError(400, -1101, "Duplicate values for a parameter detected.")
    return verbs[verb], params


def _failure(fault: RestError, delay_ns: int) -> Response:
    """Return an injected error in the venue's words, or in those of a proxy."""
    headers = (("Retry-After", str(fault.retry_after_s)),) if fault.status in (418, 429) else ()
    if fault.html:
        page = proxy_page(fault.status)
        return page._replace(headers=page.headers + headers, delay_ns=delay_ns)
    code, text = {
        418: (-1003, "Way too much request weight used; IP banned."),
        429: (-1003, "Too much request weight used."),
        503: (-1001, "Internal error; unable to process your request. Please try again."),
    }.get(fault.status, (-1000, "An unknown error occurred while processing the request."))
    return json_response({"code": code, "msg": text}, fault.status, headers, delay_ns)
