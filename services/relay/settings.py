"""What the relay goes by: a few variables of the environment, and no file.

RELAY_UPSTREAM         where to: the whole URL of a webhook; or RELAY_UPSTREAM_FILE
RELAY_SIGNING_KEY      what posts are signed with, at least 16 characters; or RELAY_SIGNING_KEY_FILE
RELAY_TOKEN            the last part of the relay's own URL; or RELAY_TOKEN_FILE; made from the signing key if unset
RELAY_ALLOW            who may post: addresses, CIDR blocks, `tradingview` (if unset), `any`; separated by commas
RELAY_TRUSTED_PROXIES  proxies whose X-Forwarded-For counts: addresses and CIDR blocks
RELAY_HOST, RELAY_PORT where to listen; 127.0.0.1:8090
RELAY_MAX_BODY         the longest body, in bytes; 40960, as TradingView's
RELAY_TIMEOUT          from the start of a post to its answer; 2s
RELAY_OPS_HOST         where probes and metrics are, with BASCULE_OPS_PORT; 127.0.0.1:9104
"""

import base64
import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from libs.common.domain.errors import ConfigError
from libs.common.policy.addresses import ANY, NAMED_SETS, AddressList
from libs.common.runtime.durations import DurationMs
from libs.common.runtime.secrets import Secret, has_secret, read_secret
from libs.common.wire.web_address import is_web_address, origin_of

LONGEST_TIMEOUT_MS: Final = 2_500
"""TradingView hangs up after 3 s, and does not send again then."""

MIN_SECRET_LENGTH: Final = 16

_MAX_BODY_BYTES: Final = 1_048_576
_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]{16,128}", re.ASCII)
_DERIVED_BYTES: Final = 20
_SEPARATOR: Final = re.compile(r"[,\s]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class RelaySettings:
    """Everything the environment says."""

    upstream: Secret
    """The URL; a secret, since a token may be part of it."""
    signing_key: Secret
    token: Secret
    is_token_derived: bool
    """Whether the token was made from the signing key."""
    allow: AddressList
    trusted_proxies: AddressList
    host: str
    port: int
    ops_host: str
    ops_port: int
    max_body_bytes: int
    timeout_ms: int

    @property
    def path(self) -> str:
        """Where the relay takes posts; holds the token."""
        return f"/relay/{self.token.reveal()}"

    @property
    def upstream_origin(self) -> str:
        """Scheme, host and port of the upstream: fit for the log."""
        return origin_of(self.upstream.reveal())

    def secrets(self) -> Iterable[str]:
        """Return what must never show."""
        path = urlsplit(self.upstream.reveal()).path
        in_path = (part for part in path.split("/") if len(part) >= MIN_SECRET_LENGTH)
        return [self.signing_key.reveal(), self.token.reveal(), *in_path]


def relay_settings(environ: Mapping[str, str]) -> RelaySettings:
    """Return the settings that the environment holds.

    Raises:
        ConfigError: Something is missing or does not fit; one line that names the variable.
    """
    signing_key = _signing_key(environ)
    is_token_derived = not has_secret("RELAY_TOKEN", environ)
    token = derived_token(signing_key.reveal()) if is_token_derived else _token(environ)
    settings = RelaySettings(
        upstream=_upstream(environ),
        signing_key=signing_key,
        token=token,
        is_token_derived=is_token_derived,
        allow=_allow(environ),
        trusted_proxies=_proxies(environ),
        host=_host("RELAY_HOST", environ),
        port=_number("RELAY_PORT", environ, default=8_090, most=65_535),
        ops_host=_host("RELAY_OPS_HOST", environ),
        ops_port=_number("BASCULE_OPS_PORT", environ, default=9_104, most=65_535),
        max_body_bytes=_number("RELAY_MAX_BODY", environ, default=40_960, most=_MAX_BODY_BYTES),
        timeout_ms=_timeout_ms(environ),
    )
    if settings.port == settings.ops_port:
        raise ConfigError(f"RELAY_PORT: got {settings.port}, which is the ops port; expected another one")
    return settings


def derived_token(signing_key: str) -> Secret:
    """Return the URL token that goes with a signing key: 32 characters `[a-z2-7]`, the same at every start.

    Whoever knows it can have bodies signed, but learns nothing about the key. The hash is not the one of signatures,
    so that no signature of any body is a token.
    """
    digest = hmac.new(signing_key.encode(), b"token of the relay's URL", hashlib.sha512).digest()
    return Secret(base64.b32encode(digest[:_DERIVED_BYTES]).decode().lower())


def _upstream(environ: Mapping[str, str]) -> Secret:
    upstream = read_secret("RELAY_UPSTREAM", environ)
    url = upstream.reveal()
    is_fit = is_web_address(url) and url.isascii() and url.isprintable() and " " not in url
    if not is_fit or "@" in urlsplit(url).netloc or urlsplit(url).fragment:
        expected = "the whole http:// or https:// address of a webhook, without user, password or fragment"
        raise ConfigError(f"RELAY_UPSTREAM: expected {expected}")
    return upstream


def _signing_key(environ: Mapping[str, str]) -> Secret:
    key = read_secret("RELAY_SIGNING_KEY", environ)
    if len(key.reveal()) < MIN_SECRET_LENGTH:
        came = f"got {len(key.reveal())} characters"
        raise ConfigError(f"RELAY_SIGNING_KEY: {came}, expected at least {MIN_SECRET_LENGTH}")
    return key


def _token(environ: Mapping[str, str]) -> Secret:
    token = read_secret("RELAY_TOKEN", environ)
    if _TOKEN.fullmatch(token.reveal()) is None:
        raise ConfigError(
            "RELAY_TOKEN: expected 16 to 128 letters, digits, '_' and '-', as it stands in the URL"
        )
    return token


def _allow(environ: Mapping[str, str]) -> AddressList:
    name = "RELAY_ALLOW"
    text = environ.get(name, "tradingview")
    if not _words(text):
        # What a shell makes of a variable that is not set: neither everybody nor, for hours unseen, nobody.
        raise ConfigError(
            f"{name}: it is empty, which would let nobody in; leave it out for tradingview, or name who may post"
        )
    return _addresses(name, text, NAMED_SETS)


def _proxies(environ: Mapping[str, str]) -> AddressList:
    name = "RELAY_TRUSTED_PROXIES"
    text = environ.get(name, "")
    if ANY in _words(text):
        raise ConfigError(f'{name}: got "{ANY}", which would believe every sender; expected addresses')
    return _addresses(name, text, {})


def _addresses(name: str, text: str, named: Mapping[str, Sequence[str]]) -> AddressList:
    try:
        return AddressList(_words(text), named)
    except ValueError as error:
        raise ConfigError(f"{name}: {error}") from error


def _words(text: str) -> list[str]:
    return [word for word in _SEPARATOR.split(text) if word]


def _host(name: str, environ: Mapping[str, str]) -> str:
    host = environ.get(name, "127.0.0.1").strip()
    if not host:
        expected = "expected one, such as 127.0.0.1, or 0.0.0.0 for every one"
        raise ConfigError(f"{name}: it is empty, which would be every address; {expected}")
    return host


def _number(name: str, environ: Mapping[str, str], *, default: int, most: int) -> int:
    text = environ.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdecimal() and len(text) <= len(str(most)) and 1 <= int(text) <= most):
        raise ConfigError(f'{name}: got "{text}", expected a whole number from 1 to {most}')
    return int(text)


def _timeout_ms(environ: Mapping[str, str]) -> int:
    text = environ.get("RELAY_TIMEOUT", "2s")
    try:
        timeout_ms = int(DurationMs.parse(text))
    except ValueError as error:
        raise ConfigError(f'RELAY_TIMEOUT: got "{text}", expected {error}') from error
    if timeout_ms > LONGEST_TIMEOUT_MS:
        raise ConfigError(
            f'RELAY_TIMEOUT: got "{text}", expected at most {LONGEST_TIMEOUT_MS}ms: TradingView hangs up after 3s'
        )
    return timeout_ms
