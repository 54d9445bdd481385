from libs.common.domain.ids import Token
from tests.integration.libs.common.store.lua.rig import Rig


async def nameless(rig: Rig) -> Token:
    """Deliver a token that names no lane."""
    token = rig.redis.xadd(rig.keys.ready, {"foo": "bar"})
    rig.redis.xreadgroup("workers", "a", {rig.keys.ready: ">"})
    return Token(token)


async def test_a_token_that_names_no_lane_is_removed_and_acknowledged(rig: Rig):
    token = await nameless(rig)
    hold = await rig.hold()
    await rig.lanes().drop([token])
    assert [left for left, _ in rig.tokens()] == [hold.held.token]
    assert rig.pending() == {hold.held.token: "a"}


async def test_re_sent_after_a_lost_reply_there_is_nothing_left_to_remove(rig: Rig):
    token = await nameless(rig)
    await rig.lose_reply("drop", lambda: rig.lanes().drop([token]))
    assert rig.is_at_rest()
    assert rig.pending() == {}


async def test_at_the_memory_limit_tokens_are_removed_all_the_same(rig: Rig):
    token = await nameless(rig)
    with rig.memory_limit_reached():
        await rig.lanes().drop([token])
    assert rig.is_at_rest()


async def test_one_bad_token_in_a_call_fails_alone(rig: Rig):
    one, two = await nameless(rig), await nameless(rig)
    answers = await rig.run("drop", [], [one, "junk", two])
    assert [answer[0] for answer in answers] == [b"OK", b"ERROR", b"OK"]
    assert rig.is_at_rest()


async def test_with_the_stream_gone_there_is_no_error(rig: Rig):
    token = await nameless(rig)
    rig.redis.delete(rig.keys.ready)
    await rig.lanes().drop([token])
