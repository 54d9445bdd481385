"""A whole bridge whose Redis is behind TLS and asks for client certificates."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.commands import bascule, run
from tests.support.bridge import Bridge
from tests.support.eventually import eventually_sync
from tests.support.service import Service
from tests.support.tls_redis import Desk, TlsServer, tls_server

pytestmark = pytest.mark.redis


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk.at(tmp_path)


def with_certificate(redis: TlsServer, desk: Desk, ca: Path) -> str:
    certificate, key = desk.issue("bridge", "DNS:bridge")
    return redis.address(ssl_ca_certs=ca, ssl_certfile=certificate, ssl_keyfile=key)


async def test_a_bridge_trades_over_tls_and_its_commands_find_it(
    desk: Desk, bridge_factory: Callable[..., Bridge]
) -> None:
    with tls_server(desk, *desk.issue("redis"), tls_auth_clients="yes") as redis:
        bridge = bridge_factory(with_certificate(redis, desk, desk.ours.certificate), server=redis.server)
        answers = await bridge.send_many([bridge.alert(symbol=f"S{n % 5}") for n in range(50)])
        assert [status for status, _ in answers] == [200] * 50
        assert await bridge.wait_ended(50) == {"EXECUTED": 50}
        await run(bridge, "status")
        assert (await bascule(bridge, "check")).code == 0
        for service in bridge.services:
            assert service.terminate().code == 0


@pytest.mark.parametrize("name", ["ingress", "worker", "reaper"])
async def test_a_service_that_does_not_trust_its_redis_ends_with_one_line(
    desk: Desk, bridge_factory: Callable[..., Bridge], name: str
) -> None:
    with tls_server(desk, *desk.issue("redis"), tls_auth_clients="yes") as redis:
        url = with_certificate(redis, desk, desk.strangers.certificate)
        bridge = bridge_factory(url, server=redis.server, is_started=False)
        [service] = [one for one in bridge.services if one.name == name]
        said = ended(service.start())
        assert "certificate is not accepted" in said
        assert "ssl_ca_certs" in said

        refused = await bascule(bridge, "check")
        assert refused.code == 1
        assert "certificate is not accepted" in refused.stdout


@pytest.mark.parametrize("name", ["ingress", "worker", "reaper"])
def test_a_file_that_is_not_there_ends_a_service_with_one_line(
    desk: Desk, bridge_factory: Callable[..., Bridge], name: str
) -> None:
    bridge = bridge_factory("rediss://127.0.0.1:1/0?ssl_ca_certs=/nowhere/ca.pem", is_started=False)
    [service] = [one for one in bridge.services if one.name == name]
    assert "/nowhere/ca.pem: No such file" in ended(service.start())


def ended(service: Service) -> str:
    """Return what a process said at its end, which must be one line."""
    eventually_sync(lambda: service.exit_code is not None, 20, message=f"{service.label} ends")
    assert service.exit_code == 1
    said = service.errors()
    assert len(said.splitlines()) == 1, said
    return said
