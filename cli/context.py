"""Finds the bridge that a command is about, and asks its store."""

import os
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit

from cli.addresses import local_url, webhook_url
from cli.output import Failure
from cli.places import is_there
from libs.common.domain.errors import ConfigError

if TYPE_CHECKING:
    from libs.common.runtime.run_record import RunRecord
    from libs.common.runtime.settings import Settings
    from libs.common.store.halts import CopiesFor
    from libs.common.store.readings import Readings

T = TypeVar("T")

NO_BRIDGE_YET = "no bridge runs yet; `make up` brings its own Redis"
CORRECT_VARIABLE = "correct it, or unset it: a `make up` that runs here is found without it"
NO_BRIDGE = "no running bridge found: start one with `make up`, or set REDIS_URL"


class Misnamed(ConfigError):
    """A variable of the environment says where the bridge is, and cannot be used: the configuration has no part in it."""


@dataclass(frozen=True, slots=True)
class Bridge:
    """Where a bridge is, as far as we could find out."""

    redis_url: str
    found_by: str
    """What told us: `REDIS_URL`, the path of a run record, or `BASCULE_CONFIG`."""
    config: Path | None
    """Its configuration file."""
    var: Path | None
    """The directory of a `make up` that runs."""
    record: "RunRecord | None"
    named_ingress: str | None = None
    """Where BASCULE_INGRESS_URL says that the ingress is: on a cluster it is elsewhere than its configuration says."""
    named_ops: tuple[str, ...] = ()
    """Where BASCULE_OPS_URLS says that the services show their metrics."""

    def settings(self) -> "Settings | None":
        """Return its configuration; None where we know of none.

        Raises:
            ConfigError: It cannot be read or does not fit.
        """
        if self.config is None:
            return None
        from libs.common.runtime.load_settings import load_settings

        return load_settings(self.config)

    def is_guess(self) -> bool:
        """Return whether nothing names its Redis, so that the default address is all that there is.

        Raises:
            ConfigError: The configuration cannot be read.
        """
        if self.found_by != "BASCULE_CONFIG" or self.config is None:
            return False
        from libs.common.runtime.config_file import read_document

        redis = read_document(self.config).get("redis")
        return not isinstance(redis, dict) or "url" not in redis

    def runs_on_this(self) -> bool:
        """Return whether a `make up` runs with this very configuration file."""
        return (
            self.record is not None
            and self.config is not None
            and self.config.resolve() == Path(self.record.config).resolve()
        )

    def ingress_url(self) -> str | None:
        """Return where it takes alerts, seen from here; None where nothing says so.

        Raises:
            ConfigError: The configuration cannot be read or does not fit.
        """
        if self.named_ingress is not None:
            return self.named_ingress
        if self.record is not None:
            return self.record.ingress_url
        settings = self.settings()
        if settings is None:
            return None
        return local_url(settings.ingress.host, settings.ingress.port)

    def public_url(self) -> str | None:
        """Return where TradingView posts alerts to; None where nothing says so.

        Raises:
            ConfigError: The configuration cannot be read or does not fit.
        """
        settings = self.settings()
        public = None if settings is None else settings.ingress.public_url
        return None if public is None else webhook_url(public)

    @property
    def shown_url(self) -> str:
        """Return its Redis without a password."""
        from libs.common.runtime.secrets import mask_url

        return mask_url(self.redis_url)


def find_bridge(environ: Mapping[str, str] | None = None, start: Path | None = None) -> Bridge:
    """Return the bridge that REDIS_URL names; else the `make up` that runs here or above; else BASCULE_CONFIG's.

    Args:
        environ: The process's own by default.
        start: Where to look for a run record first; the current directory by default.

    Raises:
        Failure: There is none, or its Redis has a password that only its own environment knows.
        ConfigError: The configuration cannot be read; as `Misnamed` where it is REDIS_URL, its file, BASCULE_INGRESS_URL
            or BASCULE_OPS_URLS that cannot be used.
    """
    environ = os.environ if environ is None else environ
    bridge = _find_bridge(environ, Path.cwd() if start is None else start)
    return replace(bridge, named_ingress=_named_ingress(environ), named_ops=_named_ops(environ))


def _named_ingress(environ: Mapping[str, str]) -> str | None:
    url = environ.get("BASCULE_INGRESS_URL") or None
    if url is None:
        return None
    from libs.common.wire.web_address import is_web_address

    if not is_web_address(url):
        raise Misnamed(f'BASCULE_INGRESS_URL: got "{url}", expected an http:// or https:// address')
    return url.rstrip("/")


def _named_ops(environ: Mapping[str, str]) -> tuple[str, ...]:
    urls = (environ.get("BASCULE_OPS_URLS") or "").replace(",", " ").split()
    for url in urls:
        try:
            parts = urlsplit(url)
            is_one = parts.scheme == "http" and bool(parts.hostname and parts.port)
        except ValueError:
            is_one = False
        if not is_one:
            raise Misnamed(
                f'BASCULE_OPS_URLS: got "{url}", expected addresses such as http://ingress:9101, apart by spaces'
            )
    return tuple(url.rstrip("/") for url in urls)


def _find_bridge(environ: Mapping[str, str], start: Path) -> Bridge:
    from libs.common.runtime.secrets import has_secret, mask_url, read_secret

    var, record = _find_record(start)
    named = environ.get("BASCULE_CONFIG")
    config = Path(named) if named else None
    if has_secret("REDIS_URL", environ):
        try:
            url = read_secret("REDIS_URL", environ).reveal()
        except ConfigError as error:
            raise Misnamed(str(error)) from error
        if record is not None and record.redis_url != mask_url(url):
            var, record = None, None
        return Bridge(url, "REDIS_URL", config or _config_of(record), var, record)
    if record is not None and var is not None:
        url = _url_of(record)
        return Bridge(url, str(var / "run.json"), config or _config_of(record), var, record)
    if config is not None:
        from libs.common.runtime.load_settings import load_settings

        return Bridge(load_settings(config).redis.url, "BASCULE_CONFIG", config, None, None)
    raise Failure(NO_BRIDGE)


def copies_of(bridge: Bridge) -> "CopiesFor":
    """Return what replicas must have before something counts, as the configuration says; none where we know of no such."""
    from libs.common.store.copies import Copies
    from libs.common.store.readings import TIMEOUT_S

    try:
        settings = bridge.settings()
    except ConfigError:
        settings = None
    if settings is None:
        return lambda _: None
    redis = settings.redis
    return lambda stamp: Copies.wanted(redis.replicas, redis.durability, timeout_s=TIMEOUT_S, stamp=stamp)


def ask(bridge: Bridge, question: "Callable[[Readings], Awaitable[T]]") -> T:
    """Return what `question` makes of the bridge's store.

    Raises:
        Failure: Redis does not answer.
        StoreCorrupt: A record cannot be used.
    """
    from libs.common.domain.errors import StoreUnavailable

    try:
        return run(bridge.redis_url, question)
    except StoreUnavailable as error:
        raise Failure(no_answer(bridge, error)) from error


def no_answer(bridge: Bridge, error: Exception) -> str:
    """Return in words that a bridge's Redis does not answer, or not to us."""
    from libs.common.domain.errors import StoreBarred
    from libs.common.store.client import MEMORY_IS_FULL

    if isinstance(error, StoreBarred):
        return f"{error} (at {bridge.shown_url}, found by {bridge.found_by})"
    if str(error) == MEMORY_IS_FULL:
        return f"{error} (at {bridge.shown_url}, found by {bridge.found_by})"
    # The cause is redis-py's own error, which says it shortest.
    cause = str(error.__cause__ or error).rstrip(".")
    return f"no answer from Redis at {bridge.shown_url} (found by {bridge.found_by}): {cause}"


def run(redis_url: str, question: "Callable[[Readings], Awaitable[T]]") -> T:
    """Return what `question` makes of the store at an address.

    Raises:
        StoreUnavailable: Redis does not answer.
        StoreCorrupt: A record cannot be used.
    """
    import asyncio

    from libs.common.store.readings import Readings

    async def asking() -> T:
        async with Readings.at(redis_url) as readings:
            return await question(readings)

    return asyncio.run(asking())


def var_directories(start: Path) -> list[Path]:
    """Return where a `var/` of ours may be: here, above, and beside the virtual environment."""
    above = [directory for directory in (start, *start.parents) if directory != directory.parent]
    return [directory / "var" for directory in (*above, Path(sys.prefix).parent)]


def default_config(start: Path) -> Path | None:
    """Return the configuration that `make up` would run here without being told; None where there is none."""
    places = [directory / "config" / "demo.yaml" for directory in (start, Path(sys.prefix).parent)]
    return next((path for path in places if is_there(path)), None)


def _find_record(start: Path) -> "tuple[Path | None, RunRecord | None]":
    from libs.common.runtime.run_record import read_run_record

    for var in var_directories(start):
        record = read_run_record(var)
        if record is not None:
            return var, record
    return None, None


def _url_of(record: "RunRecord") -> str:
    """Return the address of a record's Redis; a password that is masked there comes from its configuration."""
    from libs.common.runtime.load_settings import load_settings
    from libs.common.runtime.secrets import mask_url
    from libs.common.wire.masking import MASK

    if MASK not in record.redis_url:
        return record.redis_url
    url = load_settings(Path(record.config)).redis.url
    if mask_url(url) != record.redis_url:
        raise Failure(
            f"the running bridge's Redis ({record.redis_url}) has a password, which is kept nowhere: set REDIS_URL"
        )
    return url


def _config_of(record: "RunRecord | None") -> Path | None:
    return None if record is None else Path(record.config)
