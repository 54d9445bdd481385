"""What becomes of one instruction, by what the venue makes of its order."""

from collections.abc import Callable
from decimal import Decimal

import pytest

from libs.common.domain.errors import BrokerThrottled
from libs.common.domain.ids import AccountName, ClientOrderId, LaneName
from libs.common.domain.instruction import SCHEMA_VERSION
from libs.common.domain.lifecycle import OrderState
from libs.common.domain.order import OrderReport
from libs.common.wire import codec
from services.worker.attempts import THROTTLED_MS
from services.worker.executor import FOR_OTHERS_MS, HELD_MS
from tests.integration.services.worker.rig import (
    DESK,
    LEASE_MS,
    MARGIN_MS,
    POISON_LIMIT,
    WINDOW_MS,
    Worker,
    WorkerRig,
    lose_answers,
)
from tests.support.scripted_broker import (
    ScriptedBroker,
    answer_lost,
    fails,
    knows_nothing,
    look_up_fails,
    lost,
    refused,
    reports,
    unavailable,
)

# Certain ends.


async def test_an_order_that_the_venue_fills_ends_executed(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    alert = await rig.admit(quantity="0.25")
    await worker.run_lane()
    [request] = broker.requests
    assert (request.client_order_id, request.plan.quantity) == (rig.order_id(alert), Decimal("0.25"))
    assert request.expires_at_ms == rig.clock.now_ms() + WINDOW_MS
    assert rig.ended(alert) == ("EXECUTED", "filled")
    assert rig.order_state(alert) == ("FILLED", 1)
    assert worker.count("bascule_instructions_ended_total", state="EXECUTED", reason="filled") == 1
    assert rig.is_at_rest()


@pytest.mark.parametrize(
    ("state", "end"),
    [
        (OrderState.ACCEPTED, ("EXECUTED", "accepted")),
        (OrderState.PARTIAL, ("EXECUTED", "accepted")),
        (OrderState.CANCELED, ("REJECTED", "venue_rejected")),
        (OrderState.EXPIRED, ("REJECTED", "venue_rejected")),
    ],
)
async def test_an_instruction_ends_by_the_state_that_the_venue_reports(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker, state: OrderState, end: tuple[str, str]
):
    broker.then(reports(state))
    alert = await rig.admit()
    await worker.run_lane()
    assert rig.ended(alert) == end
    assert rig.order_state(alert) == (state, 1)


@pytest.mark.parametrize("state", [OrderState.CANCELED, OrderState.EXPIRED])
async def test_an_order_of_which_a_part_was_filled_before_it_ended_is_executed_and_leaves_nothing_to_replay(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker, state: OrderState
):
    broker.then(reports(state, filled=Decimal("0.5")))
    alert = await rig.admit()
    await worker.run_lane()
    assert rig.ended(alert) == ("EXECUTED", "partly_filled")
    assert rig.letters() == []


async def test_a_refusal_of_the_first_attempt_is_believed_and_leaves_a_dead_letter_with_the_venues_words(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    broker.then(refused("no_margin", "buy more first"))
    alert = await rig.admit()
    await worker.run_lane()
    assert rig.ended(alert) == ("REJECTED", "venue_rejected")
    assert rig.order_state(alert) == ("REJECTED", 1)
    assert "buy more first" in rig.letters()[0]["detail"]
    assert broker.looked_up == []


async def test_a_refusal_for_want_of_a_price_says_so(rig: WorkerRig, worker: Worker, broker: ScriptedBroker):
    broker.then(refused("no_price"))
    alert = await rig.admit()
    await worker.run_lane()
    assert rig.ended(alert) == ("REJECTED", "no_price")


# Certainly not executed.


async def test_an_order_that_was_not_taken_is_sent_again_in_place_under_the_same_id(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    broker.then(unavailable())
    alert = await rig.admit()
    await worker.run_lane()
    assert [one.client_order_id for one in broker.requests] == [rig.order_id(alert)] * 2
    assert rig.slept_ms == [100]
    assert rig.order_state(alert) == ("FILLED", 2)
    assert [event for event, _ in rig.history(alert)] == [
        "QUEUED",
        "SENDING",
        "NOT_EXECUTED",
        "SENDING",
        "EXECUTED",
    ]
    assert broker.looked_up == []


async def test_a_longer_back_off_parks_the_lane_and_the_next_holder_goes_on_with_the_next_attempt(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    broker.then(unavailable(), unavailable(), unavailable())
    alert = await rig.admit()
    await worker.run_lane()
    assert rig.slept_ms == [100, 200]
    assert rig.parked() == {"desk:BTC": 400}
    assert rig.order_state(alert) == ("NOT_EXECUTED", 3)
    assert await rig.until_due() == 400
    await rig.worker("b").run_lane()
    assert rig.order_state(alert) == ("FILLED", 4)
    assert broker.executed == [rig.order_id(alert)]
    assert ("PARKED", "back_off") in rig.history(alert)


async def test_a_venue_that_never_takes_the_order_is_asked_until_the_alert_is_too_old(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    broker.then(*[unavailable()] * 40)
    alert = await rig.admit(max_age_ms=20_000)
    start_ms = rig.clock.now_ms()
    await rig.run_to_rest()
    assert rig.ended(alert) == ("EXPIRED", "too_old")
    assert rig.clock.now_ms() >= start_ms + 20_000
    assert broker.executed == []


async def test_a_throttled_order_is_not_sent_before_the_venue_wants_to_hear_from_us(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    broker.then(fails(BrokerThrottled("429", retry_after_ms=7_000)))
    alert = await rig.admit()
    await worker.run_lane()
    assert rig.parked() == {"desk:BTC": 7_000}
    await rig.until_due()
    await worker.run_lane()
    assert rig.order_state(alert) == ("FILLED", 2)


async def test_a_venue_that_throttles_for_longer_than_the_alert_lives_lets_it_expire_in_time(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    broker.then(fails(BrokerThrottled("429", retry_after_ms=3_600_000)))
    alert, behind = await rig.admit(max_age_ms=20_000), await rig.admit(max_age_ms=30_000)
    await worker.run_lane()
    assert await rig.until_due() == 20_000
    await worker.run_lane()
    assert rig.ended(alert) == ("EXPIRED", "too_old")
    assert await rig.until_due() == 10_000
    await worker.run_lane()
    assert rig.ended(behind) == ("EXPIRED", "too_old")
    assert len(broker.requests) == 1


async def test_a_venue_that_throttles_without_a_time_is_left_alone_for_a_second(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    broker.then(fails(BrokerThrottled("429", retry_after_ms=None)))
    await rig.admit()
    await worker.run_lane()
    assert rig.parked() == {"desk:BTC": THROTTLED_MS}


async def test_a_request_that_came_too_late_is_sent_again_while_the_alert_is_young(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    broker.then(refused("expired"))
    alert = await rig.admit()
    await worker.run_lane()
    assert rig.order_state(alert) == ("FILLED", 2)
    assert rig.ended(alert) == ("EXECUTED", "filled")


async def test_an_alert_that_is_too_old_expires_before_anything_is_sent(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    alert = await rig.admit(max_age_ms=1_000)
    rig.clock.advance(1_000)
    await worker.run_lane()
    assert rig.ended(alert) == ("EXPIRED", "too_old")
    assert broker.requests == []
    assert rig.letters()[0]["state"] == "EXPIRED"


# The last word before the first byte.


async def test_a_worker_that_stalls_past_its_lease_sends_nothing(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    async def stall() -> None:
        rig.clock.advance(LEASE_MS)

    broker.before_sending = stall
    alert = await rig.admit()
    await worker.run_lane()
    assert (len(broker.unsent), broker.requests) == (1, [])
    # Nobody had taken the lane yet: it parks, and goes on under a new lease.
    assert rig.order_state(alert) == ("NOT_EXECUTED", 1)
    broker.before_sending = None
    await rig.run_to_rest()
    assert broker.executed == [rig.order_id(alert)]
    assert rig.order_state(alert) == ("FILLED", 2)


async def test_a_stalled_worker_whose_lane_was_taken_over_sends_and_writes_nothing(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    async def stall() -> None:
        broker.before_sending = None
        rig.clock.advance(LEASE_MS)
        await rig.reclaim()
        broker.always_find(knows_nothing)
        await rig.worker("b").run_lane()  # finds SENDING, and waits until the request can arrive no more

    broker.before_sending = stall
    alert = await rig.admit()
    await worker.run_lane()
    assert worker.count("bascule_lanes_lost_total") == 1
    await rig.run_to_rest(rig.worker("b"))
    assert len(broker.unsent) == 1
    assert broker.executed == [rig.order_id(alert)]
    assert rig.order_state(alert) == ("FILLED", 2)


async def test_a_worker_that_is_told_that_its_lane_is_lost_sends_nothing_though_its_clock_would_allow_it(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    # Between the intent and the first byte the group was made again, and another worker took the lane over.
    async def lose_the_lane() -> None:
        broker.before_sending = None
        rig.redis.hset(rig.keys.lanes, "desk:BTC", "9999999999999-0|other")
        await worker.heartbeat.beat()

    broker.before_sending = lose_the_lane
    alert = await rig.admit()
    worker_lease = await worker.run_lane()
    assert worker_lease.is_lost
    assert (len(broker.unsent), broker.requests) == (1, [])
    assert rig.order_state(alert) == ("SENDING", 1)


async def test_a_lease_counts_from_the_call_that_renewed_it(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    # begin renews it, so that a lane that waited long in its process still has a whole window before it.
    async def stall() -> None:
        rig.clock.advance(WINDOW_MS - 1)

    broker.before_sending = stall
    await rig.admit()
    lease = await worker.take()
    rig.clock.advance(LEASE_MS - 1)
    await worker.runner.run(lease)
    assert len(broker.requests) == 1
    assert broker.unsent == []


async def test_a_go_that_comes_after_its_request_would_have_expired_sends_nothing(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    # The lease was renewed meanwhile; only the request's own time is over.
    lost_answers = lose_answers(worker.orders.begin, 1, lambda: rig.clock.advance(WINDOW_MS))
    alert = await rig.admit()
    await worker.run_lane()
    assert lost_answers == [1]
    assert len(broker.unsent) == 1
    assert len(broker.requests) == 1
    assert rig.order_state(alert) == ("FILLED", 2)
    assert broker.requests[0].expires_at_ms > rig.clock.now_ms()


async def test_a_lost_answer_of_begin_gets_the_same_go_and_sends_once(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    lose_answers(worker.orders.begin, 3)
    alert = await rig.admit()
    await worker.run_lane()
    assert len(broker.requests) == 1
    assert rig.order_state(alert) == ("FILLED", 1)


async def test_a_lost_answer_of_settle_settles_once_and_goes_on_with_the_next_head(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    alerts = [await rig.admit() for _ in range(3)]
    lose_answers(worker.orders.settle, 2)
    await worker.run_lane()
    assert broker.executed == [rig.order_id(alert) for alert in alerts]
    assert rig.is_at_rest()


# Unknown outcomes.


async def test_an_order_of_unknown_outcome_that_the_venue_has_is_adopted(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    broker.then(answer_lost())
    alert = await rig.admit()
    await worker.run_lane()
    assert broker.executed == broker.looked_up == [rig.order_id(alert)]
    assert rig.ended(alert) == ("EXECUTED", "filled")
    assert rig.order_state(alert) == ("FILLED", 1)
    assert [event for event, _ in rig.history(alert)] == ["QUEUED", "SENDING", "UNKNOWN", "EXECUTED"]


async def test_an_order_that_the_venue_does_not_know_is_sent_again_only_after_its_expiry_and_three_misses(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    broker.then(lost())
    alert = await rig.admit()
    sent_at_ms = rig.clock.now_ms()
    await worker.run_lane()
    assert rig.order_state(alert) == ("UNKNOWN", 1)
    # Not before the last moment at which a slow clock may still let it trade, nor at that moment.
    assert rig.parked() == {"desk:BTC": WINDOW_MS + MARGIN_MS + 1}
    await rig.until_due()
    assert (len(broker.looked_up), len(broker.requests)) == (1, 1)
    await worker.run_lane()
    assert len(broker.looked_up) == 1 + 3
    assert rig.slept_ms == [50, 100]
    assert rig.clock.now_ms() > sent_at_ms + WINDOW_MS + MARGIN_MS
    assert [one.client_order_id for one in broker.requests] == [rig.order_id(alert)] * 2
    assert rig.order_state(alert) == ("FILLED", 2)
    assert ("PARKED", "resolving") in rig.history(alert)


async def test_an_order_that_arrives_after_all_but_within_its_expiry_is_adopted_and_not_sent_again(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    broker.then(lost())
    alert = await rig.admit()
    await worker.run_lane()
    rig.clock.advance(WINDOW_MS)
    broker.execute(broker.requests[0])
    await rig.run_to_rest()
    assert broker.executed == [rig.order_id(alert)]
    assert rig.order_state(alert) == ("FILLED", 1)


async def test_an_order_that_shows_up_at_the_third_look_up_after_its_expiry_is_adopted(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    broker.then(answer_lost())
    broker.then_find(knows_nothing, knows_nothing, knows_nothing)
    alert = await rig.admit()
    await rig.run_to_rest()
    assert broker.executed == [rig.order_id(alert)]
    assert rig.order_state(alert) == ("FILLED", 1)
    assert len(broker.looked_up) == 4


async def test_misses_before_the_expiry_do_not_count(rig: WorkerRig, worker: Worker, broker: ScriptedBroker):
    broker.then(lost())
    alert = await rig.admit()
    await worker.run_lane()
    for _ in range(5):
        # Promoted early by hand: a look-up now proves nothing.
        rig.redis.zadd(rig.keys.parked, {"desk:BTC": rig.clock.now_ms()})
        await rig.promote()
        await worker.run_lane()
    assert rig.order(alert)["misses"] == "0"
    assert rig.order_state(alert) == ("UNKNOWN", 1)
    assert len(broker.requests) == 1


async def test_an_order_that_never_arrived_ends_expired_once_the_alert_is_old(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    broker.then(lost())
    alert = await rig.admit(max_age_ms=WINDOW_MS)
    await rig.run_to_rest()
    assert rig.ended(alert) == ("EXPIRED", "too_old")
    assert rig.order_state(alert) == ("NOT_EXECUTED", 1)
    assert len(broker.requests) == 1
    assert len(broker.looked_up) == 1 + 3


async def test_what_waits_behind_an_unknown_order_is_not_sent_before_it_is_known(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    broker.then(lost())
    first, second = [await rig.admit() for _ in range(2)]
    await rig.run_to_rest()
    assert broker.executed == [rig.order_id(first), rig.order_id(second)]


# Refusals after a doubt.


async def test_a_refusal_of_the_second_attempt_is_looked_up_before_it_is_believed(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    # The first attempt traded, and the venue was slow to know of it: it refuses the second as a duplicate.
    broker.then(answer_lost(), refused("duplicate"))
    broker.then_find(*[knows_nothing] * 4)
    alert = await rig.admit()
    await rig.run_to_rest()
    assert len(broker.requests) == 2
    assert broker.executed == [rig.order_id(alert)]
    assert rig.ended(alert) == ("EXECUTED", "filled")


async def test_a_refusal_of_the_second_attempt_that_the_venue_confirms_is_believed(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    broker.then(unavailable(), refused())
    alert = await rig.admit()
    await worker.run_lane()
    assert broker.looked_up == [rig.order_id(alert)]
    assert rig.ended(alert) == ("REJECTED", "venue_rejected")
    assert rig.order_state(alert) == ("REJECTED", 2)


async def test_a_refusal_of_the_second_attempt_that_cannot_be_looked_up_counts_as_unknown(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    broker.then(answer_lost(), refused("duplicate"))
    broker.then_find(*[knows_nothing] * 4, *[look_up_fails] * 4)
    alert = await rig.admit()
    await worker.run_lane()
    await rig.until_due()
    await worker.run_lane()
    assert rig.order_state(alert) == ("UNKNOWN", 2)
    await rig.run_to_rest()
    assert rig.ended(alert) == ("EXECUTED", "filled")
    assert broker.executed == [rig.order_id(alert)]


# Taking over.


@pytest.mark.parametrize("arrives", [True, False])
async def test_a_new_holder_looks_an_order_up_that_it_finds_sending(
    rig: WorkerRig, broker: ScriptedBroker, arrives: bool
):
    alert = await rig.admit()
    await rig.worker("a").die_while_placing(arrives=arrives)
    assert rig.order_state(alert) == ("SENDING", 1)
    await rig.reclaim()
    b = rig.worker("b")
    await b.run_lane()
    assert len(broker.requests) == 1
    assert broker.looked_up == [rig.order_id(alert)]
    await rig.run_to_rest(b)
    assert broker.executed == [rig.order_id(alert)]
    assert rig.order_state(alert) == ("FILLED", 1 if arrives else 2)
    assert rig.instruction(alert)["lost_holders"] == "1"


async def test_a_new_holder_goes_on_with_the_next_attempt_after_one_that_was_not_executed(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    rig.jitter = 1.0
    broker.then(*[unavailable()] * 3)
    alert = await rig.admit()
    await worker.run_lane()
    await rig.until_due()
    lease = await worker.take()
    await worker.lanes.open.submit(lease.held)  # and dies
    await rig.reclaim()
    await rig.worker("b").run_lane()
    assert broker.looked_up == []
    assert rig.order_state(alert) == ("FILLED", 4)


async def test_an_order_that_is_recorded_as_filled_is_settled_without_sending(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    alert = await rig.admit()
    await worker.die_while_placing(arrives=True)
    report = OrderReport(order_id="venue-1", state=OrderState.FILLED, filled_quantity=Decimal(1))
    rig.redis.hset(
        rig.keys.order(rig.order_id(alert)),
        mapping={"state": "FILLED", "answer": codec.ORDER_REPORT.encode(report)},
    )
    await rig.reclaim()
    await rig.worker("b").run_lane()
    assert (len(broker.requests), broker.looked_up) == (1, [])
    assert rig.ended(alert) == ("EXECUTED", "filled")
    assert rig.is_at_rest()


async def test_what_was_certainly_not_executed_is_planned_anew_by_whoever_goes_on(
    rig: WorkerRig, broker: ScriptedBroker
):
    rig.accounts[DESK] = rig.account(default_quantity=Decimal(1))
    broker.then(*[unavailable()] * 3)
    await rig.admit(quantity=None)
    await rig.worker("a").run_lane()
    rig.accounts[DESK] = rig.account(default_quantity=Decimal(5))
    await rig.run_to_rest(rig.worker("b"))
    quantities = [one.plan.quantity for one in broker.requests]
    assert (quantities[0], quantities[-1], len(quantities)) == (Decimal(1), Decimal(5), 4)


# Heads that cannot be executed.


async def test_a_body_that_cannot_be_read_ends_dead_and_its_neighbours_go_on(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    bad, good = await rig.admit(body=b'{"junk'), await rig.admit()
    await worker.run_lane()
    assert rig.ended(bad) == ("DEAD", "malformed")
    assert rig.letters()[0]["body"] == '{"junk'
    assert rig.ended(good) == ("EXECUTED", "filled")
    assert broker.executed == [rig.order_id(good)]


async def test_an_account_that_this_worker_does_not_know_waits_for_one_that_does_and_ends_expired(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    known_elsewhere = await rig.admit(account="new")
    await worker.run_lane()
    assert rig.parked() == {"new:BTC": FOR_OTHERS_MS}
    rig.accounts[AccountName("new")] = rig.account("new")
    await rig.run_to_rest()
    assert rig.ended(known_elsewhere, "new") == ("EXECUTED", "filled")
    unknown = await rig.admit(account="gone", max_age_ms=5_000)
    await rig.run_to_rest()
    assert rig.ended(unknown, "gone") == ("EXPIRED", "unknown_account")
    assert len(broker.requests) == 1


async def test_an_alert_without_a_quantity_takes_the_accounts_or_is_rejected(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    without = await rig.admit(quantity=None)
    await worker.run_lane()
    assert rig.ended(without) == ("REJECTED", "no_quantity")
    rig.accounts[DESK] = rig.account(default_quantity=Decimal("0.5"))
    await rig.admit(quantity=None)
    await worker.run_lane()
    assert [one.plan.quantity for one in broker.requests] == [Decimal("0.5")]


def _garble(rig: WorkerRig, **changes: str) -> None:
    """Change fields of the head where it lies."""
    lane = rig.keys.lane(LaneName("desk:BTC"))
    [(entry, fields)] = rig.redis.xrange(lane)
    rig.redis.delete(lane)
    rig.redis.xadd(lane, {**fields, **changes}, id=entry)


def _spoil_body(rig: WorkerRig) -> None:
    _garble(rig, body="{junk")


def _forget_account(rig: WorkerRig) -> None:
    rig.accounts.clear()


@pytest.mark.parametrize(("spoil", "wait_ms"), [(_spoil_body, HELD_MS), (_forget_account, FOR_OTHERS_MS)])
async def test_a_head_that_cannot_be_read_any_more_is_held_while_its_order_may_still_execute(
    rig: WorkerRig, broker: ScriptedBroker, spoil: Callable[[WorkerRig], None], wait_ms: int
):
    alert = await rig.admit()
    await rig.worker("a").die_while_placing(arrives=True)
    spoil(rig)
    await rig.reclaim()
    await rig.worker("b").run_lane()
    for _ in range(3):
        assert rig.parked() == {"desk:BTC": wait_ms}
        await rig.pass_time(120_000)  # however old it gets
        await rig.worker("b").run_lane()
    assert rig.instruction(alert)["state"] == "ACTIVE"
    assert rig.order_state(alert) == ("SENDING", 1)
    assert rig.letters() == []


@pytest.mark.parametrize("lost_holders", [0, POISON_LIMIT])
async def test_a_head_of_a_newer_version_waits_for_a_newer_worker_until_its_time_is_over(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker, lost_holders: int
):
    alert = await rig.admit(max_age_ms=20_000)
    _garble(rig, version=str(SCHEMA_VERSION + 1), body="?")
    rig.lose_holders(alert, lost_holders)
    await worker.run_lane()
    assert rig.parked() == {"desk:BTC": FOR_OTHERS_MS}
    assert rig.instruction(alert)["state"] == "ACTIVE"
    assert ("PARKED", "newer_version") in rig.history(alert)
    assert (broker.requests, rig.letters()) == ([], [])
    await rig.run_to_rest()
    assert rig.ended(alert) == ("EXPIRED", "newer_version")


# Poison.


async def test_a_head_that_lost_as_many_holders_as_the_poison_limit_ends_dead_unsent(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    alert, after = await rig.admit(), await rig.admit()
    rig.lose_holders(alert, POISON_LIMIT)
    await worker.run_lane()
    assert rig.ended(alert) == ("DEAD", "poison")
    assert broker.executed == [rig.order_id(after)]


async def test_a_head_beyond_the_poison_limit_is_not_given_up_while_its_order_is_sending(
    rig: WorkerRig, broker: ScriptedBroker
):
    alert = await rig.admit()
    await rig.worker("a").die_while_placing(arrives=True)
    rig.lose_holders(alert, POISON_LIMIT + 5)
    await rig.reclaim()
    await rig.worker("b").run_lane()
    assert rig.ended(alert) == ("EXECUTED", "filled")
    assert broker.executed == [rig.order_id(alert)]


async def test_a_head_beyond_the_poison_limit_is_given_up_only_once_its_unknown_order_did_nothing(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    broker.then(lost())
    alert = await rig.admit()
    await worker.run_lane()
    rig.lose_holders(alert, POISON_LIMIT)
    rig.redis.zadd(rig.keys.parked, {"desk:BTC": rig.clock.now_ms()})
    await rig.promote()
    await worker.run_lane()
    assert rig.order_state(alert) == ("UNKNOWN", 1)
    await rig.run_to_rest()
    assert rig.ended(alert) == ("DEAD", "poison")
    # It is not sent once more for the look-up's sake: sending it is what may kill.
    assert rig.order_state(alert) == ("NOT_EXECUTED", 1)
    assert len(broker.requests) == 1


async def test_a_suspect_that_was_being_sent_is_looked_up_beside_others_and_sent_again_alone(
    rig: WorkerRig, broker: ScriptedBroker
):
    alert = await rig.admit()
    await rig.worker("a").die_while_placing(arrives=False)
    rig.lose_holders(alert, 2)
    await rig.reclaim()
    b = rig.worker("b")
    was_alone: list[bool] = []

    async def look() -> None:
        was_alone.append(b.solo.is_wanted)

    def looks_up(_: ScriptedBroker, __: ClientOrderId) -> None:
        assert not b.solo.is_wanted

    broker.before_sending = look
    broker.then_find(*[looks_up] * 4)
    await rig.run_to_rest(b)
    assert rig.order_state(alert) == ("FILLED", 2)
    assert was_alone == [True]
