"""What a test must not leave in Redis: keys that neither expire nor are declared permanent."""

import re
from typing import Final

import redis

OPEN_STATES = {
    "instruction": frozenset({"QUEUED", "ACTIVE"}),
    "order": frozenset({"SENDING", "UNKNOWN", "NOT_EXECUTED", "ACCEPTED", "PARTIAL"}),
}


_PERMANENT: Final = frozenset(
    {
        "ready",
        "lanes",
        "parked",
        "dead",
        "journal",
        "refused",
        "breakers",
        "meta",
        "workers",
        "webhooks",
        "symbols",
        "halts",
        "following",
        "alarms",
        "notices",
        "watch",
        "habits",
    }
)
_PERMANENT_FAMILY: Final = re.compile(
    r"lane:.+|paper:[^:]+:positions|(?:positions|fills|reconciled|risk):[^:]+"
)


def is_permanent(key: str) -> bool:
    """Tell whether a key may live without an expiry.

    Lane streams are deleted when they are empty; the paper broker's positions are balances; published ones bear the
    time of their reading; streams of fills are bounded by their length.
    """
    prefix, tag, name = key.partition("}:")
    if not tag or not prefix.startswith("bascule:{s"):
        return False
    return name in _PERMANENT or _PERMANENT_FAMILY.fullmatch(name) is not None


def find_stray_keys(client: redis.Redis, *, allow_open: bool = False) -> list[str]:
    """Return every key without an expiry that `is_permanent` does not name.

    Args:
        client: A client that decodes its answers.
        allow_open: Let the records of work that has not ended be: they get their expiry with its end. That is for
            tests that stop half-way; after a whole run there is no such work.
    """
    keys = sorted(set(client.scan_iter(count=2_000)))
    with client.pipeline(transaction=False) as pipeline:
        for key in keys:
            pipeline.pttl(key)
        expiries = pipeline.execute()
    lasting = [
        key for key, expiry in zip(keys, expiries, strict=True) if expiry == -1 and not is_permanent(key)
    ]
    return [
        key for key in lasting if not _is_followed(client, key) and not (allow_open and _is_open(client, key))
    ]


def assert_no_stray_keys(client: redis.Redis, *, allow_open: bool = False) -> None:
    """Fail with the list of stray keys, if there are any: see `find_stray_keys`."""
    stray = find_stray_keys(client, allow_open=allow_open)
    shown = "\n  ".join(stray[:20])
    assert not stray, f"{len(stray)} keys neither expire nor are declared permanent:\n  {shown}"


def _is_followed(client: redis.Redis, key: str) -> bool:
    """Tell whether it is the record of an order that rests at its venue; it gets its expiry when that ends."""
    prefix, kind, order = key.rpartition("order:")
    return kind != "" and client.zscore(f"{prefix}following", order) is not None


def _is_open(client: redis.Redis, key: str) -> bool:
    kind = key.partition("}:")[2].partition(":")[0]
    if client.type(key) != "hash":
        return False
    if kind == "alert":
        return int(client.hget(key, "open") or 0) > 0
    if kind == "instruction":
        # One that its account declined ended at birth; it goes with its alert.
        prefix, _, alert = key.rpartition(":")[0].rpartition("instruction:")
        record = f"{prefix}alert:{alert}"
        if client.type(record) == "hash" and int(client.hget(record, "open") or 0) > 0:
            return True
    if kind == "order":
        # The first order of an instruction that has not ended may have.
        prefix = key.partition("order:")[0]
        record = f"{prefix}instruction:{client.hget(key, 'alert')!s}:{client.hget(key, 'account')!s}"
        if client.type(record) == "hash" and client.hget(record, "state") in OPEN_STATES["instruction"]:
            return True
    return client.hget(key, "state") in OPEN_STATES.get(kind, frozenset())
