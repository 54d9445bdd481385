"""A receiver as many are written on Flask: read the JSON, compare the secret, answer.

Flask (pallets/flask) under gunicorn (benoitc/gunicorn) with one synchronous worker, as their manuals show them: one request at
a time, and a new connection for each. With `PEER_REDIS` set every alert is pushed on a list before it is answered, an LPUSH
each, through redis-py. Without, an alert that was answered is kept nowhere. Neither knows a duplicate.

Environment: PEER_SECRET; PEER_REDIS (path of the socket; nothing is kept without).
"""

import hmac
import json
import os

from flask import Flask, abort, request
from redis import Redis

SECRET = os.environ["PEER_SECRET"].encode()
REDIS = os.environ.get("PEER_REDIS")

app = Flask(__name__)
redis = Redis(unix_socket_path=REDIS) if REDIS else None


@app.post("/webhook")
def webhook() -> dict[str, bool]:
    """Answer an alert once it is read and, where there is a Redis, kept."""
    alert = request.get_json()
    if not hmac.compare_digest(str(alert.pop("secret", "")).encode(), SECRET):
        abort(401)
    if redis is not None:
        redis.lpush("alerts", json.dumps(alert))
    return {"ok": True}
