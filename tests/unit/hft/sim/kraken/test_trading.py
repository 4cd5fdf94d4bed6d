"""Kraken's trading methods, and what executions and balances say of them."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from hft.sim.exchange.view import Audit
from support.krakensim import SECOND_NS, KrakenDriver


class Desk:
    """A driver with a private session that follows executions and balances of alice."""

    def __init__(self, **settings):
        self.driver = KrakenDriver(**settings)
        self.session = self.driver.open()
        self.token = self.driver.token()
        self.driver.subscribe(self.session, "executions", token=self.token)
        self.driver.subscribe(self.session, "balances", token=self.token)
        self.bid, self.ask = self.driver.best()
        self.audit = Audit(self.driver.venue._exchange)

    def call(self, method, **params):
        return self.driver.trade(self.session, method, self.token, **params)

    def add(self, price, qty="0.01", **params):
        fields = {"order_type": "limit", "side": "buy", "symbol": "BTC/USD", "order_qty": Decimal(qty), "limit_price": Decimal(price)}
        (reply,) = self.call("add_order", **{**fields, **params})
        return reply

    def rest(self, **params):
        """Place an order that rests far below the market; return its id."""
        return self.add(self.bid - 500, **params)["result"]["order_id"]

    def executions(self, order_id=None):
        rows = [
            row for message in self.driver.messages(self.session, "executions") if message["type"] == "update" for row in message["data"]
        ]
        return [row for row in rows if order_id in (None, row["order_id"])]

    def steps(self, order_id):
        return [(row["exec_type"], row["order_status"]) for row in self.executions(order_id)]

    def later(self, seconds):
        at = datetime.fromtimestamp(self.driver.utc_ns / 1e9 + seconds, UTC)
        return at.isoformat().replace("+00:00", "Z")


@pytest.fixture
def desk():
    made = Desk()
    yield made
    made.driver.venue.work(made.driver.now_ns, 0)
    made.audit.check()


def test_an_order_that_rests_is_validated_then_live(desk):
    reply = desk.add(desk.bid - 500, cl_ord_id="my-order")
    assert reply["success"] and reply["result"]["cl_ord_id"] == "my-order" and reply["req_id"] == 8
    order_id = reply["result"]["order_id"]
    assert desk.steps(order_id) == [("pending_new", "pending_new"), ("new", "new")]
    details, short = desk.executions(order_id)
    assert details["symbol"] == "BTC/USD" and details["limit_price"] == desk.bid - 500 and details["order_qty"] == Decimal("0.01")
    assert details["time_in_force"] == "GTC" and details["cl_ord_id"] == "my-order" and "order_userref" not in details
    assert set(short) == {"timestamp", "order_status", "exec_type", "cl_ord_id", "order_id"}


def test_an_order_without_references_is_said_to_have_user_reference_zero(desk):
    order_id = desk.rest()
    assert all(row["order_userref"] == 0 for row in desk.executions(order_id))


def test_the_trade_that_completes_an_order_says_partially_filled_and_filled_comes_after(desk):
    order_id = desk.add(desk.ask + 50, qty="0.05")["result"]["order_id"]
    steps = desk.steps(order_id)
    trades = [step for step in steps if step[0] == "trade"]
    assert steps == [("pending_new", "pending_new"), ("new", "new"), *trades, ("filled", "filled")]
    assert trades and all(status == "partially_filled" for _, status in trades)
    rows = [row for row in desk.executions(order_id) if row["exec_type"] == "trade"]
    assert sum(row["last_qty"] for row in rows) == rows[-1]["cum_qty"] == Decimal("0.05")
    assert sum(row["cost"] for row in rows) == rows[-1]["cum_cost"]
    assert all(row["liquidity_ind"] == "t" and row["fees"] == [{"asset": "USD", "qty": row["fee_usd_equiv"]}] for row in rows)
    assert len({row["exec_id"] for row in rows}) == len(rows)
    final = desk.executions(order_id)[-1]
    assert final["cum_qty"] == Decimal("0.05") and final["avg_price"] >= desk.ask and "reason" not in final


def test_every_fill_moves_two_balances_each_by_its_own_entry(desk):
    desk.add(desk.ask + 50, qty="0.05")
    messages = desk.driver.messages(desk.session, "balances")
    assert [message["sequence"] for message in messages] == list(range(1, len(messages) + 1))
    balances = {row["asset"]: row["balance"] for row in messages[0]["data"]}
    fills = {row["exec_id"] for row in desk.executions() if row["exec_type"] == "trade"}
    for message in messages[1:]:
        (row,) = message["data"]
        balances[row["asset"]] += row["amount"] - row["fee"]
        assert row["balance"] == balances[row["asset"]] and row["ref_id"] in fills and row["type"] == "trade"
    assert len(messages) - 1 == 2 * len(fills)
    rest = desk.driver.private("Balance")["result"]
    assert Decimal(rest["XXBT"]) == balances["BTC"] and Decimal(rest["ZUSD"]) == balances["USD"]


def test_executions_are_numbered_without_gaps(desk):
    desk.rest()
    desk.call("cancel_all")
    messages = desk.driver.messages(desk.session, "executions")
    assert [message["sequence"] for message in messages] == list(range(1, len(messages) + 1)) and len(messages) == 4


def test_a_cancellation_has_one_reply_for_each_order(desk):
    first, second = desk.rest(), desk.rest(cl_ord_id="second")
    replies = desk.call("cancel_order", order_id=[first, "OAAAAA-AAAAA-AAAAAA", second])
    assert [reply["success"] for reply in replies] == [True, False, True]
    assert replies[0]["result"] == {"order_id": first} and replies[1]["error"] == "EOrder:Unknown order"
    assert desk.steps(second)[-1] == ("canceled", "canceled")
    row = desk.executions(second)[-1]
    assert row["reason"] == row["cancel_reason"] == "User requested" and row["cum_qty"] == 0


def test_orders_are_cancelled_by_client_id_and_by_user_reference(desk):
    named = desk.rest(cl_ord_id="6d1b345e-2821-40e2-ad83-4ecb18a06876")
    (reply,) = desk.call("cancel_order", cl_ord_id=["6d1b345e-2821-40e2-ad83-4ecb18a06876"])
    assert reply["result"] == {"cl_ord_id": "6d1b345e-2821-40e2-ad83-4ecb18a06876", "order_id": named}
    pair = {desk.rest(order_userref=5), desk.rest(order_userref=5)}
    replies = desk.call("cancel_order", order_userref=[5, 6])
    assert {reply["result"]["order_id"] for reply in replies[:2]} == pair and replies[2]["error"] == "EOrder:Unknown order"


def test_a_filled_order_cannot_be_cancelled(desk):
    order_id = desk.add(desk.ask + 50)["result"]["order_id"]
    assert desk.call("cancel_order", order_id=[order_id])[0]["error"] == "EOrder:Unknown order"


def test_a_client_id_is_unique_among_open_orders_and_free_afterwards(desk):
    order_id = desk.rest(cl_ord_id="again")
    assert desk.add(desk.bid - 500, cl_ord_id="again")["error"] == "EOrder:Duplicate cl_ord_id"
    desk.call("cancel_order", order_id=[order_id])
    assert desk.add(desk.bid - 500, cl_ord_id="again")["success"]


@pytest.mark.parametrize(
    ("params", "error"),
    [
        ({"limit_price": Decimal("100.05")}, "EOrder:Invalid price:BTC/USD price can only be specified up to 1 decimals."),
        ({"limit_price": None}, "EGeneral:Invalid arguments:price"),
        ({"limit_price": -1}, "EGeneral:Invalid arguments:price"),
        ({"order_qty": Decimal("0.00004")}, "EGeneral:Invalid arguments:volume minimum not met"),
        ({"order_qty": Decimal("0.0001"), "limit_price": 10}, "EOrder:Cost minimum not met"),
        ({"order_qty": Decimal("0.000000001")}, "EGeneral:Invalid arguments:volume"),
        ({"order_qty": 0}, "EGeneral:Invalid arguments:volume"),
        ({"order_qty": 10**13}, "EOrder:Insufficient funds"),
        ({"order_qty": None}, "EGeneral:Invalid arguments:volume"),
        ({"cash_order_qty": 100}, "EGeneral:Invalid arguments:volume"),
        ({"symbol": "BTC/EUR"}, "EQuery:Unknown asset pair"),
        ({"side": "hold"}, "EGeneral:Invalid arguments:side"),
        ({"order_type": "stop-loss"}, "EGeneral:Invalid arguments:ordertype"),
        ({"time_in_force": "day"}, "EGeneral:Invalid arguments:time_in_force"),
        ({"time_in_force": "gtd"}, "EGeneral:Invalid arguments:expire_time"),
        ({"expire_time": "2027-01-16T08:00:00Z"}, "EGeneral:Invalid arguments:expire_time"),
        ({"stp_type": "decrement"}, "EGeneral:Invalid arguments:stp_type"),
        ({"reduce_only": True}, "EGeneral:Invalid arguments:reduce_only"),
        ({"margin": True}, "EGeneral:Invalid arguments:margin"),
        ({"cl_ord_id": "x" * 19}, "EGeneral:Invalid arguments:cl_ord_id"),
        ({"cl_ord_id": "a", "order_userref": 1}, "EGeneral:Invalid arguments:cl_ord_id"),
        ({"order_userref": -1}, "EGeneral:Invalid arguments:userref"),
        ({"post_only": True, "time_in_force": "ioc"}, "EGeneral:Invalid arguments:post only"),
        ({"display_qty": 1}, "EGeneral:Invalid arguments:display_qty"),
        ({"deadline": "soon"}, "EGeneral:Invalid arguments:deadline"),
    ],
)
def test_an_order_that_may_not_be_is_refused_in_the_venues_words_and_leaves_no_trace(desk, params, error):
    fields = {"order_type": "limit", "side": "buy", "symbol": "BTC/USD", "order_qty": Decimal("0.01"), "limit_price": 50_000, **params}
    (reply,) = desk.call("add_order", **fields)
    assert reply["error"] == error and reply["success"] is False
    assert desk.executions() == []


def test_post_only_is_refused_where_it_would_take_and_rests_where_it_would_not(desk):
    assert desk.add(desk.ask, post_only=True)["error"] == "EOrder:Post only order"
    order_id = desk.add(desk.bid - 10, post_only=True)["result"]["order_id"]
    assert all(row["post_only"] is True for row in desk.executions(order_id))


def test_a_deadline_is_kept_on_arrival(desk):
    assert desk.add(desk.bid - 500, deadline=desk.later(-0.001))["error"] == "EService:Deadline elapsed"
    assert desk.add(desk.bid - 500, deadline=desk.later(61))["error"] == "EGeneral:Invalid arguments:deadline"
    assert desk.add(desk.bid - 500, deadline=desk.later(5))["success"]


def test_validation_only_places_nothing(desk):
    reply = desk.add(desk.ask + 50, validate=True, cl_ord_id="try")
    assert reply["success"] and reply["result"] == {"cl_ord_id": "try"} and desk.executions() == []
    assert desk.add(Decimal("0.05"), validate=True)["success"] is False


@pytest.mark.parametrize(("tif", "reason"), [("ioc", "Immediate or cancel"), ("fok", "Fill or kill")])
def test_what_may_not_wait_is_cancelled_with_its_reason(desk, tif, reason):
    order_id = desk.add(desk.bid - 500, time_in_force=tif)["result"]["order_id"]
    assert desk.steps(order_id) == [("pending_new", "pending_new"), ("new", "new"), ("canceled", "canceled")]
    assert desk.executions(order_id)[-1]["reason"] == reason


def test_a_market_order_in_quote_buys_for_its_money(desk):
    (reply,) = desk.call("add_order", order_type="market", side="buy", symbol="BTC/USD", cash_order_qty=1000)
    rows = desk.executions(reply["result"]["order_id"])
    assert rows[0]["cash_order_qty"] == 1000 and "order_qty" not in rows[0] and "limit_price" not in rows[0]
    assert rows[-1]["exec_type"] == "filled" and 990 < rows[-1]["cum_cost"] + rows[-1]["fee_usd_equiv"] <= 1000


def test_an_order_until_a_date_expires_then(desk):
    order_id = desk.rest(time_in_force="gtd", expire_time=desk.later(30))
    desk.driver.run(29)
    assert desk.steps(order_id)[-1] == ("new", "new")
    desk.driver.run(2)
    assert desk.steps(order_id)[-1] == ("expired", "expired")


def test_amending_keeps_the_order_and_says_what_it_is_now(desk):
    order_id = desk.rest(cl_ord_id="mine")
    (reply,) = desk.call("amend_order", cl_ord_id="mine", order_qty=Decimal("0.005"), limit_price=desk.bid - 400)
    assert reply["success"] and reply["result"]["cl_ord_id"] == "mine" and reply["result"]["amend_id"].startswith("T")
    row = desk.executions(order_id)[-1]
    assert row["exec_type"] == "amended" and row["order_status"] == "new" and row["amended"] is True
    assert row["order_qty"] == Decimal("0.005") and row["limit_price"] == desk.bid - 400


def test_amending_across_the_book_trades_and_post_only_forbids_it(desk):
    order_id = desk.rest()
    assert desk.call("amend_order", order_id=order_id, limit_price=desk.ask, post_only=True)[0]["error"] == "EOrder:Post only order"
    assert desk.call("amend_order", order_id=order_id, limit_price=desk.ask + 50)[0]["success"]
    assert [step[0] for step in desk.steps(order_id)][2:4] == ["amended", "trade"]


@pytest.mark.parametrize("params", [{}, {"order_id": "x", "cl_ord_id": "y"}, {"order_id": "OAAAAA-AAAAA-AAAAAA"}])
def test_an_amendment_of_nothing_is_refused(desk, params):
    assert desk.call("amend_order", order_qty=1, **params)[0]["success"] is False


def test_the_dead_mans_switch_cancels_everything_unless_it_is_called_again(desk):
    order_id = desk.rest()
    (reply,) = desk.call("cancel_all_orders_after", timeout=10)
    assert reply["result"]["currentTime"] < reply["result"]["triggerTime"]
    desk.driver.run(8)
    desk.call("cancel_all_orders_after", timeout=10)
    desk.driver.run(8)
    assert desk.steps(order_id)[-1] == ("new", "new")
    desk.driver.run(3)
    assert desk.steps(order_id)[-1] == ("canceled", "canceled")
    assert desk.call("cancel_all_orders_after", timeout=0)[0]["result"]["triggerTime"] == "0"
    other = desk.rest()
    desk.driver.run(30)
    assert desk.steps(other)[-1] == ("new", "new")


@pytest.mark.parametrize("timeout", [-1, 86_401, 1.5, "10", None, True])
def test_the_switch_takes_whole_seconds_of_a_day(desk, timeout):
    assert desk.call("cancel_all_orders_after", timeout=timeout)[0]["error"] == "EGeneral:Invalid arguments:timeout"


def test_a_batch_is_checked_as_a_whole_and_then_placed_one_by_one(desk):
    good = {"order_type": "limit", "side": "buy", "order_qty": Decimal("0.01"), "limit_price": desk.bid - 500}
    (reply,) = desk.call("batch_add", symbol="BTC/USD", orders=[good, {**good, "side": "nowhere"}])
    assert reply["error"] == "EGeneral:Invalid arguments:side" and desk.executions() == []
    poor = {**good, "order_qty": 10**9, "cl_ord_id": "poor"}
    (reply,) = desk.call("batch_add", symbol="BTC/USD", orders=[{**good, "order_userref": 4}, poor])
    placed, refused = reply["result"]
    assert placed["order_userref"] == 4 and placed["order_id"].startswith("O")
    assert refused == {"error": "EOrder:Insufficient funds", "success": False, "cl_ord_id": "poor"}


@pytest.mark.parametrize("count", [0, 1, 16])
def test_a_batch_has_two_to_fifteen_orders(desk, count):
    good = {"order_type": "limit", "side": "buy", "order_qty": Decimal("0.01"), "limit_price": desk.bid - 500}
    assert desk.call("batch_add", symbol="BTC/USD", orders=[good] * count)[0]["error"] == "EGeneral:Invalid arguments:orders"


def test_a_batch_of_cancellations_says_how_many(desk):
    ids = [desk.rest(), desk.rest()]
    desk.rest(cl_ord_id="third")
    (reply,) = desk.call("batch_cancel", orders=[*ids, "OAAAAA-AAAAA-AAAAAA"], cl_ord_id=["third"])
    assert reply["success"] and reply["orders_cancelled"] == 3
    assert desk.call("batch_cancel", orders=ids)[0]["error"] == "EOrder:Unknown order"


@pytest.mark.parametrize(("mode", "taking_ends", "resting_ends"), [("newest", True, False), ("oldest", False, True), ("both", True, True)])
def test_an_account_does_not_trade_with_itself(desk, mode, taking_ends, resting_ends):
    resting = desk.add(desk.bid, post_only=True)["result"]["order_id"]
    (reply,) = desk.call(
        "add_order",
        order_type="limit",
        side="sell",
        symbol="BTC/USD",
        order_qty=90,
        limit_price=desk.bid,
        stp_type=f"cancel_{mode}",
    )
    ended = {row["order_id"]: row["reason"] for row in desk.executions() if row["exec_type"] == "canceled"}
    assert (reply["result"]["order_id"] in ended, resting in ended) == (taking_ends, resting_ends)
    assert set(ended.values()) == {"Self trade prevention"}
    assert not any(row["exec_type"] == "trade" for row in desk.executions(resting))


def test_accounts_trade_with_each_other_and_each_hears_only_of_itself(desk):
    bob = desk.driver.open()
    token = desk.driver.token("bob-trade")
    desk.driver.subscribe(bob, "executions", token=token)
    desk.driver.trade(bob, "add_order", token, order_type="limit", side="sell", symbol="BTC/USD", order_qty=1, limit_price=desk.ask + 20)
    order_id = desk.add(desk.ask + 20, qty="50")["result"]["order_id"]
    mine = [row for row in desk.executions(order_id) if row["exec_type"] == "trade"]
    his = [row for message in desk.driver.messages(bob, "executions") for row in message["data"] if row["exec_type"] == "trade"]
    assert his and {row["trade_id"] for row in his} <= {row["trade_id"] for row in mine}
    assert {row["exec_id"] for row in his}.isdisjoint(row["exec_id"] for row in mine)
    assert all(row["liquidity_ind"] == "m" and row["side"] == "sell" for row in his)
    assert all(row["order_id"] != order_id for message in desk.driver.messages(bob, "executions") for row in message["data"])
    entries = [row for message in desk.driver.messages(desk.session, "balances")[1:] for row in message["data"]]
    assert {row["ref_id"] for row in entries} == {row["exec_id"] for row in mine}


def test_a_new_subscriber_gets_the_open_orders_and_the_last_fills(desk):
    resting = desk.rest(cl_ord_id="open")
    filled = desk.add(desk.ask + 50)["result"]["order_id"]
    _, snapshot = desk.driver.subscribe(desk.driver.open(), "executions", snap_trades=True)
    assert snapshot["type"] == "snapshot" and snapshot["sequence"] == 1
    orders = [row for row in snapshot["data"] if row["exec_type"] == "new"]
    trades = [row for row in snapshot["data"] if row["exec_type"] == "trade"]
    assert [(row["order_id"], row["order_status"], row["cl_ord_id"]) for row in orders] == [(resting, "new", "open")]
    assert trades and all(row["order_id"] == filled and row["order_status"] == "filled" for row in trades)
    said = desk.driver.subscribe(desk.driver.open(), "executions", snap_orders=False)
    assert len(said) == 1


def test_without_order_status_only_openings_endings_and_trades_come(desk):
    other = desk.driver.open()
    desk.driver.subscribe(other, "executions", order_status=False, ratecounter=True)
    order_id = desk.rest()
    desk.call("amend_order", order_id=order_id, order_qty=Decimal("0.005"))
    desk.call("cancel_all")
    rows = [row for message in desk.driver.messages(other, "executions") if message["type"] == "update" for row in message["data"]]
    assert [row["exec_type"] for row in rows] == ["new", "canceled"]
    assert [row["ratecount"] for row in rows] == [Decimal("1.000"), Decimal("5.000")]


def test_the_rate_counter_locks_out_who_requotes_by_cancelling(desk):
    said = []
    for _ in range(40):
        reply = desk.add(desk.bid - 500)
        said.append(reply["success"])
        if reply["success"]:
            desk.call("cancel_order", order_id=[reply["result"]["order_id"]])
        desk.driver.now_ns += SECOND_NS
    assert 20 < said.index(False) < 40
    assert desk.add(desk.bid - 500)["error"] == "EOrder:Rate limit exceeded"


def test_the_rate_counter_sustains_who_requotes_by_amending(desk):
    order_id = desk.rest()
    for step in range(60):
        desk.driver.now_ns += SECOND_NS
        assert desk.call("amend_order", order_id=order_id, limit_price=desk.bid - 500 - step)[0]["success"]


@pytest.mark.parametrize(
    ("status", "error"),
    [
        ("cancel_only", "EService:Market in cancel_only mode"),
        ("post_only", "EService:Market in post_only mode"),
        ("halted", "EService:Unavailable"),
    ],
)
def test_the_market_may_be_in_another_mode(desk, status, error):
    desk.driver.fault(kind="instrument_status", status=status)
    assert desk.add(desk.bid - 500)["error"] == error


@pytest.mark.parametrize(
    ("key", "method", "fine"),
    [
        ("alice-cancel-only", "add_order", False),
        ("alice-cancel-only", "cancel_all", True),
        ("alice-cancel-only", "cancel_all_orders_after", True),
        ("alice-read-only", "cancel_all", False),
    ],
)
def test_keys_do_what_they_may(desk, key, method, fine):
    params = {"order_type": "limit", "side": "buy", "symbol": "BTC/USD", "order_qty": 1, "limit_price": 100, "timeout": 0}
    (reply,) = desk.driver.trade(desk.session, method, desk.driver.token(key), **params)
    assert reply["success"] is fine and (fine or reply["error"] == "EGeneral:Permission denied")


@pytest.mark.parametrize(
    ("status", "error"), [(429, "EOrder:Rate limit exceeded"), (503, "EService:Unavailable"), (418, "EGeneral:Temporary lockout")]
)
def test_a_request_refused_by_fault_is_not_carried_out(desk, status, error):
    desk.driver.fault(kind="refuse_order", action="place", status=status)
    assert desk.add(desk.bid - 500)["error"] == error and desk.executions() == []
    assert desk.add(desk.bid - 500)["success"]


def test_an_answer_may_be_lost_although_the_order_lives(desk):
    desk.driver.fault(kind="lose_ack", action="place")
    assert (
        desk.driver.trade(
            desk.session, "add_order", desk.token, order_type="limit", side="buy", symbol="BTC/USD", order_qty=1, limit_price=100
        )
        == []
    )
    assert [row["exec_type"] for row in desk.executions()] == ["pending_new", "new"]


def test_an_answer_may_say_that_it_failed_although_the_order_lives(desk):
    desk.driver.fault(kind="order_error", action="place")
    assert desk.add(desk.bid - 500)["error"] == "EGeneral:Internal error"
    assert [row["exec_type"] for row in desk.executions()] == ["pending_new", "new"]
