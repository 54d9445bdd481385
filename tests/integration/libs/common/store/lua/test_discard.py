from tests.integration.libs.common.store.lua.rig import Rig
from tests.integration.libs.common.store.lua.test_replay import buried, last_letter, replay


async def test_a_discarded_letter_is_gone_and_its_record_says_so(rig: Rig):
    hold, letter = await buried(rig)
    assert await rig.run("discard", [], [letter]) == [b"OK", hold.head.alert_id.encode(), b"desk"]
    assert rig.letters() == []
    record = rig.instruction(hold.head.alert_id)
    assert record["state"] == "DEAD"
    assert rig.history(hold.head.alert_id) == ["QUEUED", "DEAD", "DISCARDED"]
    assert rig.redis.pttl(rig.keys.instruction(hold.head.alert_id, "desk")) > 0


async def test_what_was_discarded_cannot_be_replayed(rig: Rig):
    _, letter = await buried(rig)
    await rig.run("discard", [], [letter])
    with rig.nothing_written():
        assert await replay(rig, letter) == [b"GONE"]


async def test_a_letter_whose_record_is_gone_can_be_discarded(rig: Rig):
    hold, letter = await buried(rig)
    rig.lose(rig.keys.instruction(hold.head.alert_id, "desk"))
    assert (await rig.run("discard", [], [letter]))[0] == b"OK"
    assert rig.journal()[-1] == ("DISCARDED", "discarded")
    assert not rig.redis.exists(rig.keys.instruction(hold.head.alert_id, "desk"))


async def test_a_letter_of_junk_can_be_discarded(rig: Rig):
    rig.redis.xadd(rig.keys.dead, {"foo": "bar"})
    assert (await rig.run("discard", [], [last_letter(rig)]))[0] == b"OK"
    assert rig.letters() == []


async def test_re_sent_after_a_lost_reply_it_finds_the_letter_gone(rig: Rig):
    hold, letter = await buried(rig)
    assert await rig.lose_reply("discard", lambda: rig.run("discard", [], [letter])) == [b"GONE"]
    assert rig.history(hold.head.alert_id) == ["QUEUED", "DEAD", "DISCARDED"]


async def test_at_the_memory_limit_letters_are_discarded_all_the_same(rig: Rig):
    _, letter = await buried(rig)
    with rig.memory_limit_reached():
        assert (await rig.run("discard", [], [letter]))[0] == b"OK"


async def test_a_record_of_a_wrong_type_does_not_keep_a_letter_from_being_discarded(rig: Rig):
    hold, letter = await buried(rig)
    rig.spoil(rig.keys.instruction(hold.head.alert_id, "desk"))
    assert (await rig.run("discard", [], [letter]))[0] == b"OK"
    assert rig.letters() == []
