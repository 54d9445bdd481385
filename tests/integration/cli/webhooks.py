"""What the tests of `bascule webhook` have in common."""

import io
import re
import sys
from collections.abc import Mapping
from typing import Any

import pytest

from libs.common.domain.ids import WebhookName
from libs.common.policy.authentication import Credentials, is_token
from libs.common.policy.webhook import Webhook
from libs.common.store.tables import TableStore
from tests.integration.cli.conftest import CommandLine
from tests.support.filled_store import FilledStore

HOUR_MS = 3_600_000
CREDENTIAL = re.compile(r"[A-Za-z0-9]{32,}")


def webhooks(bascule: CommandLine) -> Mapping[WebhookName, Webhook]:
    async def read(store: FilledStore) -> Mapping[WebhookName, Webhook]:
        return (await TableStore(store.client, store.keys).read()).webhooks

    return bascule.fill(read)


def stored(bascule: CommandLine, name: str = "alpha") -> Webhook:
    return webhooks(bascule)[WebhookName(name)]


def now_ms(bascule: CommandLine) -> int:
    async def read(store: FilledStore) -> int:
        seconds, micros = await store.client.time()
        return int(seconds) * 1_000 + int(micros) // 1_000

    return bascule.fill(read)


def create(bascule: CommandLine, *options: str, name: str = "alpha") -> Any:
    outcome = bascule("webhook", "create", name, "--account", "paper", *options, "--json")
    assert outcome.code == 0, outcome.err
    return outcome.json


def type_in(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(text))


def accepts(webhook: Webhook, secret: str, at_ms: int) -> bool:
    return Credentials(webhook.secrets).accept(secret, at_ms)


def serves(webhook: Webhook, token: str, at_ms: int) -> bool:
    return any(is_token(token, one, at_ms) for one in webhook.tokens)


def everything_in_redis(bascule: CommandLine) -> bytes:
    with bascule.redis.client(decode_responses=False) as client:
        return b"".join(client.dump(key) for key in client.keys("*"))
