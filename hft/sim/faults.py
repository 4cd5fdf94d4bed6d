"""A fault makes a simulated venue misbehave as real ones do; this module holds the vocabulary.

`POST /fault` on the control port takes one of these as JSON, such as `{"kind":"drop","channel":"private","count":2}`. An empty
symbol means any; `count` is how often a fault strikes. Faults on frames strike what a client would have been sent; the
simulator's own books and accounts are always right. `hft.sim.armed_faults` keeps what is waiting to strike.
"""

from __future__ import annotations

from typing import Literal, get_args

import msgspec

#: Which frames: `book` is what carries a book, `public` those and all other market data, `reply` answers to requests on a socket.
Channel = Literal["book", "public", "private", "reply", "any"]
#: Which requests of the order path.
Action = Literal["any", "place", "cancel", "amend", "query"]
#: Which connections.
Sockets = Literal["public", "private", "any"]


class Drop(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="drop"):
    """Leave out the next frames: a gap wherever they are numbered."""

    channel: Channel = "public"
    symbol: str = ""
    count: int = 1


class DropDepth(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="drop_depth"):
    """Leave out the next book frames; `drop` with channel `book`."""

    symbol: str = ""
    count: int = 1
    channel: Channel = "book"


class Duplicate(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="duplicate"):
    """Send the next frames twice."""

    channel: Channel = "book"
    symbol: str = ""
    count: int = 1


class Corrupt(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="corrupt"):
    """Damage the next frames."""

    channel: Channel = "public"
    symbol: str = ""
    count: int = 1
    how: Literal["truncate", "not_json", "not_utf8", "empty", "bad_number"] = "truncate"


class Crossed(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="crossed"):
    """Add to the next book frames a bid above the best ask."""

    symbol: str = ""
    count: int = 1
    channel: Channel = "book"


class Delay(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="delay"):
    """Send the next frames late; what follows them does not wait."""

    channel: Channel = "private"
    symbol: str = ""
    count: int = 1
    delay_ms: int = 200


class Reorder(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="reorder"):
    """Send the next frames each behind the frame that follows it on its connection."""

    channel: Channel = "private"
    symbol: str = ""
    count: int = 1


class WrongChecksum(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="wrong_checksum"):
    """Send the next book frames with a checksum that is wrong, where the venue has one."""

    symbol: str = ""
    count: int = 1


class Silence(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="silence"):
    """Send no data for a while; pings and heartbeats go on, and what was not sent is lost."""

    channel: Channel = "public"
    for_ms: int = 5000


class Slow(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="slow"):
    """Delay every frame and every REST answer for a while."""

    delay_ms: int = 500
    for_ms: int = 5000


class Disconnect(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="disconnect"):
    """Drop connections: without a close frame, or with one (1001 as at the end of 24 hours)."""

    sockets: Sockets = "any"
    code: Literal[0, 1000, 1001, 1008, 1012] = 0


class HalfOpen(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="half_open"):
    """Neither read nor write connections for a while, and leave them open."""

    sockets: Sockets = "any"
    for_ms: int = 5000


class ServerShutdown(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="server_shutdown"):
    """Announce a shutdown, then close every connection."""

    after_ms: int = 1000


class StaleSnapshot(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="stale_snapshot"):
    """Answer the next depth requests with an update id from before the stream."""

    symbol: str = ""
    count: int = 1
    behind: int = 1_000_000


class RestError(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="rest_error"):
    """Answer the next REST requests with an error and do nothing else; `html` is what a proxy in front of the venue says."""

    status: int = 503
    count: int = 1
    html: bool = False
    retry_after_s: int = 1


class RefuseOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="refuse_order"):
    """Refuse the next requests of the order path, on sockets and REST, and do not carry them out."""

    action: Action = "any"
    status: int = 429
    count: int = 1
    retry_after_s: int = 1


class LoseAck(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="lose_ack"):
    """Carry out the next requests of the order path and never answer them; `hang_up` closes the connection too."""

    action: Action = "place"
    count: int = 1
    hang_up: bool = False


class OrderError(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="order_error"):
    """Carry out the next requests of the order path and answer them as if they had failed: timeout, 5xx, or a proxy's HTML."""

    action: Action = "place"
    status: int = 503
    count: int = 1
    html: bool = False


class ClockSkew(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="clock_skew"):
    """Shift the venue's clock against the true time, until the next such fault."""

    skew_ms: int = 0


class InstrumentStatus(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="instrument_status"):
    """Change what an instrument takes."""

    symbol: str = ""
    status: Literal["trading", "limit_only", "post_only", "cancel_only", "halted"] = "trading"


FrameFault = Drop | DropDepth | Duplicate | Corrupt | Crossed | Delay | Reorder
Fault = (
    FrameFault
    | WrongChecksum
    | Silence
    | Slow
    | Disconnect
    | HalfOpen
    | ServerShutdown
    | StaleSnapshot
    | RestError
    | RefuseOrder
    | LoseAck
    | OrderError
    | ClockSkew
    | InstrumentStatus
)

_decode = msgspec.json.Decoder(Fault).decode


class FaultError(ValueError):
    """A fault request is not valid; the message says where."""


def decode_fault(body: bytes) -> Fault:
    """Return the fault that a request asks for. Raises FaultError."""
    try:
        fault: Fault = _decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise FaultError(str(error)) from error
    for name in ("count", "for_ms", "delay_ms", "after_ms", "behind", "retry_after_s"):
        if getattr(fault, name, 1) < 0:
            raise FaultError(f"{name} must not be negative")
    if isinstance(fault, RestError | RefuseOrder | OrderError) and not 400 <= fault.status <= 599:
        raise FaultError(f"status must be within 400 .. 599, was {fault.status}")
    return fault


def kinds() -> list[str]:
    """Return the names of all faults."""
    return sorted(fault.__struct_config__.tag for fault in get_args(Fault))
