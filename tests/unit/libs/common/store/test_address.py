"""What may stand in the address of Redis."""

import pytest

from libs.common.domain.errors import ConfigError
from libs.common.store.address import Address, read_address
from libs.common.store.client import connect


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://example:6380/2", {"host": "example", "port": 6380, "db": 2}),
        ("redis://ingress:p%40ss@example", {"host": "example", "username": "ingress", "password": "p@ss"}),
        ("redis://:secret@example/0", {"host": "example", "password": "secret", "db": 0}),
        ("unix:///run/redis.sock?db=1", {"path": "/run/redis.sock", "db": 1}),
        (
            "unix://worker:pw@/run/redis.sock",
            {"path": "/run/redis.sock", "username": "worker", "password": "pw"},
        ),
        ("redis://example?username=u&password=p", {"host": "example", "username": "u", "password": "p"}),
    ],
)
def test_an_address_says_where_and_who(url: str, expected: dict[str, object]) -> None:
    assert read_address(url) == Address(expected, None)


@pytest.mark.parametrize(
    ("url", "options", "seeds"),
    [
        ("redis+cluster://one:7001,two", {}, (("one", 7001), ("two", 6379))),
        (
            "redis+cluster://u:p%40ss@one:1,two:2/0",
            {"username": "u", "password": "p@ss"},
            (("one", 1), ("two", 2)),
        ),
        ("redis+cluster://[::1]:7001?password=p", {"password": "p"}, (("::1", 7001),)),
    ],
)
def test_an_address_of_a_cluster_names_some_of_its_nodes(
    url: str, options: dict[str, object], seeds: tuple[tuple[str, int], ...]
) -> None:
    assert read_address(url) == Address(options, None, seeds)


@pytest.mark.parametrize(
    ("url", "options", "seeds", "identity"),
    [
        ("redis+sentinel://one:1,two/desk", {}, (("one", 1), ("two", 26_379)), {}),
        (
            "redis+sentinel://u:p%40ss@one,two:2/my%20desk/3?sentinel_password=w%40tch",
            {"username": "u", "password": "p@ss", "db": 3},
            (("one", 26_379), ("two", 2)),
            {"password": "w@tch"},
        ),
        (
            "redis+sentinel://[::1]:7/desk/0?password=p&sentinel_username=s&sentinel_password=w",
            {"password": "p", "db": 0},
            (("::1", 7),),
            {"username": "s", "password": "w"},
        ),
    ],
)
def test_an_address_of_sentinels_names_them_and_what_they_watch(
    url: str,
    options: dict[str, object],
    seeds: tuple[tuple[str, int], ...],
    identity: dict[str, str],
) -> None:
    service = "my desk" if "my%20desk" in url else "desk"
    assert read_address(url) == Address(options, None, seeds, service, identity)


def test_sentinels_are_spoken_to_by_tls_where_the_servers_are() -> None:
    address = read_address("rediss+sentinel://one,two/desk")
    assert address.tls is not None
    assert address.service == "desk"


def test_every_node_of_a_cluster_may_be_spoken_to_by_tls() -> None:
    address = read_address("rediss+cluster://one:7001,two:7002")
    assert address.tls is not None
    assert address.seeds == (("one", 7001), ("two", 7002))


def test_tls_keeps_its_files_apart_from_what_redis_py_is_told() -> None:
    address = read_address("rediss://example:6380/0")
    options, tls = address.options, address.tls
    assert options == {"host": "example", "port": 6380, "db": 0}
    assert tls is not None
    assert (tls.ca, tls.certificate, tls.key) == (None, None, None)
    assert tls.context().check_hostname


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("redis://example?socket_timeout=60", '"socket_timeout" is no option'),
        ("redis://example?retry_on_timeout=true", '"retry_on_timeout" is no option'),
        ("redis://example?protocol=3", '"protocol" is no option'),
        ("rediss://example?ssl_cert_reqs=none", '"ssl_cert_reqs" is no option'),
        ("rediss://example?ssl_check_hostname=false", '"ssl_check_hostname" is no option'),
        ("redis://example?ssl_ca_certs=/ca.pem", "addresses that begin with rediss://"),
        ("unix:///run/redis.sock?ssl_certfile=/me.pem", "addresses that begin with rediss://"),
        ("rediss://example?ssl_ca_certs=", '"ssl_ca_certs" is empty'),
        ("rediss://example?ssl_keyfile=/me.key", '"ssl_keyfile" needs "ssl_certfile"'),
        ("redis://example:port/0", "cannot be read"),
        ("http://example", "cannot be read"),
        ("redis://example?db=one", "cannot be read"),
        ("redis+cluster://one:7001/1", "a Redis Cluster has database 0 only"),
        ("redis+cluster://one:7001?db=1", "a Redis Cluster has database 0 only"),
        ("redis+cluster://one:7001,,two", "host:port,host:port"),
        ("redis+cluster://", "host:port,host:port"),
        ("redis+cluster://one:port", "cannot be read"),
        ("redis+sentinel://one,two", "names no service"),
        ("redis+sentinel://one,two/", "names no service"),
        ("redis+sentinel://one,two/desk/0/1", "names no service"),
        ("redis+sentinel://one,two/desk/one", "names no service"),
        ("redis+sentinel://one,,two/desk", "host:port,host:port"),
        ("redis+sentinel://one/desk?sentinel_username=u", '"sentinel_username" needs "sentinel_password"'),
        ("redis+sentinel://one/desk?sentinel_password=", '"sentinel_password" is empty'),
        ("redis+sentinel://one/desk?ssl_ca_certs=/ca.pem", "addresses that begin with rediss://"),
        ("redis://one?sentinel_password=p", "addresses that begin with redis.sentinel://"),
        ("redis+cluster://one?sentinel_password=p", "addresses that begin with redis.sentinel://"),
        ("redis+cluster://one?ssl_ca_certs=/ca.pem", "addresses that begin with rediss://"),
    ],
)
def test_what_would_undo_our_settings_or_cannot_be_read_is_refused(url: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as refused:
        read_address(url)
    assert len(str(refused.value).splitlines()) == 1


async def test_no_option_is_left_to_an_address() -> None:
    client = connect("redis://example/0", timeout_s=3)
    kwargs = client.connection_pool.connection_kwargs
    assert (kwargs["protocol"], kwargs["socket_timeout"], kwargs["retry_on_error"]) == (2, 3, [])
