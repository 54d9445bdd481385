import time
from collections.abc import Iterator

import pytest
import redis

from tests.support.eventually import eventually_sync
from tests.support.proxy import Proxy
from tests.support.redis_server import RedisServer


@pytest.fixture
def proxy(redis_server: RedisServer) -> Iterator[Proxy]:
    with Proxy(redis_server.url) as proxy:
        yield proxy


def through(proxy: Proxy, timeout_s: float = 1.0) -> redis.Redis:
    return redis.Redis.from_url(
        proxy.url, decode_responses=True, protocol=2, socket_timeout=timeout_s, retry=None
    )


def answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.ConnectionError:
        return False


def test_a_lost_reply_belongs_to_a_request_that_was_executed(redis_server: RedisServer, proxy: Proxy):
    with through(proxy) as client, redis_server.client() as direct:
        client.ping()
        proxy.lose_next_reply()
        with pytest.raises(redis.ConnectionError):
            client.incr("n")
        assert direct.get("n") == "1"
        assert proxy.lost_replies == 1
        assert client.incr("n") == 2


def test_only_the_reply_to_the_request_that_was_meant_is_lost(proxy: Proxy):
    with through(proxy) as client:
        proxy.lose_next_reply(b"wanted")
        client.set("other", "1")
        with pytest.raises(redis.ConnectionError):
            client.set("wanted", "1")
        assert client.get("wanted") == "1"


def test_a_silent_loss_runs_into_the_callers_time_out(redis_server: RedisServer, proxy: Proxy):
    with through(proxy, timeout_s=0.2) as client, redis_server.client() as direct:
        client.ping()
        proxy.lose_next_reply(is_silent=True)
        with pytest.raises(redis.TimeoutError):
            client.incr("n")
        assert direct.get("n") == "1"


def test_a_reply_can_be_cut(redis_server: RedisServer, proxy: Proxy):
    with through(proxy) as client, redis_server.client() as direct:
        direct.set("long", "x" * 1_000)
        client.ping()
        proxy.lose_next_reply(after_bytes=100)
        with pytest.raises(redis.ConnectionError):
            client.get("long")


def test_a_black_hole_holds_requests_back_until_it_is_over(redis_server: RedisServer, proxy: Proxy):
    with through(proxy, timeout_s=0.2) as client, redis_server.client() as direct:
        client.ping()
        proxy.black_hole()
        with pytest.raises(redis.TimeoutError):
            client.incr("n")
        assert direct.get("n") is None
        proxy.pass_through()
        assert client.incr("n") >= 1


@pytest.mark.alone
def test_a_delay_is_added_to_each_reply(proxy: Proxy):
    with through(proxy) as client:
        client.ping()
        proxy.delay(150)
        started_s = time.monotonic()
        client.ping()
        assert 0.14 < time.monotonic() - started_s < 1


def test_a_refusing_proxy_breaks_open_connections_and_new_ones(proxy: Proxy):
    with through(proxy) as client:
        client.ping()
        proxy.refuse()
        for _ in range(2):
            with pytest.raises(redis.ConnectionError):
                client.ping()
        proxy.pass_through()
        assert client.ping()


def test_a_reset_breaks_open_connections_only(proxy: Proxy):
    with through(proxy) as client, client.client() as held:
        held.ping()
        proxy.reset_connections()
        with pytest.raises(redis.ConnectionError):
            held.ping()
        assert client.ping()


def test_a_restarted_server_is_reached_again(redis_server: RedisServer, proxy: Proxy):
    with through(proxy) as client:
        client.ping()
        redis_server.restart()
        assert eventually_sync(lambda: answers(client))


def test_tcp_is_forwarded_too():
    with RedisServer(tcp=True) as server, Proxy(server.tcp_url) as proxy, through(proxy) as client:
        client.set("a", "1")
        proxy.lose_next_reply()
        with pytest.raises(redis.ConnectionError):
            client.incr("a")
        assert client.get("a") == "2"
