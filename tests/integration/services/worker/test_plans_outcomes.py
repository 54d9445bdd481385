"""What follows the orders of an instruction."""

from decimal import Decimal

from libs.common.domain.alert import Action
from libs.common.domain.errors import BrokerThrottled
from libs.common.domain.ids import ClientOrderId
from libs.common.domain.lifecycle import OrderState
from libs.common.domain.order import OrderReport, OrderType
from libs.common.policy.symbols import SymbolEntry
from libs.common.runtime.account_settings import OnUnknown
from tests.integration.services.worker.plans import BTC
from tests.integration.services.worker.rig import DESK, Worker, WorkerRig
from tests.support.scripted_broker import HOLDS_NOTHING, ScriptedBroker, fails, knows_nothing, lost, reports


async def test_a_429_pauses_every_lane_of_the_account(rig: WorkerRig, worker: Worker, broker: ScriptedBroker):
    broker.then(fails(BrokerThrottled("slow down", retry_after_ms=7_000)))
    first, other = await rig.admit("BTC"), await rig.admit("ETH")
    await worker.run_lane()
    await worker.run_lane()
    assert len(broker.requests) == 1
    assert rig.parked() == {"desk:BTC": 7_000, "desk:ETH": 7_000}
    assert await rig.pass_time(7_000) == 2
    await worker.run_lane()
    await worker.run_lane()
    assert {rig.ended(one) for one in (first, other)} == {("EXECUTED", "filled")}
    assert worker.count("bascule_waits_total", reason="throttled") == 2


async def test_an_account_that_would_rather_skip_goes_on_behind_an_order_that_nobody_can_tell(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    broker.capabilities = HOLDS_NOTHING
    rig.accounts[DESK] = rig.account(on_unknown=OnUnknown.SKIP)
    broker.then(lost())
    broker.always_find(knows_nothing)
    alert, behind = await rig.admit(max_age_ms=10_000), await rig.admit(max_age_ms=600_000)
    await rig.run_to_rest()
    assert rig.ended(alert) == ("DEAD", "outcome_unknown")
    assert rig.order_state(alert) == ("UNKNOWN", 1)
    assert rig.ended(behind) == ("EXECUTED", "filled")


async def test_a_market_order_that_is_only_taken_is_waited_for_a_moment(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    broker.then(reports(OrderState.ACCEPTED))

    def fills_later(venue: ScriptedBroker, order_id: ClientOrderId) -> OrderReport:
        return OrderReport(order_id="1", state=OrderState.FILLED, filled_quantity=Decimal(1))

    broker.then_find(lambda venue, order_id: venue.known[order_id], fills_later)
    alert = await rig.admit()
    await worker.run_lane()
    assert rig.ended(alert) == ("EXECUTED", "filled")
    assert not rig.redis.exists(rig.keys.following)


async def test_a_limit_order_ends_its_instruction_as_soon_as_it_rests(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    broker.then(reports(OrderState.ACCEPTED))
    alert = await rig.admit(order_type=OrderType.LIMIT, limit_price=Decimal(10))
    await worker.run_lane()
    assert rig.slept_ms == []
    assert rig.ended(alert) == ("EXECUTED", "accepted")
    assert rig.redis.zscore(rig.keys.following, rig.order_id(alert))


async def test_the_journal_says_what_led_to_an_order_and_what_the_venue_answered(
    rig: WorkerRig,
):
    rig.symbols.append(SymbolEntry("BTCUSDT.P", BTC))
    alert = await rig.admit(quantity="0.25", symbol="BTCUSDT.P", price=Decimal(100))
    await rig.worker("reads the table").run_lane()
    entries = dict(rig.redis.xrange(rig.keys.journal))
    ids = rig.instruction(alert)["journal"].split()
    notes = {entries[one]["event"]: entries[one].get("note", "") for one in ids}
    assert '"BTCUSDT.P\\" is BTC"' in notes["SENDING"]
    assert '"quantity":"0.25"' in notes["SENDING"]
    assert '"order_id":"venue-1"' in notes["EXECUTED"]


async def test_fills_are_noted_where_positions_are_compared(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    rig.accounts[DESK] = rig.account(is_reconciled=True)
    broker.positions[BTC] = Decimal("0.7")
    await rig.admit(action=Action.CLOSE_ALL, quantity=None)
    await worker.run_lane()
    [(_, fields)] = rig.redis.xrange(rig.keys.fills(DESK))
    assert fields["quantity"] == "-0.7"
