import pytest
import redis

from tests.support.eventually import eventually_sync
from tests.support.redis_server import RedisServer


def test_a_killed_server_keeps_every_acknowledged_write(private_redis: RedisServer):
    with private_redis.client() as client:
        for number in range(200):
            client.xadd("acknowledged", {"n": number})
        private_redis.kill()
        with pytest.raises(redis.ConnectionError):
            client.ping()
    private_redis.start()
    with private_redis.client() as client:
        assert client.xlen("acknowledged") == 200


def test_every_write_is_fsynced_and_nothing_is_evicted(private_redis: RedisServer):
    with private_redis.client() as client:
        wanted = {"appendonly": "yes", "appendfsync": "always", "maxmemory-policy": "noeviction"}
        assert {name: client.config_get(name)[name] for name in wanted} == wanted


def test_the_server_is_the_one_that_was_asked_for(private_redis: RedisServer):
    with private_redis.client() as client:
        told = tuple(int(part) for part in client.info("server")["redis_version"].split("."))
    assert told == private_redis.version


def test_a_frozen_server_answers_nothing_until_it_is_thawed(private_redis: RedisServer):
    private_redis.freeze()
    with private_redis.client(socket_timeout=0.2) as client:
        with pytest.raises(redis.TimeoutError):
            client.ping()
        private_redis.thaw()
        assert eventually_sync(client.ping)


def test_a_frozen_server_can_be_stopped(private_redis: RedisServer):
    private_redis.freeze()
    private_redis.stop()
    assert not private_redis.is_running


def test_a_reset_takes_back_keys_settings_and_connections(redis_server: RedisServer):
    old = redis_server.client()
    old.set("left", "behind")
    old.config_set("maxmemory", "1mb")
    redis_server.reset()
    with redis_server.client() as client:
        assert client.dbsize() == 0
        assert client.config_get("maxmemory") == {"maxmemory": "0"}
        assert len(client.client_list()) == 1
    old.close()


def test_a_tcp_port_serves_the_same_data():
    with RedisServer(tcp=True) as server, server.client() as client:
        client.set("a", "1")
        with redis.Redis.from_url(server.tcp_url, decode_responses=True, protocol=2) as other:
            assert other.get("a") == "1"


def test_options_override_the_defaults():
    with RedisServer(options={"appendonly": "no"}) as server, server.client() as client:
        assert client.config_get("appendonly") == {"appendonly": "no"}


def test_a_server_that_does_not_start_says_why():
    server = RedisServer(options={"maxmemory-policy": "no-such-policy"})
    with pytest.raises(RuntimeError, match="no-such-policy"), server:
        pass
    assert not server.directory.exists()
