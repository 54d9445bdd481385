import pytest

from libs.common.domain.errors import StoreUnavailable
from libs.common.domain.ids import EventId, WebhookName
from libs.common.store.intake import Refusal
from tests.integration.libs.common.store.lua.rig import Rig


def refusal(event: str = "e1", **fields: str) -> Refusal:
    whole = {"code": "invalid_json", "field": "", "detail": "words", "raw": "{", **fields}
    return Refusal(event_id=EventId(event), webhook=WebhookName("default"), status=400, **whole)


async def test_a_refused_post_is_kept_for_operators(rig: Rig):
    await rig.do(rig.intake.refusals.submit(refusal(field="side")))
    [(_, kept)] = rig.redis.xrange(rig.keys.refused)
    assert kept == {
        "event": "e1",
        "webhook": "default",
        "status": "400",
        "code": "invalid_json",
        "field": "side",
        "detail": "words",
        "raw": "{",
        "size": kept["size"],
    }


async def test_the_stream_is_capped_by_bytes_and_the_oldest_go_first(rig: Rig):
    for number in range(30):
        await rig.run(
            "refuse", [rig.keys.refused], ["1000", f"e{number}", "w", "400", "c", "f", "d", "r" * 100]
        )
    kept = [fields["event"] for _, fields in rig.redis.xrange(rig.keys.refused)]
    assert kept == [f"e{number}" for number in range(30 - len(kept), 30)]
    assert 5 <= len(kept) <= 8


async def test_a_stream_that_somebody_emptied_by_hand_starts_afresh(rig: Rig):
    async def fill() -> list[str]:
        for number in range(10):
            args = ["500", f"e{number}", "w", "400", "c", "f", "d", "r" * 100]
            await rig.run("refuse", [rig.keys.refused], args)
        return [fields["event"] for _, fields in rig.redis.xrange(rig.keys.refused)]

    kept = await fill()
    assert len(kept) > 1
    rig.lose(rig.keys.refused)
    assert await fill() == kept


async def test_re_sent_after_a_lost_reply_it_is_kept_again_under_the_same_event_id(rig: Rig):
    # A record for people: twice is harmless, since the event id says that it is one post.
    await rig.lose_reply("refuse", lambda: rig.intake.refusals.submit(refusal()))
    assert {fields["event"] for _, fields in rig.redis.xrange(rig.keys.refused)} == {"e1"}


async def test_at_the_memory_limit_refusals_are_not_kept(rig: Rig):
    with rig.memory_limit_reached(), rig.nothing_written(), pytest.raises(StoreUnavailable):
        await rig.do(rig.intake.refusals.submit(refusal()))


async def test_what_cannot_be_written_fails_its_callers_and_no_others(rig: Rig):
    await rig.do(
        *[rig.intake.refusals.submit(refusal(f"e{n}", raw="\udcff" if n == 9 else "{")) for n in range(3)]
    )
    assert rig.redis.xlen(rig.keys.refused) == 3
