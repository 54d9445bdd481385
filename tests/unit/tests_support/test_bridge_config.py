from tests.support.bridge_config import merge


def test_sections_are_merged_and_none_takes_a_key_away():
    base = {"a": {"x": 1, "y": 2}, "b": 3}
    assert merge(base, {"a": {"y": 4, "z": 5}, "b": None}) == {"a": {"x": 1, "y": 4, "z": 5}}


def test_another_broker_replaces_the_account():
    base = {"desk": {"broker": "http", "url": "http://x", "secret": "S"}}
    assert merge(base, {"desk": {"broker": "log"}}) == {"desk": {"broker": "log"}}
