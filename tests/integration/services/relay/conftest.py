"""A relay process in front of a recording upstream."""

from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from services.relay.settings import derived_token
from tests.support.ports import free_port
from tests.support.service import Service
from tests.support.upstream import Upstream

KEY = "a-signing-key-of-length"


@dataclass
class Relay:
    """A relay process and its own URL."""

    service: Service
    port: int
    path: str

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"{self.origin}{self.path}"


@pytest.fixture
def relay_factory(tmp_path: Path) -> Iterator[Callable[..., Relay]]:
    """Starts a relay for an upstream's URL, open to the loopback address unless told otherwise."""
    services: list[Service] = []

    def make(upstream: str, **variables: str) -> Relay:
        port = free_port()
        environment = {
            "BASCULE_CONFIG": "/nowhere",
            "RELAY_UPSTREAM": upstream,
            "RELAY_SIGNING_KEY": KEY,
            "RELAY_PORT": str(port),
            "RELAY_ALLOW": "127.0.0.1",
            **variables,
        }
        service = Service("relay", {}, tmp_path, environment=environment, label=f"relay-{len(services) + 1}")
        services.append(service)
        service.start().wait_ready()
        return Relay(service, port, f"/relay/{variables.get('RELAY_TOKEN', derived_token(KEY).reveal())}")

    yield make
    for service in services:
        service.kill()


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    async with Upstream() as running:
        yield running


@pytest.fixture
def relay(upstream: Upstream, relay_factory: Callable[..., Relay]) -> Relay:
    """One whose posts go to `upstream`."""
    return relay_factory(f"{upstream.url}/webhook")
