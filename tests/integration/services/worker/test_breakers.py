"""A breaker as lanes meet it: counted here, decided in `begin` for all workers."""

from libs.common.domain.errors import BrokerThrottled, OrderOutcomeUnknown
from libs.common.domain.order import OrderReport, OrderRequest
from tests.integration.services.worker.rig import LEASE_MS, Worker, WorkerRig, lose_answers
from tests.support.scripted_broker import (
    ScriptedBroker,
    Step,
    answer_lost,
    fails,
    fills,
    look_up_fails,
    refused,
    unavailable,
)

SCOPE = "desk:BTC"


def _state(rig: WorkerRig, scope: str = SCOPE) -> tuple[str, int]:
    """Return state and generation of a breaker, as all workers see it."""
    state, generation, *_ = (rig.redis.hget(rig.keys.breakers, scope) or "closed|0").split("|")
    return state, int(generation)


async def _trade(rig: WorkerRig, *steps: Step, market: str = "BTC") -> None:
    """Execute an alert for each step, as far as it gets with one call."""
    rig.broker.then(*steps)
    for _ in steps:
        await rig.admit(market)
        await rig.run_to_rest()


async def test_five_failures_in_a_row_open_it_and_the_lane_is_parked_until_the_reset(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    rig.jitter = 0.1
    broker.then(*[unavailable()] * 5)
    alert = await rig.admit()
    await worker.run_lane()
    assert len(broker.requests) == 5
    assert _state(rig) == ("open", 1)
    [(lane, due_ms)] = rig.parked().items()
    assert lane == SCOPE
    assert rig.breaker.reset_ms - 1_000 < due_ms <= rig.breaker.reset_ms
    assert rig.history(alert)[-1] == ("PARKED", "breaker_open")
    assert worker.count("bascule_waits_total", reason="breaker_open") == 1


async def test_the_lane_trades_after_the_reset_and_the_breaker_closes_on_its_success(
    rig: WorkerRig, broker: ScriptedBroker
):
    broker.then(*[unavailable()] * 5)
    alerts = [await rig.admit() for _ in range(3)]
    await rig.run_to_rest()
    assert broker.executed == [rig.order_id(alert) for alert in alerts]
    assert _state(rig) == ("closed", 2)


async def test_it_holds_for_other_workers_too_and_for_no_other_market(rig: WorkerRig, broker: ScriptedBroker):
    broker.then(*[unavailable()] * 5)
    await rig.admit()
    while _state(rig)[0] != "open":
        await rig.worker("a").run_lane()
        if rig.parked():
            await rig.until_due()
    sent = len(broker.requests)
    other = await rig.admit("ETH")
    for _ in range(2):
        await rig.worker("b").run_lane()
    assert len(broker.requests) == sent + 1
    assert rig.ended(other) == ("EXECUTED", "filled")
    assert set(rig.parked()) == {SCOPE}


async def test_one_probe_passes_and_a_failure_of_it_keeps_the_breaker_open(
    rig: WorkerRig, broker: ScriptedBroker
):
    rig.jitter = 0.0
    broker.then(*[unavailable()] * 6)
    alert = await rig.admit(max_age_ms=600_000)
    await rig.worker().run_lane()
    assert (_state(rig), len(broker.requests)) == (("open", 1), 5)
    await rig.until_due()
    await rig.worker("b").run_lane()
    assert len(broker.requests) == 6
    assert _state(rig) == ("open", 2)
    [due_ms] = rig.parked().values()
    assert due_ms == rig.breaker.reset_ms
    await rig.run_to_rest(rig.worker("c"))
    assert rig.ended(alert) == ("EXECUTED", "filled")
    assert _state(rig) == ("closed", 3)


async def test_a_probe_whose_worker_died_is_granted_again_after_its_time(
    rig: WorkerRig, broker: ScriptedBroker
):
    rig.jitter = 0.0
    broker.then(*[unavailable()] * 5)
    first = await rig.admit(max_age_ms=600_000)
    await rig.worker("a").run_lane()
    await rig.until_due()
    await rig.worker("a").die_while_placing(arrives=True)
    await rig.reclaim()
    second = await rig.admit(max_age_ms=600_000)
    await rig.worker("b").run_lane()
    # The first was found at the venue; the second waits for a probe of its own.
    assert rig.ended(first) == ("EXECUTED", "filled")
    assert rig.parked() == {SCOPE: LEASE_MS}
    await rig.run_to_rest(rig.worker("b"))
    assert broker.executed == [rig.order_id(first), rig.order_id(second)]
    assert _state(rig) == ("closed", 2)


async def test_unknown_outcomes_count_as_failures(rig: WorkerRig, broker: ScriptedBroker):
    await _trade(rig, *[answer_lost()] * 5)
    assert _state(rig) == ("open", 1)


async def test_a_venue_that_refuses_orders_works(rig: WorkerRig, broker: ScriptedBroker):
    await _trade(rig, *[refused()] * 12)
    assert _state(rig) == ("closed", 0)


async def test_refusals_neither_break_nor_count_in_a_row_of_failures(rig: WorkerRig, broker: ScriptedBroker):
    await _trade(rig, answer_lost(), answer_lost(), refused(), answer_lost(), refused(), answer_lost())
    assert _state(rig) == ("closed", 0)
    await _trade(rig, answer_lost())
    assert _state(rig) == ("open", 1)


async def test_a_throttled_call_counts_for_neither_side(rig: WorkerRig, broker: ScriptedBroker):
    throttled = fails(BrokerThrottled("429", retry_after_ms=1_000))
    broker.then(*[throttled] * 12, fills)
    await rig.admit()
    await rig.run_to_rest()
    assert _state(rig) == ("closed", 0)
    await _trade(rig, *[answer_lost()] * 4)
    broker.then(throttled)
    await _trade(rig, answer_lost())
    # The throttled call of the last alert did not break the row; its second one did not either.
    assert _state(rig)[0] == "open"


async def test_a_refused_probe_closes_it_since_the_venue_answers(rig: WorkerRig, broker: ScriptedBroker):
    await _trade(rig, *[answer_lost()] * 5, refused())
    assert _state(rig) == ("closed", 2)


async def test_an_order_that_our_own_lease_kept_back_is_no_failure_of_the_venue(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    async def stall() -> None:
        rig.clock.advance(LEASE_MS)

    broker.before_sending = stall
    await rig.admit()
    for _ in range(8):
        await worker.run_lane()
        await rig.until_due()
    assert len(broker.unsent) == 8
    assert _state(rig) == ("closed", 0)


async def test_one_success_breaks_the_row(rig: WorkerRig, broker: ScriptedBroker):
    await _trade(rig, *[answer_lost()] * 4, fills, *[answer_lost()] * 4)
    assert _state(rig) == ("closed", 0)


async def test_seven_failures_of_ten_open_it_though_never_five_in_a_row(
    rig: WorkerRig, broker: ScriptedBroker
):
    await _trade(rig, answer_lost(), answer_lost(), fills, answer_lost(), answer_lost(), fills)
    await _trade(rig, answer_lost(), answer_lost(), fills)
    assert _state(rig) == ("closed", 0)
    await _trade(rig, answer_lost())
    assert _state(rig) == ("open", 1)


async def test_a_lost_answer_to_its_own_begin_charges_no_second_probe(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    await _trade(rig, *[answer_lost()] * 5)
    alert = await rig.admit()
    await worker.run_lane()
    await rig.until_due()
    lose_answers(worker.orders.begin, 1)
    await worker.run_lane()
    assert rig.order_state(alert) == ("FILLED", 1)
    assert _state(rig) == ("closed", 2)


async def test_answers_missed_by_a_worker_that_stood_still_say_nothing_about_the_venue(
    rig: WorkerRig, broker: ScriptedBroker
):
    async def stands_still(venue: ScriptedBroker, request: OrderRequest) -> OrderReport:
        rig.clock.advance(3 * LEASE_MS)
        raise OrderOutcomeUnknown("no answer in time")

    broker.always_find(look_up_fails)  # no answer in between that would start the row afresh
    for number in range(8):
        broker.then(stands_still)
        await rig.admit(f"M{number}", max_age_ms=600_000)
        await rig.worker().run_lane()
    assert not rig.redis.exists(rig.keys.breakers)
