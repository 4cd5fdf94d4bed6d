"""Control rules says which rule asks for each control of the catalogue, and what becomes of those that are not in `hft.controls`.

RTS 6 are articles of Commission Delegated Regulation (EU) 2017/589, 15c3-5 paragraphs of 17 CFR 240.15c3-5, FIA themes of its guides to
controls for automated trading.
"""

from __future__ import annotations

from typing import NamedTuple


class Rule(NamedTuple):
    """Where a control is asked for; "" where it is not."""

    rts_6: str
    sec_15c3_5: str
    fia: str


#: By the control's number in the catalogue.
RULES: dict[str, Rule] = {
    "R001": Rule("12", "(c)(1)", "kill switch"),
    "R002": Rule("14", "", ""),
    "R003": Rule("17(3)", "", "post-trade"),
    "R004": Rule("12, 14", "(c)(1)(i)", ""),
    "R005": Rule("5(4)(c)", "(c)(2)(i)", ""),
    "R010": Rule("15(1)(c)", "(c)(1)(ii)", "maximum order size"),
    "R011": Rule("15(1)(b)", "(c)(1)(ii)", "maximum order size"),
    "R012": Rule("15", "(c)(2)(i)", ""),
    "R013": Rule("15", "(c)(2)(i)", ""),
    "R014": Rule("15", "(c)(1)(ii)", ""),
    "R020": Rule("15(1)(a)", "(c)(1)(ii)", "price tolerance"),
    "R021": Rule("15(1)(a)", "(c)(1)(ii)", "price tolerance"),
    "R022": Rule("15(1)(a)", "(c)(1)(ii)", ""),
    "R023": Rule("15", "(c)(1)(ii)", ""),
    "R030": Rule("16", "", "market-data reasonability"),
    "R031": Rule("16", "", "market-data reasonability"),
    "R032": Rule("15(1)(a)", "", "market-data reasonability"),
    "R033": Rule("16", "", ""),
    "R034": Rule("15", "", ""),
    "R035": Rule("16", "", "market-data reasonability"),
    "R040": Rule("15(2)", "(c)(1)(i)", "intraday position"),
    "R041": Rule("15(2), 17(2)", "(c)(1)(i)", "credit"),
    "R042": Rule("15(2), 17(2)", "(c)(1)(i)", "credit"),
    "R043": Rule("17", "(c)(1)(i)", ""),
    "R044": Rule("15", "(c)(1)(i)", ""),
    "R045": Rule("15(1)(d)", "", ""),
    "R046": Rule("15(2)", "(c)(1)(ii)", ""),
    "R050": Rule("15(1)(d)", "(c)(1)(ii)", "message throttle"),
    "R051": Rule("15(1)(d)", "", "message throttle"),
    "R052": Rule("15(1)(d)", "", "order-to-trade ratio"),
    "R053": Rule("15(3)", "(c)(1)(ii)", "repeated automated execution"),
    "R054": Rule("15(3)", "(c)(1)(ii)", ""),
    "R060": Rule("15", "(c)(1)(ii)", "duplicative orders"),
    "R061": Rule("15", "(c)(1)(ii)", ""),
    "R062": Rule("13", "(c)(2)", "self-match prevention"),
    "R063": Rule("15(3)", "", ""),
    "R070": Rule("17(1)", "(c)(1)(i)", ""),
    "R071": Rule("17(1)", "(c)(1)(i)", ""),
    "R072": Rule("17", "(c)(1)(i)", ""),
    "R073": Rule("16", "", ""),
    "R074": Rule("15", "", "volatility mechanisms"),
    "R075": Rule("17", "", ""),
    "R076": Rule("17(1)", "(c)(1)(i)", ""),
    "R080": Rule("5(2), 8", "(c)(2)(ii), (iii)", "change management"),
    "R081": Rule("5(2), 8", "(c)(2)(ii), (iii)", "change management"),
    "R082": Rule("5(2), 8", "(c)(2)(ii), (iii)", "change management"),
    "R083": Rule("5(2), 8", "(c)(2)(ii), (iii)", "change management"),
    "R084": Rule("8, 11", "", "change management"),
    "R085": Rule("7", "", ""),
    "R090": Rule("28", "(b)", ""),
    "R091": Rule("", "", ""),
    "R092": Rule("14(2)(g)", "", "cancel on disconnect"),
    "R093": Rule("17(3)", "(c)(2)(iv)", "drop copy"),
    "R095": Rule("", "", ""),
}

#: (number, name, what there is instead, or why there is nothing): what of the catalogue is not a check of risk's own.
ELSEWHERE: tuple[tuple[str, str, str], ...] = (
    ("R002", "NOT_LEADER", "One engine an instance and one epoch at a time: a lock file at start, and a new epoch has rings of its own."),
    (
        "R003",
        "NOT_RECONCILED",
        "Execution: an order before the venue is reconciled is NOT_SENT with NOT_RECONCILED; where it differs from the ledger, REDUCE_ONLY_MODE.",
    ),
    ("R022", "MARKET_ORDER_SLIPPAGE", "Does not apply: there are no market orders, and a limit price is collared by PRICE_COLLAR_TOUCH."),
    ("R023", "MARKET_ORDER_FORBIDDEN", "By construction: an intent has a limit price, and one that is not positive is NON_FINITE_OR_SIGN."),
    ("R051", "MSG_RATE", "ORDER_RATE counts new and replacing orders; cancels are not blocked, and the last ring slots are theirs."),
    ("R054", "RUNAWAY", "By construction: execution can send what risk's ring holds, and `hftctl replay` compares both, record by record."),
    ("R081", "VENUE_NOT_ALLOWED", "An instrument names its venue, so that INSTRUMENT_NOT_ALLOWED covers it."),
    (
        "R082",
        "ORDER_TYPE_NOT_ALLOWED",
        "Limit orders are all there are; a time in force or flag that does not exist is NON_FINITE_OR_SIGN.",
    ),
    (
        "R084",
        "BUILD_MISMATCH",
        "The supervisor: every process says which sources it has loaded, and nothing trades until all are the supervisor's.",
    ),
    (
        "R085",
        "PAPER_LIVE_CROSS",
        'The config: `mode = "paper"` sends orders to this machine only, `mode = "live"` refuses simulators and paper fills.',
    ),
    ("R090", "AUDIT_UNAVAILABLE", "A stage whose journal cannot be written stops, and what it would have decided is not sent."),
    (
        "R092",
        "DEADMAN_UNARMED",
        "Kraken's timer must be set in the config, and is armed before orders are sent; at all venues the guardian cancels when the engine is gone.",
    ),
    (
        "R093",
        "DROP_COPY_MISMATCH",
        "Execution compares the private stream with the venue's own orders, fills and balances after every connection; see NOT_RECONCILED.",
    ),
)
