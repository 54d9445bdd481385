"""The address of Redis: what may stand in it, and the TLS that it asks for."""

import functools
import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import SplitResult, parse_qsl, urlsplit, urlunsplit

from redis.asyncio.connection import parse_url

from libs.common.domain.errors import ConfigError
from libs.common.wire.redis_url import (
    CLUSTER_SCHEMES,
    DEFAULT_SENTINEL_PORT,
    SENTINEL_SCHEMES,
    read_nodes,
    read_service,
)

CA: Final = "ssl_ca_certs"
CERTIFICATE: Final = "ssl_certfile"
KEY: Final = "ssl_keyfile"

TLS_OPTIONS: Final = (CA, CERTIFICATE, KEY)
OPTIONS: Final = ("db", "username", "password", *TLS_OPTIONS)
"""What may stand behind the `?`; named as in redis-py, whose others would undo what `connect` sets."""

SENTINEL_USERNAME: Final = "sentinel_username"
SENTINEL_PASSWORD: Final = "sentinel_password"  # noqa: S105 - the name of an option
SENTINEL_OPTIONS: Final = (SENTINEL_USERNAME, SENTINEL_PASSWORD)
"""What may stand there as well where the address names Sentinels: who we are to them. Without, nobody."""


@dataclass(frozen=True, slots=True)
class Tls:
    """The files of a TLS connection. Host name and certificate of the server are checked always."""

    ca: str | None
    """Who must have signed the server's certificate; None: anyone whom the machine trusts."""
    certificate: str | None
    """What we show of ourselves; None: nothing."""
    key: str | None
    """Its key; None: it lies in the same file."""

    def context(self) -> ssl.SSLContext:
        """Return what new connections are made with; its files are read again, as they may have been renewed.

        Raises:
            ConfigError: A file cannot be used.
        """
        if self.ca is None and self.certificate is None:
            return _system_context()
        try:
            context = ssl.create_default_context(cafile=self.ca)
        except OSError as error:
            raise _unusable(CA, self.ca, error) from error
        if self.certificate is not None:
            try:
                # An encrypted key would be asked for at the terminal: there is nobody.
                context.load_cert_chain(self.certificate, self.key, password=str)
            except OSError as error:
                # It does not say which of the two it was.
                is_key = not isinstance(error, ssl.SSLError) and os.access(self.certificate, os.R_OK)
                option, path = (KEY, self.key) if is_key else (CERTIFICATE, self.certificate)
                raise _unusable(option, path, error) from error
        return context


@dataclass(frozen=True, slots=True)
class Address:
    """Where Redis is, and how it is spoken to."""

    options: Mapping[str, Any]
    """redis-py's, for each connection; without host and port where there are seeds."""
    tls: Tls | None
    seeds: tuple[tuple[str, int], ...] = ()
    """Hosts and ports of nodes of a Redis Cluster, any of which knows the others, or of Sentinels; empty for a single
    server."""
    service: str | None = None
    """What the Sentinels call the servers that they watch; None where the seeds are none."""
    identity: Mapping[str, str] = field(default_factory=dict)
    """`username` and `password` for the Sentinels, as far as they want them."""


def read_address(url: str) -> Address:
    """Return what an address says.

    Raises:
        ConfigError: It cannot be read, or names a file that cannot be used.
    """
    try:
        parts = urlsplit(url)
        scheme, seeds, service = parts.scheme, tuple[tuple[str, int], ...](), None
        given = dict(parse_qsl(parts.query, keep_blank_values=True))
        identity: dict[str, str] = {}
        if scheme in CLUSTER_SCHEMES:
            seeds = read_nodes(parts.netloc)
            scheme = CLUSTER_SCHEMES[scheme]
            url = _of_one(parts, scheme, parts.path)
        elif scheme in SENTINEL_SCHEMES:
            seeds = read_nodes(parts.netloc, default_port=DEFAULT_SENTINEL_PORT)
            scheme = SENTINEL_SCHEMES[scheme]
            service, database = read_service(parts.path)
            url = _of_one(parts, scheme, f"/{database}")
            identity = _identity(given)
        _check(scheme, given)
        options = dict(parse_url(url))
        if seeds and service is None and options.pop("db", 0) != 0:
            raise ValueError("a Redis Cluster has database 0 only")
    except ValueError as error:
        raise ConfigError(f"the address of Redis cannot be read: {error}") from error
    dropped = ("connection_class", *TLS_OPTIONS, *SENTINEL_OPTIONS, *(("host", "port") if seeds else ()))
    for name in dropped:
        options.pop(name, None)
    if scheme != "rediss":
        return Address(options, None, seeds, service, identity)
    tls = Tls(given.get(CA), given.get(CERTIFICATE), given.get(KEY))
    tls.context()
    return Address(options, tls, seeds, service, identity)


def _of_one(parts: SplitResult, scheme: str, path: str) -> str:
    """Return the address as redis-py reads it: of a server whose name does not matter."""
    user, at, _ = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(scheme=scheme, netloc=f"{user}{at}several", path=path))


def _identity(given: dict[str, str]) -> dict[str, str]:
    """Take out of the options who we are to the Sentinels."""
    found = {name: given.pop(name) for name in SENTINEL_OPTIONS if name in given}
    for name, value in found.items():
        if not value:
            raise ValueError(f'"{name}" is empty')
    if SENTINEL_USERNAME in found and SENTINEL_PASSWORD not in found:
        raise ValueError(f'"{SENTINEL_USERNAME}" needs "{SENTINEL_PASSWORD}"')
    return {name.removeprefix("sentinel_"): value for name, value in found.items()}


def _check(scheme: str, given: Mapping[str, str]) -> None:
    for name, value in given.items():
        if name in SENTINEL_OPTIONS:
            raise ValueError(
                f'"{name}" is for addresses that begin with redis+sentinel:// or rediss+sentinel://'
            )
        if name not in OPTIONS:
            raise ValueError(f'"{name}" is no option of it; there are {", ".join(OPTIONS)}')
        if name in TLS_OPTIONS and scheme != "rediss":
            raise ValueError(
                f'"{name}" is for addresses that begin with rediss://, rediss+sentinel:// or rediss+cluster://'
            )
        if not value:
            raise ValueError(f'"{name}" is empty')
    if KEY in given and CERTIFICATE not in given:
        raise ValueError(f'"{KEY}" needs "{CERTIFICATE}"')


@functools.cache
def _system_context() -> ssl.SSLContext:
    return ssl.create_default_context()


def _unusable(option: str, path: str | None, error: OSError) -> ConfigError:
    cause, remedy = error.strerror, ""
    if isinstance(error, ssl.SSLError):
        cause = f"no PEM file that fits ({error.reason})"
        remedy = f": {KEY} must name its key" if option == CERTIFICATE else ""
    return ConfigError(
        f'the address of Redis names a file in "{option}" that cannot be used: {path}: {cause}{remedy}'
    )
