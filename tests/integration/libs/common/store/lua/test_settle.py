import pytest
from msgspec.structs import replace

from libs.common.domain.errors import StoreCorrupt
from libs.common.domain.lifecycle import DEAD_LETTERED, ENDED, InstructionState, OrderState
from libs.common.domain.reasons import Reason
from libs.common.store.head import Closed, HandedBack, Head, Moved, Stale
from libs.common.store.orders import GoesBack
from tests.integration.libs.common.store.lua.rig import DAY_MS, RETENTION, START_MS, Hold, Rig

EXECUTED, SKIPPED, DEAD = InstructionState.EXECUTED, InstructionState.SKIPPED, InstructionState.DEAD
REPLAYABLE_MS = RETENTION.replayable_ms


async def test_the_end_of_the_last_instruction_closes_the_lane(rig: Rig):
    hold = await rig.hold()
    await rig.go(hold)
    rig.now_ms += 40
    assert await rig.settle(hold) == Closed()
    assert rig.is_at_rest()
    assert rig.pending() == {}
    record = rig.instruction(hold.head.alert_id)
    assert (record["state"], record["reason"], record["detail"]) == ("EXECUTED", "filled", "detail")
    assert (record["ended_at"], record["running"]) == (str(START_MS + 40), "")
    order = rig.order(hold.order_id)
    assert (order["state"], order["answer"], order["ended_at"]) == (
        "FILLED",
        '{"report":1}',
        str(START_MS + 40),
    )
    assert rig.redis.hget(rig.keys.alert(hold.head.alert_id), "state") == "EXECUTED"
    assert rig.history(hold.head.alert_id) == ["QUEUED", "SENDING", "EXECUTED"]
    assert rig.letters() == []


async def test_the_next_head_is_handed_out_under_the_same_token(rig: Rig):
    hold = await rig.hold(alerts=2)
    await rig.go(hold)
    following = await rig.settle(hold)
    assert isinstance(following, Head)
    assert following.alert_id == "alert00002"
    assert rig.fence() == f"{hold.held.token}|a"
    record = rig.instruction("alert00002")
    assert (record["state"], record["running"]) == ("ACTIVE", hold.held.token)


@pytest.mark.parametrize("state", sorted(ENDED))
async def test_every_record_of_what_ended_expires_and_not_before_its_dead_letter(
    rig: Rig, state: InstructionState
):
    hold = await rig.hold()
    await rig.go(hold)
    await rig.resolve(hold, OrderState.NOT_EXECUTED, nonce="nonce-1")
    await rig.settle(hold, state, order=None)
    leaves_letter = state in DEAD_LETTERED
    stays_ms = REPLAYABLE_MS if leaves_letter else RETENTION.alerts_ms
    for key in (
        rig.keys.alert(hold.head.alert_id),
        rig.keys.instruction(hold.head.alert_id, hold.head.account),
    ):
        assert stays_ms - 5_000 < rig.redis.pttl(key) <= stays_ms
    # An order outlives every letter that could send it again.
    assert rig.redis.pttl(rig.keys.order(hold.order_id)) > 31 * DAY_MS - 5_000
    assert len(rig.letters()) == leaves_letter
    assert rig.redis.hget(rig.keys.alert(hold.head.alert_id), "state") == state


async def test_a_dead_letter_holds_what_a_replay_needs(rig: Rig):
    hold = await rig.hold(body=b'{"n":1}')
    await rig.go(hold)
    await rig.settle(hold, InstructionState.REJECTED, reason=Reason.VENUE_REJECTED, order=OrderState.REJECTED)
    assert rig.letters() == [
        {
            "alert": hold.head.alert_id,
            "account": "desk",
            "lane": "desk:BTC",
            "state": "REJECTED",
            "reason": "venue_rejected",
            "detail": "detail",
            "attempts": "1",
            "version": "1",
            "deadline": str(START_MS + 60_000),
            "body": '{"n":1}',
        }
    ]


@pytest.mark.parametrize(
    ("first", "second", "overall"),
    [
        (EXECUTED, EXECUTED, "EXECUTED"),
        (EXECUTED, SKIPPED, "SKIPPED"),
        (DEAD, EXECUTED, "DEAD"),
        (InstructionState.REJECTED, InstructionState.EXPIRED, "EXPIRED"),
        (InstructionState.EXPIRED, InstructionState.REJECTED, "EXPIRED"),
    ],
)
async def test_an_alert_ends_with_its_last_instruction_in_the_worst_of_their_states(
    rig: Rig, first: InstructionState, second: InstructionState, overall: str
):
    alert = await rig.admit(accounts=("desk", "fund"))
    one, two = await rig.read()
    heads = [await rig.open(held) for held in (one, two)]
    key = rig.keys.alert(alert)
    for held, head, state in ((one, heads[0], first), (two, heads[1], second)):
        assert rig.redis.ttl(key) == -1
        assert rig.redis.hget(key, "state") is None
        await rig.settle(Hold(held, head, "a"), state, order=None)
    assert rig.redis.hget(key, "state") == overall
    stays_ms = REPLAYABLE_MS if {first, second} & DEAD_LETTERED else RETENTION.alerts_ms
    assert stays_ms - 5_000 < rig.redis.pttl(key) <= stays_ms
    assert rig.redis.hget(key, "open") == "0"


@pytest.mark.parametrize("order", [None, OrderState.FILLED])
async def test_nothing_ends_before_it_was_begun_that_says_it_was_filled(rig: Rig, order: OrderState | None):
    hold = await rig.hold()
    if order is None:
        assert await rig.settle(hold, SKIPPED, order=None) == Closed()
    else:
        with rig.nothing_written():
            assert await rig.settle(hold, order=order) == Moved()


@pytest.mark.parametrize("is_unknown", [False, True])
@pytest.mark.parametrize("state", sorted(ENDED))
async def test_nothing_ends_while_its_order_may_execute(rig: Rig, state: InstructionState, is_unknown: bool):
    hold = await rig.hold()
    await rig.go(hold)
    if is_unknown:
        await rig.resolve(hold, OrderState.UNKNOWN)
    with rig.nothing_written():
        assert await rig.settle(hold, state, order=None) == Moved()


async def test_nothing_ends_while_another_leg_may_execute_and_its_own_order_stays_as_it_is(rig: Rig):
    hold = await rig.hold()
    await rig.go(hold)
    record = rig.keys.instruction(hold.head.alert_id, hold.head.account)
    other = rig.keys.order("otherleg")
    rig.redis.hset(other, mapping={"state": "SENDING", "attempt": "1", "nonce": "n"})
    rig.redis.hset(record, "orders", f"{hold.order_id} otherleg")
    with rig.nothing_written():
        assert await rig.settle(hold) == Moved()


@pytest.mark.parametrize("attempt", [0, 2])
async def test_the_outcome_of_another_attempt_ends_nothing(rig: Rig, attempt: int):
    hold = await rig.hold()
    await rig.go(hold)
    with rig.nothing_written():
        assert await rig.settle(hold, attempt=attempt) == Moved()


async def test_an_outcome_against_what_is_known_ends_nothing(rig: Rig):
    hold = await rig.hold()
    await rig.go(hold, nonce="n")
    await rig.resolve(hold, OrderState.NOT_EXECUTED, nonce="n")
    with rig.nothing_written():
        assert await rig.settle(hold) == Moved()


async def test_an_outcome_already_on_record_ends_the_instruction(rig: Rig):
    hold = await rig.hold()
    await rig.go(hold)
    rig.redis.hset(rig.keys.order(hold.order_id), mapping={"state": "FILLED", "answer": "first"})
    assert await rig.settle(hold) == Closed()
    assert rig.order(hold.order_id)["answer"] == "first"


async def test_what_is_not_the_head_is_not_ended_and_the_head_is_handed_out(rig: Rig):
    hold = await rig.hold(alerts=3)
    second = await rig.settle(hold, SKIPPED, order=None)
    assert isinstance(second, Head)
    with rig.nothing_written():
        assert await rig.settle(hold, DEAD, order=None) == replace(second, is_first=False)
    assert rig.instruction(hold.head.alert_id)["state"] == "SKIPPED"


async def test_a_lane_is_handed_back_with_a_new_token_at_the_tail_and_its_next_head_untouched(rig: Rig):
    hold = await rig.hold(alerts=2)
    await rig.admit("ETH")
    assert await rig.settle(hold, SKIPPED, order=None, goes_back=GoesBack.ALWAYS) == HandedBack()
    assert [lane for _, lane in rig.tokens()] == ["desk:ETH", "desk:BTC"]
    assert rig.fence() == f"{rig.tokens()[-1][0]}|"
    assert rig.pending() == {}
    assert rig.instruction(hold.head.alert_id)["state"] == "SKIPPED"
    following = rig.instruction("alert00002")
    assert (following["state"], following.get("running")) == ("QUEUED", None)


async def test_a_lane_that_is_empty_is_closed_instead_of_handed_back(rig: Rig):
    hold = await rig.hold()
    assert await rig.settle(hold, SKIPPED, order=None, goes_back=GoesBack.ALWAYS) == Closed()
    assert rig.is_at_rest()


async def test_what_is_not_the_head_hands_no_lane_back(rig: Rig):
    hold = await rig.hold(alerts=2)
    second = await rig.settle(hold, SKIPPED, order=None)
    with rig.nothing_written():
        assert await rig.settle(hold, SKIPPED, order=None, goes_back=GoesBack.ALWAYS) == replace(
            second, is_first=False
        )


async def test_a_lane_that_nobody_else_wants_stays(rig: Rig):
    hold = await rig.hold(alerts=2)
    await rig.lanes().check_in()
    await rig.lanes("b").check_in()
    assert isinstance(await rig.settle(hold, SKIPPED, order=None, goes_back=GoesBack.IF_WANTED), Head)
    assert rig.fence() == f"{hold.held.token}|a"


@pytest.mark.parametrize("other", ["ready", "parked"])
async def test_a_lane_goes_back_where_another_waits_for_a_slot(rig: Rig, other: str):
    if other == "parked":
        await rig.park(await rig.hold("ETH"))
    hold = await rig.hold("BTC", alerts=2)
    if other == "ready":
        await rig.admit("ETH")
    following = await rig.settle(hold, SKIPPED, order=None, goes_back=GoesBack.IF_WANTED)
    assert following == HandedBack()


@pytest.mark.parametrize(
    ("held", "of_others", "workers", "goes_back"),
    [(9, 0, "a", False), (8, 0, "ab", False), (9, 0, "ab", True), (9, 8, "ab", False)],
)
async def test_a_lane_goes_back_where_its_holder_has_more_than_his_share_of_many(
    rig: Rig, held: int, of_others: int, workers: str, goes_back: bool
):
    for worker in workers:
        await rig.lanes(worker).check_in()
    for number in range(of_others):
        await rig.hold(f"B{number}", holder="b")
    holds = [await rig.hold(f"A{number}", alerts=2) for number in range(held)]
    following = await rig.settle(holds[0], SKIPPED, order=None, goes_back=GoesBack.IF_WANTED)
    assert isinstance(following, HandedBack if goes_back else Head)


async def test_a_lane_goes_back_where_redis_does_not_say_whether_it_is_wanted(rig: Rig):
    hold = await rig.hold(alerts=2)
    rig.redis.execute_command("ACL", "SETUSER", "default", "-xpending")  # as for a user of an earlier version
    try:
        following = await rig.settle(hold, SKIPPED, order=None, goes_back=GoesBack.IF_WANTED)
    finally:
        rig.redis.execute_command("ACL", "SETUSER", "default", "+@all")
    assert following == HandedBack()
    assert rig.instruction(hold.head.alert_id)["state"] == "SKIPPED"


async def test_lanes_that_a_call_hands_back_are_not_others_that_wait_for_a_slot(rig: Rig):
    first, second = await rig.hold("BTC", alerts=2), await rig.hold("ETH", alerts=2)
    submit = rig.orders().settle.submit
    following = await rig.do(
        submit(rig.settlement(first, SKIPPED, order=None, goes_back=GoesBack.ALWAYS)),
        submit(rig.settlement(second, SKIPPED, order=None, goes_back=GoesBack.IF_WANTED)),
    )
    assert [type(one) for one in following] == [HandedBack, Head]


async def test_of_lanes_that_ask_in_one_call_no_more_go_back_than_are_beyond_their_holders_share(rig: Rig):
    for worker in "ab":
        await rig.lanes(worker).check_in()
    holds = [await rig.hold(f"A{number}", alerts=2) for number in range(40)]
    asked = [rig.settlement(hold, SKIPPED, order=None, goes_back=GoesBack.IF_WANTED) for hold in holds]
    following = await rig.do(*map(rig.orders().settle.submit, asked))
    assert [type(one) for one in following] == [HandedBack] * 20 + [Head] * 20


@pytest.mark.parametrize("key", ["workers", "parked"])
async def test_an_instruction_ends_though_nobody_can_tell_whether_its_lane_is_wanted(rig: Rig, key: str):
    hold = await rig.hold(alerts=2)
    rig.redis.set(getattr(rig.keys, key), "of another type")
    following = await rig.settle(hold, SKIPPED, order=None, goes_back=GoesBack.IF_WANTED)
    assert following == HandedBack()
    assert rig.instruction(hold.head.alert_id)["state"] == "SKIPPED"


async def test_re_sent_after_a_lost_reply_it_hands_no_lane_back_twice(rig: Rig):
    hold = await rig.hold(alerts=2)
    settlement = rig.settlement(hold, SKIPPED, order=None, goes_back=GoesBack.ALWAYS)
    answer = await rig.lose_reply("settle", lambda: rig.orders().settle.submit(settlement))
    assert answer == Stale()  # either way it is ours no longer
    assert len(rig.tokens()) == 1
    assert rig.fence() == f"{rig.tokens()[0][0]}|"


# Re-sent, stale, memory limit, one bad item.


@pytest.mark.parametrize("alerts", [1, 2])
async def test_re_sent_after_a_lost_reply_it_ends_nothing_twice(rig: Rig, alerts: int):
    hold = await rig.hold(alerts=alerts)
    await rig.go(hold)
    settlement = rig.settlement(hold)
    answer = await rig.lose_reply("settle", lambda: rig.orders().settle.submit(settlement))
    assert rig.journal().count(("EXECUTED", "filled")) == 1
    assert rig.redis.hget(rig.keys.alert(hold.head.alert_id), "open") == "0"
    if alerts == 2:
        assert answer.alert_id == "alert00002"
    else:
        # The lane is closed and its fence gone: nobody's lane any more.
        assert answer == Stale()
        assert rig.is_at_rest()


@pytest.mark.parametrize("order", [None, OrderState.FILLED])
async def test_another_holder_of_the_same_token_writes_nothing(rig: Rig, order: OrderState | None):
    hold = await rig.hold(alerts=2)
    if order:
        await rig.go(hold)
    with rig.nothing_written():
        other = rig.orders("b").settle.submit(rig.settlement(hold, DEAD, order=order))
        assert await rig.do(other) == Stale()


async def test_a_holder_of_an_old_token_writes_nothing(rig: Rig):
    hold = await rig.hold(alerts=2)
    await rig.do(rig.lanes().yield_.submit(hold.held))
    with rig.nothing_written():
        assert await rig.settle(hold, SKIPPED, order=None) == Stale()
    await rig.take("b")
    with rig.nothing_written():
        assert await rig.settle(hold, SKIPPED, order=None) == Stale()


async def test_at_the_memory_limit_instructions_end_all_the_same_with_their_letters(rig: Rig):
    hold = await rig.hold(alerts=2)
    with rig.memory_limit_reached():
        following = await rig.settle(hold, DEAD, order=None)
        assert isinstance(following, Head)
    assert len(rig.letters()) == 1
    assert rig.instruction(hold.head.alert_id)["state"] == "DEAD"


@pytest.mark.parametrize("what", ["order", "alert", "instruction", "lane"])
async def test_one_bad_item_fails_alone_and_writes_nothing(rig: Rig, what: str):
    holds = [await rig.hold(market) for market in ("A", "BAD", "C")]
    for hold in holds:
        await rig.go(hold)
    bad = holds[1]
    key = {
        "order": rig.keys.order(bad.order_id),
        "alert": rig.keys.alert(bad.head.alert_id),
        "instruction": rig.keys.instruction(bad.head.alert_id, bad.head.account),
        "lane": rig.keys.lane(bad.held.lane),
    }[what]
    rig.spoil(key)
    before = rig.dump()
    answers = await rig.do(*[rig.orders().settle.submit(rig.settlement(hold)) for hold in holds])
    assert answers[0] == answers[2] == Closed()
    assert isinstance(answers[1], StoreCorrupt)
    after = rig.dump()
    for name in before:
        if bad.head.alert_id in name or bad.order_id in name or "BAD" in name:
            assert before[name] == after[name]
    assert rig.journal().count(("EXECUTED", "filled")) == 2
