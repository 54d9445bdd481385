from libs.common.policy.dedup import BODY_WINDOW_MS, body_digest, dedup_key

DAY_MS = 86_400_000


def test_a_senders_id_is_the_key_for_the_whole_window() -> None:
    key = dedup_key("order-7", body_digest("{}"), DAY_MS)
    assert (key.key, key.window_ms, key.is_sender_id) == ("id:order-7", DAY_MS, True)


def test_without_an_id_the_body_is_the_key_for_a_short_while() -> None:
    digest = body_digest('{"a":1}')
    key = dedup_key(None, digest, DAY_MS)
    assert (key.key, key.window_ms, key.is_sender_id) == (f"body:{digest}", BODY_WINDOW_MS, False)


def test_a_body_cannot_pass_for_an_id() -> None:
    digest = body_digest("{}")
    assert dedup_key(None, digest, DAY_MS).key != dedup_key(digest, digest, DAY_MS).key


def test_different_bodies_have_different_digests() -> None:
    assert body_digest('{"action":"buy"}') != body_digest('{"action":"sell"}')
