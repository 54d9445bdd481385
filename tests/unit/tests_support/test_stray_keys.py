import pytest

from tests.support.redis_server import RedisServer
from tests.support.stray_keys import assert_no_stray_keys, find_stray_keys


def test_a_key_without_an_expiry_is_stray_unless_it_is_declared_permanent(redis_server: RedisServer):
    with redis_server.client() as client:
        client.set("bascule:{s0}:seen:default:a", "1", ex=60)
        client.hset("bascule:{s0}:lanes", "lane", "token|")
        assert_no_stray_keys(client)
        client.hset("bascule:{s0}:order:c-1", "state", "FILLED")
        with pytest.raises(AssertionError, match="order:c-1"):
            assert_no_stray_keys(client, allow_open=True)


@pytest.mark.parametrize(
    ("key", "field", "value"),
    [
        ("bascule:{s0}:instruction:a:desk", "state", "QUEUED"),
        ("bascule:{s0}:order:c-1", "state", "UNKNOWN"),
        ("bascule:{s0}:alert:a", "open", "1"),
    ],
)
def test_the_record_of_open_work_is_stray_only_after_a_whole_run(
    redis_server: RedisServer, key: str, field: str, value: str
):
    with redis_server.client() as client:
        client.hset(key, field, value)
        assert find_stray_keys(client, allow_open=True) == []
        assert find_stray_keys(client) == [key]
