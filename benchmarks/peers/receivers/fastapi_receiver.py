"""A receiver as many are written on FastAPI: a pydantic model checks the body, the handler compares the secret and answers.

FastAPI (fastapi/fastapi) with pydantic, under uvicorn, as its manual shows them. With `PEER_REDIS` set every alert
is added to a stream before it is answered, an XADD each, through redis-py's asyncio client and its pool. Without, an alert
that was answered is kept nowhere. Neither knows a duplicate.

Environment: PEER_SECRET; PEER_REDIS (path of the socket; nothing is kept without).
"""

import hmac
import os
from decimal import Decimal
from typing import Literal

from fastapi import FastAPI, HTTPException
from pydantic import BaseModel
from redis.asyncio import Redis

SECRET = os.environ["PEER_SECRET"].encode()
REDIS = os.environ.get("PEER_REDIS")


class Alert(BaseModel):
    """The body of a post."""

    secret: str
    id: str
    symbol: str
    action: Literal["buy", "sell", "close"]
    quantity: Decimal | None = None
    price: Decimal | None = None


app = FastAPI(openapi_url=None)
redis = Redis(unix_socket_path=REDIS) if REDIS else None


@app.post("/webhook")
async def webhook(alert: Alert) -> dict[str, bool]:
    """Answer an alert once it is checked and, where there is a Redis, kept."""
    if not hmac.compare_digest(alert.secret.encode(), SECRET):
        raise HTTPException(401)
    if redis is not None:
        await redis.xadd("alerts", {"alert": alert.model_dump_json(exclude={"secret"})})
    return {"ok": True}
