"""Webhooks made at run time, with credentials that follow from their names."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from libs.common.domain.ids import AccountName, WebhookName
from libs.common.policy.authentication import HashedToken, hash_secret, token_digest
from libs.common.policy.webhook import Webhook
from libs.common.store.client import connect
from libs.common.store.keys import Keys
from libs.common.store.tables import TableStore
from tests.support.bridge import Bridge
from tests.support.bridge_config import ACCOUNT
from tests.support.eventually import eventually
from tests.support.service import Service


def token_of(name: str) -> str:
    """Return the token of a webhook's URL."""
    return f"token0123456789of{name}"


def secret_of(name: str) -> str:
    """Return the secret in the bodies of its alerts."""
    return f"secret0123456789of{name}"


def made_webhook(name: str, **changes: Any) -> Webhook:
    """Return a webhook of the account `desk` as the command makes it, but for `changes`."""
    whole: dict[str, Any] = {
        "name": WebhookName(name),
        "accounts": (AccountName(ACCOUNT),),
        "tokens": (HashedToken(token_digest(token_of(name))),),
        "secrets": (hash_secret(secret_of(name), f"salt of {name}"),),
        "created_at_ms": 1,
    }
    return Webhook(**{**whole, **changes})


@asynccontextmanager
async def table_store(url: str) -> AsyncIterator[TableStore]:
    """Give the store that webhooks are made in."""
    client = connect(url, timeout_s=5)
    try:
        yield TableStore(client, Keys())
    finally:
        await client.aclose()


async def make_webhooks(bridge: Bridge, *webhooks: Webhook) -> None:
    """Store webhooks, and wait until every ingress that runs knows them."""
    async with table_store(bridge.redis_url) as tables:
        for webhook in webhooks:
            await tables.put_webhook(webhook, None, "created")
        revision = await tables.revision()
    known_by = [ingress for ingress in bridge.ingresses if ingress.is_running]
    await eventually(lambda: all(knows(ingress, revision) for ingress in known_by), message="all know them")


def knows(ingress: Service, revision: int) -> bool:
    """Tell whether an ingress has read the tables of a revision."""
    read = [event["revision"] for event in ingress.log() if event.get("event") == "webhooks_read"]
    return bool(read) and read[-1] >= revision
