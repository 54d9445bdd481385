"""A running server, and one that waits for nobody."""

from collections.abc import AsyncIterator

import pytest

from libs.common.web import protocol
from tests.unit.libs.common.web.running_server import Running, serving


@pytest.fixture
async def running(request: pytest.FixtureRequest) -> AsyncIterator[Running]:
    async with serving(takes_whole=getattr(request, "param", True)) as one:
        yield one


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "HEAD_S", 0.5)
    monkeypatch.setattr(protocol, "UNREAD_S", 0.5)
