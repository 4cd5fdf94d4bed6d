"""Config limits: the sections `[limits.<instrument>]` and `[firm]`; what each limit does is in docs/risk-controls.md."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from hft.config_types import Decimal


class Limits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Hard limits of one instrument; none has a default."""

    order_qty_max: Decimal  #: size of an order, in base; at most position_max
    order_notional_max: Decimal  #: price x size of an order, in quote
    position_max: Decimal  #: |position| with all working orders of a side, in base
    open_orders_max: Annotated[int, msgspec.Meta(ge=1, le=64)]  #: working orders, unknown and canceling ones included
    collar_passive_bp: Annotated[int, msgspec.Meta(ge=1, le=10_000)]  #: how far a price may be behind its own side's best
    collar_through_bp: Annotated[int, msgspec.Meta(ge=1, le=10_000)]  #: how far a price may be through the other side's best
    book_age_max_ms: Annotated[int, msgspec.Meta(ge=1, le=3_600_000)]  #: age of the newest best price
    duplicate_window_ms: Annotated[int, msgspec.Meta(ge=1, le=3_600_000)]  #: the same order again within it is refused
    move_max_bp: Annotated[int, msgspec.Meta(ge=1, le=10_000)]  #: a mid that moves further within the window pulls all quotes
    move_window_ms: Annotated[int, msgspec.Meta(ge=1, le=3_600_000)]  #: the window of move_max_bp
    divergence_max_bp: Annotated[int, msgspec.Meta(ge=1, le=10_000)]  #: how far its mid may be from the same pair's at other venues
    reference_max_bp: Annotated[int, msgspec.Meta(ge=1, le=10_000)]  #: how far a buy may be above what others say, a sell below
    reference_window_ms: Annotated[int, msgspec.Meta(ge=1, le=3_600_000)]  #: over how long trades are averaged for reference_max_bp
    closed_pause_ms: Annotated[int, msgspec.Meta(ge=1, le=3_600_000)]  #: nothing is sent for so long once the venue says it is closed
    stop_loss_bp: Annotated[int, msgspec.Meta(ge=1, le=10_000)]  #: a position that has lost more of its cost may only be reduced
    stop_loss_action: Literal["hold", "close"]  #: "close": its strategy's stage then closes it, by orders at the touch; "hold": nobody does


class Firm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Hard limits over everything; none has a default."""

    base_currency: str  #: what gross exposure and daily loss are counted in
    rates: dict[str, Decimal]  #: quote asset -> how much of the base currency one unit is worth
    gross_max: Decimal  #: sum of worst-case |position| at mid, in the base currency
    net_max: Decimal  #: |sum of worst-case signed positions|, long or short, at mid, in the base currency; at most gross_max
    concentration_max_percent: Annotated[int, msgspec.Meta(ge=1, le=100)]  #: share of gross_max that one base asset may have
    daily_loss_max: Decimal  #: loss since the session began, in the base currency, as a positive number
    intent_age_max_ms: Annotated[int, msgspec.Meta(ge=1, le=60_000)]  #: from decision to approval
    send_age_max_ms: Annotated[int, msgspec.Meta(ge=1, le=60_000)]  #: from approval to sending; at least intent_age_max_ms
    strategy_orders_per_s: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]  #: rate and depth of each strategy's token bucket
    firm_orders_per_s: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]  #: rate and depth of the firm's token bucket
    unknown_orders_max: Annotated[int, msgspec.Meta(ge=1, le=1024)]  #: no new order at a venue that owes an answer about so many
    fills_max: Annotated[int, msgspec.Meta(ge=1, le=100_000)]  #: a strategy with more fills within the window is killed
    fills_window_ms: Annotated[int, msgspec.Meta(ge=1, le=3_600_000)]  #: the window of fills_max
    filled_expected: Decimal  #: what a strategy may be filled for within the window whatever is usual for it, in the base currency
    filled_max_percent: Annotated[int, msgspec.Meta(ge=100, le=10_000)]  #: one that is filled for more of what is usual is killed
    filled_window_ms: Annotated[int, msgspec.Meta(ge=1, le=3_600_000)]  #: the window of filled_max_percent
    rejects_max: Annotated[int, msgspec.Meta(ge=1, le=100_000)]  #: a strategy with more venue rejects within the window is killed
    rejects_window_ms: Annotated[int, msgspec.Meta(ge=1, le=3_600_000)]  #: the window of rejects_max
    late_after_us: Annotated[int, msgspec.Meta(ge=1, le=60_000_000)]  #: an intent that takes longer from the wire to risk is late
    late_max: Annotated[int, msgspec.Meta(ge=1, le=100_000)]  #: a strategy with more late intents within the window is paused for it
    late_window_ms: Annotated[int, msgspec.Meta(ge=1, le=3_600_000)]  #: the window of late_max
    messages_per_fill_max: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]  #: a strategy that sends more for each fill sends no new orders
    messages_window_ms: Annotated[int, msgspec.Meta(ge=1, le=3_600_000)]  #: the window of messages_per_fill_max
    fee_max_percent: Annotated[int, msgspec.Meta(ge=100, le=1000)]  #: a fill whose fee is more of the schedule's kills its strategy
    clock_offset_max_ms: Annotated[int, msgspec.Meta(ge=1, le=10**12)]  #: no new orders at a venue whose clock is further from ours
    drawdown_max: Decimal  #: the firm is killed when P&L is further below its peak, in the base currency
    loss_rate_max: Decimal  #: the firm is killed when P&L is further below its highest within the window, in the base currency
    loss_rate_window_ms: Annotated[int, msgspec.Meta(ge=1, le=3_600_000)]  #: the window of loss_rate_max
