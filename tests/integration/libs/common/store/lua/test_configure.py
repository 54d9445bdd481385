import asyncio

import pytest

from libs.common.domain.errors import StoreCorrupt
from tests.integration.libs.common.store.lua.rig import Rig

DONE, CHANGED = b"DONE", b"CHANGED"


async def configure(rig: Rig, field: str, old: str, new: str, *, reason: str = "created") -> list[bytes]:
    return await rig.run("configure", [rig.keys.webhooks], [field, old, new, "WEBHOOK", reason, field])


def table(rig: Rig) -> dict[str, str]:
    return rig.redis.hgetall(rig.keys.webhooks)


def revision(rig: Rig) -> int:
    return int(rig.redis.hget(rig.keys.meta, "revision") or 0)


async def test_a_field_is_put_changed_and_taken_out(rig: Rig):
    assert await configure(rig, "alpha", "", "one") == [DONE, b"1"]
    assert table(rig) == {"alpha": "one"}
    assert await configure(rig, "alpha", "one", "two") == [DONE, b"2"]
    assert table(rig) == {"alpha": "two"}
    assert await configure(rig, "beta", "", "other") == [DONE, b"3"]
    assert await configure(rig, "alpha", "two", "") == [DONE, b"4"]
    assert table(rig) == {"beta": "other"}


@pytest.mark.parametrize(
    ("held", "seen", "wanted"),
    [("one", "", "two"), ("one", "zero", "two"), ("", "one", "two"), ("one", "zero", ""), ("", "", "")],
)
async def test_what_is_not_as_it_was_seen_is_not_touched(rig: Rig, held: str, seen: str, wanted: str):
    if held:
        await configure(rig, "alpha", "", held)
    with rig.nothing_written():
        answer = await configure(rig, "alpha", seen, wanted)
    # Nothing in the place of nothing is as it was seen.
    assert answer == ([DONE, b"0"] if held == wanted else [CHANGED])


async def test_of_many_who_saw_the_same_one_writes(rig: Rig):
    answers = await asyncio.gather(*[configure(rig, "alpha", "", f"from {n}") for n in range(20)])
    winners = [n for n, answer in enumerate(answers) if answer[0] == DONE]
    assert len(winners) == 1
    assert table(rig) == {"alpha": f"from {winners[0]}"}
    assert revision(rig) == 1


async def test_the_revision_rises_with_every_change_and_with_nothing_else(rig: Rig):
    seen = [revision(rig)]
    for old, new in (("", "one"), ("one", "two"), ("nonsense", "three"), ("two", "two"), ("two", "")):
        await configure(rig, "alpha", old, new)
        seen.append(revision(rig))
    assert seen == [0, 1, 2, 2, 2, 3]


async def test_every_change_is_in_the_journal_once(rig: Rig):
    await configure(rig, "alpha", "", "one", reason="created")
    await configure(rig, "alpha", "nonsense", "two", reason="rotated")
    await configure(rig, "alpha", "one", "", reason="deleted")
    assert rig.journal() == [("WEBHOOK", "created"), ("WEBHOOK", "deleted")]
    [(_, first), _] = rig.redis.xrange(rig.keys.journal)
    assert first["detail"] == "alpha"
    # What is stored holds digests: it has no place in a journal.
    assert "one" not in first.values()


@pytest.mark.parametrize(("old", "new"), [("", "one"), ("one", "two"), ("one", "")])
async def test_re_sent_after_a_lost_reply_it_is_done_once(rig: Rig, old: str, new: str):
    if old:
        await configure(rig, "alpha", "", old)
    before = revision(rig)

    async def call() -> list[bytes]:
        return await configure(rig, "alpha", old, new)

    assert await rig.lose_reply("configure", call) == [DONE, str(before + 1).encode()]
    assert table(rig) == ({"alpha": new} if new else {})
    assert len(rig.journal()) == before + 1


async def test_at_the_memory_limit_a_webhook_can_still_be_disabled(rig: Rig):
    await configure(rig, "alpha", "", "one")
    with rig.memory_limit_reached():
        assert (await configure(rig, "alpha", "one", "two"))[0] == b"DONE"
    assert table(rig) == {"alpha": "two"}


async def test_a_table_that_is_none_fails_and_raises_no_revision(rig: Rig):
    rig.spoil(rig.keys.webhooks)
    with pytest.raises(StoreCorrupt):
        await configure(rig, "alpha", "", "one")
    assert revision(rig) == 0
