"""The relay's own start."""

import asyncio

import pytest
from prometheus_client import CollectorRegistry

from libs.common.runtime.service import Process
from libs.common.web.server import HttpServer
from libs.common.wire.masking import Masker
from services.relay.__main__ import main
from services.relay.settings import relay_settings
from tests.support.clock import ManualClock
from tests.support.eventually import eventually
from tests.support.ports import free_port


async def test_it_can_be_found_ready_only_once_it_takes_posts(
    clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    port, ops_port = free_port(), free_port()
    settings = relay_settings(
        {
            "RELAY_UPSTREAM": "https://bridge.example/webhook",
            "RELAY_SIGNING_KEY": "a-signing-key-of-length",
            "RELAY_PORT": str(port),
            "BASCULE_OPS_PORT": str(ops_port),
        }
    )
    process = Process("relay", Masker(()), CollectorRegistry(), clock, asyncio.Event())
    listening: list[int] = []
    start = HttpServer.start

    async def noted(server: HttpServer) -> None:
        await start(server)
        listening.append(server.port)

    monkeypatch.setattr(HttpServer, "start", noted)
    running = asyncio.create_task(main(process, settings))
    await eventually(lambda: len(listening) == 2)
    process.stopping.set()
    await running

    assert listening == [port, ops_port]
