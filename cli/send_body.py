"""What `bascule send` posts: plain samples, a dialect's, or a file's; signed where that is asked for."""

import json
import secrets
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote_plus

import click

from cli.bridge_secrets import default_variable, find_secret
from cli.context import Bridge
from cli.output import Failure

DEFAULT_SYMBOL: Final = "BTCUSDT"
DEFAULT_ACTION: Final = "buy"
DEFAULT_PRICE: Final = "68000.5"
DEFAULT_QUANTITY: Final = "0.01"

JSON_TYPE: Final = "application/json"
TEXT_TYPE: Final = "text/plain"
FORM_TYPE: Final = "application/x-www-form-urlencoded"

SIGNATURE_HEADER: Final = "X-Signature"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What was asked for on the command line; None where nothing was."""

    symbol: str | None = None
    action: str | None = None
    price: str | None = None
    quantity: str | None = None
    sender_id: str | None = None
    dialect: str | None = None
    body: bytes | None = None
    """To be posted as it is."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One post."""

    content: bytes
    headers: dict[str, str]
    sender_id: str | None
    """By which the alert can be found again; None where we do not know it."""


@dataclass(frozen=True, slots=True)
class Form:
    """How a body is sent."""

    content_type: str | None = None
    """None: as TradingView chooses."""
    signing_key: str | None = None

    def outgoing(self, text: bytes, sender_id: str | None) -> Outgoing:
        """Return the post of a body."""
        from libs.common.wire.signing import sign_body

        # A form whose only key is the message, as senders make it that always send forms.
        content = text if self.content_type != FORM_TYPE else f"{quote_plus(text)}=".encode()
        headers = {"content-type": self.content_type or content_type_of(text)}
        if self.signing_key is not None:
            headers[SIGNATURE_HEADER] = sign_body(self.signing_key, content)
        return Outgoing(content, headers, sender_id)


def content_type_of(body: bytes) -> str:
    """Return the content type that TradingView declares: JSON where a body is JSON, else text."""
    try:
        json.loads(body)
    except ValueError:
        return TEXT_TYPE
    return JSON_TYPE


def posts(wanted: Wanted, form: Form, secret: str, count: int) -> Iterator[Outgoing]:
    """Yield what is to be posted, each with an id of its own unless one was given.

    Args:
        wanted: What.
        form: How.
        secret: Put where the dialect has its credential; empty where none is needed.
        count: How many.
    """
    for _ in range(count):
        if wanted.body is not None:
            yield form.outgoing(wanted.body, None)
            continue
        sender_id = wanted.sender_id or f"send-{secrets.token_hex(8)}"
        text = (
            _plain(wanted, secret, sender_id)
            if wanted.dialect is None
            else _sample(wanted, secret, sender_id)
        )
        yield form.outgoing(text.encode("utf-8", "surrogateescape"), sender_id)


def needs_secret(wanted: Wanted, *, has_token: bool, is_signed: bool) -> bool:
    """Return whether a body is to hold a secret.

    Not where a signature stands in its place, nor where the URL's token does for want of a place.
    """
    if wanted.body is not None or is_signed:
        return False
    if wanted.dialect is None or not has_token:
        return True
    from libs.common.wire.dialects.catalogue import BY_NAME

    return BY_NAME[wanted.dialect].credential is not None


def default_secret(bridge: Bridge | None) -> str:
    """Return the default webhook's secret.

    Raises:
        Failure: It is nowhere to be found.
        ConfigError: It is there, but empty or not to be read.
    """
    variable = default_variable(bridge)
    found = find_secret(bridge, variable)
    if found is None:
        raise Failure(
            f"no webhook secret: set {variable} to the one that the bridge has, or give --secret-stdin"
        )
    return found


def signing_key(bridge: Bridge | None, name: str | None, variable: str | None) -> str | None:
    """Return the key to sign with: one of the configuration's `signing_keys`, or what a variable holds.

    Raises:
        Failure: There is no such key, or its variable is not set.
        ConfigError: The configuration cannot be read, or the variable is empty.
    """
    if name is not None:
        settings = None if bridge is None else bridge.settings()
        if settings is None:
            raise Failure("--sign takes a key of the configuration, and none is known: set BASCULE_CONFIG")
        variable = settings.signing_keys.get(name)
        if variable is None:
            there_are = ", ".join(settings.signing_keys) or "none"
            raise Failure(f"no signing key {name}: signing_keys has {there_are}")
    if variable is None:
        return None
    found = find_secret(bridge, variable)
    if found is None:
        raise Failure(f"no key to sign with: set {variable}")
    return found


def read_secret_line() -> str:
    """Return the first line of stdin; asked for without an echo where people type it.

    Raises:
        Failure: It is empty.
    """
    if sys.stdin.isatty():
        import getpass

        line = getpass.getpass("Secret (not shown): ", stream=sys.stderr)
    else:
        line = sys.stdin.readline().rstrip("\r\n")
    if not line:
        raise Failure("--secret-stdin: the first line of stdin is empty")
    return line


def check_dialect(_: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """Return the name of a dialect, whatever its case; a callback of options."""
    if value is None:
        return None
    from libs.common.wire.dialects.catalogue import BY_NAME

    if value.lower() not in BY_NAME:
        raise click.BadParameter(f'got "{value}", expected {" or ".join(BY_NAME)}', param=param)
    return value.lower()


def _plain(wanted: Wanted, secret: str, sender_id: str) -> str:
    fields = {
        "secret": secret or None,
        "symbol": wanted.symbol or DEFAULT_SYMBOL,
        "action": wanted.action or DEFAULT_ACTION,
        "price": wanted.price,
        "quantity": wanted.quantity,
        "id": sender_id,
    }
    return json.dumps({name: value for name, value in fields.items() if value is not None})


def _sample(wanted: Wanted, secret: str, sender_id: str) -> str:
    from libs.common.wire.dialects.catalogue import BY_NAME
    from libs.common.wire.dialects.sample import Sample, sample_body

    assert wanted.dialect is not None
    sample = Sample(
        symbol=wanted.symbol or DEFAULT_SYMBOL,
        action=wanted.action or DEFAULT_ACTION,
        price=wanted.price or DEFAULT_PRICE,
        quantity=wanted.quantity or DEFAULT_QUANTITY,
        order_id=sender_id,
        at_ms=int(time.time() * 1_000),
    )
    return sample_body(BY_NAME[wanted.dialect], sample, secret)
