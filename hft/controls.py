"""Controls says in words what each RiskCode refuses, in the order in which `hft.risk.check` asks, and which key sets it."""

from __future__ import annotations

from typing import NamedTuple

from hft.records import RiskCode

_LIMITS = "limits.<instrument>."


class Control(NamedTuple):
    """One pre-trade control: what it refuses, what also makes it refuse, and the config key that sets it."""

    code: RiskCode
    refuses: str
    fails_closed: str
    key: str

    @property
    def number(self) -> str:
        """The control's number in the catalogue: R040."""
        return f"R{int(self.code) - 2000:03d}"

    @property
    def counter(self) -> str:
        """The risk stage's counter of these refusals."""
        return f"REFUSED_{self.number}"


#: In the order of the checks. The stage itself makes the last one, and kills what a breaker stops.
CONTROLS: tuple[Control, ...] = (
    Control(
        RiskCode.INSTRUMENT_NOT_ALLOWED,
        "An instrument that is not in the table, is not the strategy's, or whose venue does not say that it trades.",
        "No such row; not listed for the strategy. CANCEL and CANCEL_ALL need the row to exist, nothing else.",
        "strategies.<name>.instruments",
    ),
    Control(
        RiskCode.STRATEGY_NOT_APPROVED,
        "A strategy that is not in the table or is not approved, or an intent from another strategy's ring.",
        "No such row. CANCEL and CANCEL_ALL need the row to exist, nothing else.",
        "strategies.<name>",
    ),
    Control(
        RiskCode.REPEATED_EXECUTION,
        "A strategy with more fills within the window than the limit: it is killed until somebody arms it.",
        "",
        "firm.fills_max, fills_window_ms",
    ),
    Control(
        RiskCode.REJECT_STORM,
        "A strategy with more orders rejected by a venue within the window than the limit: it is killed until somebody "
        "arms it. Orders that must only rest and would have traded do not count.",
        "",
        "firm.rejects_max, rejects_window_ms",
    ),
    Control(
        RiskCode.FEE_SANITY,
        "A strategy that was filled at a fee above so many percent of the instrument's maker or taker fee: it is killed until somebody arms "
        "it. One unit more is rounding, and a fill below the venue's least notional counts as one of that.",
        "A rate below 0 counts as 0. Fees in assets other than base and quote are not compared.",
        "firm.fee_max_percent",
    ),
    Control(
        RiskCode.FILL_RATE_ANOMALY,
        "A strategy that was filled within the window for more than so many percent of what is usual for it, an average over about eight "
        "windows, or of what the config expects if that is more; in the base currency. It is killed until somebody arms it.",
        "What has no rate is refused by MAX_GROSS.",
        "firm.filled_expected, filled_max_percent, filled_window_ms",
    ),
    Control(
        RiskCode.DRAWDOWN,
        "P&L, in the base currency, below its peak by more than the limit: the firm is killed until somebody arms it. The peak counts "
        "from the session's start, or from arming.",
        "P&L that is not known is refused by DAILY_LOSS.",
        "firm.drawdown_max",
    ),
    Control(
        RiskCode.LOSS_RATE,
        "P&L, in the base currency, below its highest within the window by more than the limit: the firm is killed until somebody arms it.",
        "P&L that is not known is refused by DAILY_LOSS.",
        "firm.loss_rate_max, loss_rate_window_ms",
    ),
    Control(
        RiskCode.LATENCY_BUDGET,
        "A strategy with more late intents within the window than the limit; late is what took longer from the wire to risk than "
        "the budget. When that begins, working orders in its instruments are canceled. It ends when no such intent has come for the window.",
        "",
        "firm.late_after_us, late_max, late_window_ms",
    ),
    Control(
        RiskCode.SYSTEM_HALTED,
        "Any order while the halt or a kill word of the firm, the venue or the strategy is set.",
        "The instrument names no venue; a fill could not be booked, so that the position is not known.",
        "",
    ),
    Control(
        RiskCode.INTENT_STALE,
        "now - decided_ns above the limit.",
        "decided_ns after now; limit not above 0.",
        "firm.intent_age_max_ms",
    ),
    Control(
        RiskCode.CLIENT_ID_REUSE,
        "An order id whose counter is not above the strategy's newest approved one.",
        "Not this session's epoch, not the strategy's own, or not positive.",
        "",
    ),
    Control(
        RiskCode.UNKNOWN_ORDER,
        "CANCEL or REPLACE of anything but a working order of the same strategy in the same instrument; for REPLACE, on the same side.",
        "No such order.",
        "",
    ),
    Control(
        RiskCode.NON_FINITE_OR_SIGN,
        "Price or size not positive; price x size at or above 2^62; side, kind, time in force or flags that do not exist.",
        "An out-of-range product is refused, never wrapped.",
        "",
    ),
    Control(
        RiskCode.TICK_LOT,
        "Price outside the venue's range, size above the venue's maximum. Whole ticks and lots are all that an intent can hold.",
        "Range not set.",
        "instruments.<instrument>.price_max, qty_max",
    ),
    Control(
        RiskCode.MIN_QTY_NOTIONAL,
        "Size, or price x size, below the venue's minimum; compared exactly.",
        "",
        "instruments.<instrument>.min_notional",
    ),
    Control(RiskCode.MAX_ORDER_QTY, "Size above the limit.", "Limit not above 0.", f"{_LIMITS}order_qty_max"),
    Control(
        RiskCode.MAX_ORDER_NOTIONAL,
        "price x size in the quote asset above the limit; compared exactly.",
        "Limit not above 0; out of range.",
        f"{_LIMITS}order_notional_max",
    ),
    Control(
        RiskCode.CANCEL_ONLY_MODE,
        "Any order in an instrument whose venue rejected one because its market is closed, for a pause.",
        "",
        f"{_LIMITS}closed_pause_ms",
    ),
    Control(
        RiskCode.BOOK_INVALID,
        "Any order while the book is not VALID, or its touch is one-sided, locked or crossed.",
        "No book yet; a price at or above 2^47 ticks.",
        "",
    ),
    Control(
        RiskCode.VOLATILITY,
        "Any order while the mid's range within the window is above the limit; when that begins, working orders in the instrument are "
        "canceled. It ends with the first best price after the window.",
        "",
        f"{_LIMITS}move_max_bp, move_window_ms",
    ),
    Control(
        RiskCode.CLOCK_UNSAFE,
        "Any order at a venue whose clock is further from ours than the limit, or seems so because all that it says is late; the least "
        "delay of a quarter of a second counts. A step of our own clock is one of all venues. When it begins, what works there is canceled; "
        "it ends when the clocks agree.",
        "No event of the venue that has a time has come yet; limit not above 0.",
        "firm.clock_offset_max_ms",
    ),
    Control(
        RiskCode.STALE_BOOK,
        "now - received_ns of the newest TOP or QUOTE above the limit, or now - exchange_ns above it by more than clock_offset_max_ms.",
        "received_ns further ahead of now than the limit; limit not above 0. Without a venue's time the first counts alone.",
        f"{_LIMITS}book_age_max_ms",
    ),
    Control(
        RiskCode.CROSS_VENUE_DIVERGENCE,
        "Any order in an instrument whose mid is further than the limit from that of the same pair at another venue; compared exactly.",
        "Other venues have the pair, and none of them a valid, two-sided book that is not too old. A pair of one venue is not compared.",
        f"{_LIMITS}divergence_max_bp",
    ),
    Control(
        RiskCode.PRICE_COLLAR_TOUCH,
        "Limit price further on the passive side of its own best, or further through the opposite best, than the limits.",
        "A limit not in 1..10000 basis points.",
        f"{_LIMITS}collar_passive_bp, collar_through_bp",
    ),
    Control(
        RiskCode.PRICE_COLLAR_REF,
        "A buy further above, or a sell further below, than the limit from a reference that is not its own book: the median of the mids that "
        "the same pair has at other venues, where one is valid, two-sided and not too old; else the average of the instrument's own last trades "
        "over the window, each weighted by how long it was the last. The first mid stands in until something has been traded. An instrument that "
        "a stop, or somebody, wants closed is held to the touch alone: in the fall that tripped the stop, its trades are far away.",
        "No trade and no mid yet; out of range; limit or window not above 0.",
        f"{_LIMITS}reference_max_bp, reference_window_ms",
    ),
    Control(
        RiskCode.ORDER_RATE,
        "More orders than the token bucket of the strategy, or of the firm, holds: one second's worth, refilled continuously.",
        "Limit not above 0; time that runs backwards refills nothing.",
        "firm.strategy_orders_per_s, firm_orders_per_s",
    ),
    Control(
        RiskCode.ORDER_TO_TRADE,
        "A new order of a strategy that has sent as many orders, replacements and cancels within the window as the limit times its fills "
        "there; without a fill, as with one. Cancels pass. It ends when fills come, or messages are older than the window.",
        "Limit not above 0.",
        "firm.messages_per_fill_max, messages_window_ms",
    ),
    Control(
        RiskCode.DUPLICATE_ORDER,
        "The same strategy, instrument, side, price and size as an order approved less than the window ago; "
        "a CANCEL of an order whose CANCEL was approved less than the window ago.",
        "Window not above 0 (orders only); no room to remember the order.",
        f"{_LIMITS}duplicate_window_ms",
    ),
    Control(
        RiskCode.OPEN_ORDERS,
        "As many working orders in the instrument as the limit; unknown and canceling ones count.",
        "Limit not above 0; order table full.",
        f"{_LIMITS}open_orders_max",
    ),
    Control(
        RiskCode.UNKNOWN_ORDERS,
        "Any order at a venue with as many orders as the limit of which it is not known what became of them. It ends when the venue says.",
        "Limit not above 0.",
        "firm.unknown_orders_max",
    ),
    Control(
        RiskCode.SELF_TRADE,
        "A price that reaches a working, unknown or canceling order of the firm on the other side.",
        "",
        "",
    ),
    Control(
        RiskCode.MAX_POSITION,
        "Position, plus everything working or unknown on the order's side, plus the order, above the limit on that side; "
        "with REDUCE_ONLY, across zero. What reduces a position beyond its limit is possible.",
        "Limit not above 0.",
        f"{_LIMITS}position_max",
    ),
    Control(
        RiskCode.STOP_LOSS,
        "An order in an instrument in which a strategy's position has lost, unrealised, more of its average cost than the limit, unless "
        "it only reduces its own strategy's position. When that begins, working orders in the instrument are canceled, and with "
        '`stop_loss_action = "close"` its strategies\' stages close their positions. It lasts until somebody arms it; a loss that was '
        "there then is forgiven.",
        "Limit not above 0. A position without a mark is refused by DAILY_LOSS. What is too small for the venue's minimum has no stop.",
        f"{_LIMITS}stop_loss_bp, stop_loss_action",
    ),
    Control(
        RiskCode.REDUCE_ONLY_MODE,
        "The same where `hftctl risk reduce` has made an instrument reduce-only, ledger and venue differ, or a stop-loss stood at the start.",
        "",
        "",
    ),
    Control(
        RiskCode.MAX_GROSS,
        "Sum over instruments of the worst |position| that working orders can lead to, at mid, in the base currency, "
        "above the limit, by an order that adds to it.",
        "No mark or no rate for any exposed instrument; out of range; limit not above 0.",
        "firm.gross_max, firm.rates",
    ),
    Control(
        RiskCode.MAX_NET,
        "Sum over instruments of the signed position after all that works on the order's side, at mid, in the base currency, above "
        "the limit in the order's direction. What reduces a net position beyond its limit is possible.",
        "What cannot be valued is refused by MAX_GROSS.",
        "firm.net_max, firm.rates",
    ),
    Control(
        RiskCode.CONCENTRATION,
        "Gross exposure of one base asset over all venues above its share of firm.gross_max, by an order that adds to it.",
        "What cannot be valued is refused by MAX_GROSS.",
        "firm.concentration_max_percent",
    ),
    Control(
        RiskCode.DAILY_LOSS,
        "Realised + unrealised - quote fees, in the base currency, below the session's start by more than the limit. "
        "Base fees are in the position; fees in other assets are not counted.",
        "A position without a mark, P&L without a rate; limit not above 0.",
        "firm.daily_loss_max, firm.rates",
    ),
    Control(
        RiskCode.BALANCE,
        "A buy whose price x size and taker fee, or a sell whose size, is more than what is free of the asset at its venue: what the account had "
        "when the session began, and what fills have moved since, less what all working orders may take, unknown and canceling ones included; what a "
        "replacement is for gives back what it has taken. Where orders are filled on paper there is no account, and nothing is asked; `hftctl risk show` says so.",
        "The venue has not said what the account has; out of range.",
        "",
    ),
    Control(
        RiskCode.RING_BACKPRESSURE,
        "An approved intent that the ring to execution has no room for; the last slots are kept for cancels.",
        "",
        "",
    ),
)
