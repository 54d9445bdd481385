"""Builds ccxt's object for an exchange: sandboxed, without its own retries and limits, and watched at every request.

What may have left is not told by ccxt's exceptions: a refused and a dropped connection raise the same one. So every
call is followed from its signature to the last byte of its answer, by a `Call`.
"""

import difflib
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final
from urllib.parse import urlsplit

from libs.common.domain.errors import ConfigError
from libs.common.domain.ids import ClientOrderId
from libs.common.runtime.account_settings import CcxtAccount
from libs.common.runtime.secrets import Secret
from services.worker.brokers.ccxt_venues import Expiry, Sandbox, Venue, venue_of
from services.worker.brokers.port import NOT_OURS, StillOurs

MISSING: Final = "broker: ccxt is not installed: start with `make up EXTRAS=ccxt`"

LONGEST_WINDOW_MS: Final = 60_000
"""Binance and Kraken take no longer one."""

SHORTEST_DEADLINE_MS: Final = 2_100
"""Kraken takes none that is less than 2 s ahead."""

Exchange = Any
"""ccxt's object; it ships no types that hold."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """What requests are signed with."""

    api_key: Secret
    secret: Secret
    password: Secret | None = None

    def values(self) -> tuple[str, ...]:
        """Return what must never show."""
        secrets = (self.api_key, self.secret, self.password)
        return tuple(one.reveal() for one in secrets if one is not None)


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer that was received in full."""

    status: int
    headers: Mapping[str, str]
    """By lower-case name."""
    body: str


@dataclass(slots=True)
class Call:
    """One thing that is done at an exchange; in most cases one request, in some with questions before it."""

    still_ours: StillOurs
    """Asked before signing, and again once connected."""
    client_order_id: ClientOrderId | None = None
    """What the request that trades must carry; None: there is none to carry, as in cancelling."""
    expires_at_ms: int | None = None
    has_asked: bool = False
    """Whether anything was sent at all, a question included."""
    is_signed: bool = False
    """Whether the request that trades was signed: from then on, what is sent is that one."""
    has_left: bool = False
    """Whether the head of that request may have left."""
    answer: Answer | None = field(default=None, repr=False)
    """Its answer, or that of a question before it."""


class NotSentError(Exception):
    """Nothing was sent, on purpose; the text says why."""


class TooLateError(NotSentError):
    """The exchange would have to refuse it: nothing was sent."""


class WithoutIdError(Exception):
    """ccxt's adapter would send an order without our id: nothing was sent."""


CALL: Final[ContextVar[Call | None]] = ContextVar("call", default=None)
"""What is done now, in this task. None: questions only."""


PATIENT_S: Final[ContextVar[float | None]] = ContextVar("patient_s", default=None)
"""How long this task waits for an answer in place of the account's `timeout`: lists of all markets are long."""


def make_exchange(account: CcxtAccount, credentials: Credentials, *, connections: int) -> Exchange:
    """Return ccxt's object for an account; it connects at its first request.

    Args:
        account: Its settings.
        credentials: What they name.
        connections: The most that are open at once.

    Raises:
        ConfigError: ccxt is missing, does not know the exchange, or the exchange has no such market or no sandbox.
    """
    try:
        import ccxt.async_support as ccxt
    except ModuleNotFoundError as error:
        if error.name is not None and error.name.partition(".")[0] != "ccxt":
            raise
        raise ConfigError(MISSING) from error
    if account.exchange not in ccxt.exchanges:
        near = difflib.get_close_matches(account.exchange, ccxt.exchanges, n=3)
        hint = f"; did you mean {' or '.join(near)}?" if near else ""
        raise ConfigError(f'exchange: ccxt knows no "{account.exchange}"{hint}')
    # Its debug lines hold whole requests, signatures and keys.
    logging.getLogger("ccxt").setLevel(logging.WARNING)
    venue = venue_of(account.exchange)
    kind = _watched(getattr(ccxt, account.exchange), venue, connections)
    password = {} if credentials.password is None else {"password": credentials.password.reveal()}
    exchange = kind(
        {
            "apiKey": credentials.api_key.reveal(),
            "secret": credentials.secret.reveal(),
            **password,
            "timeout": account.timeout_ms,
            "enableRateLimit": False,
            "options": _options(account, venue),
        }
    )
    if venue.has_exact_numbers:
        exchange.number = str
    # Markets hold what is needed of currencies, and on many exchanges asking for these takes further permissions.
    exchange.has["fetchCurrencies"] = False
    if not exchange.has.get(account.market_type.value):
        raise ConfigError(
            f"market_type: {account.exchange} has no {account.market_type} markets that ccxt can trade"
        )
    for name, is_needed in exchange.requiredCredentials.items():
        if is_needed and name == "password" and credentials.password is None:
            raise ConfigError(
                f"password: {account.exchange} needs the passphrase of the key; name its variable"
            )
    _choose_place(exchange, account, venue)
    return exchange


def place_of(account: CcxtAccount) -> str:
    """Return where an account trades: `url`, `live`, `testnet` or `demo`."""
    if account.url is not None:
        return "url"
    if account.live:
        return "live"
    sandboxes = venue_of(account.exchange).sandboxes
    if account.demo or (sandboxes is not None and sandboxes[account.market_type][:1] == (Sandbox.DEMO,)):
        return "demo"
    return "testnet"


def _options(account: CcxtAccount, venue: Venue) -> dict[str, Any]:
    options: dict[str, Any] = {
        "defaultType": account.market_type.value,
        "maxRetriesOnFailure": 0,
        "adjustForTimeDifference": False,
        **venue.options,
    }
    if venue.market_types is not None:
        options["fetchMarkets"] = {"types": [venue.market_types[account.market_type]]}
    return options


def _choose_place(exchange: Exchange, account: CcxtAccount, venue: Venue) -> None:
    if account.url is not None:
        exchange.stands_in(account.url.rstrip("/"), list(_leaves(exchange.urls["api"])))
        exchange.urls["api"] = _moved(exchange.urls["api"], account.url.rstrip("/"))
        return
    if account.live:
        return
    if venue.sandboxes is not None:
        possible = venue.sandboxes[account.market_type]
    else:
        possible = (Sandbox.TESTNET,) if exchange.urls.get("test") else ()
    wanted = Sandbox.DEMO if account.demo else next(iter(possible), None)
    if wanted is None:
        instead = f" ({venue.without_sandbox})" if venue.without_sandbox else ""
        raise ConfigError(
            f"live: {account.exchange} has no sandbox for {account.market_type} that ccxt can use{instead}; set `live: "
            "true` to trade real money, or rehearse with `broker: paper`"
        )
    if wanted not in possible:
        raise ConfigError(
            f"demo: {account.exchange} has no demo trading for {account.market_type}; leave this key out"
        )
    if wanted is Sandbox.DEMO:
        exchange.enable_demo_trading(True)
    else:
        exchange.set_sandbox_mode(True)


def _moved(urls: Any, to: str) -> Any:
    """Return addresses with another server in them: every one, or some call would reach the exchange itself."""
    if isinstance(urls, Mapping):
        return {key: _moved(value, to) for key, value in urls.items()}
    return to + urlsplit(urls).path if isinstance(urls, str) else urls


def _leaves(urls: Any) -> Iterator[str]:
    if isinstance(urls, Mapping):
        for value in urls.values():
            yield from _leaves(value)
    elif isinstance(urls, str):
        yield urls


def _watched(kind: Any, venue: Venue, connections: int) -> Any:
    """Return ccxt's class for an exchange, with its requests followed by the `Call` of their task."""
    import aiohttp

    class Watched(kind):  # type: ignore[misc]
        timeout_on_exit = 0

        def __init__(self, config: Mapping[str, Any]) -> None:
            super().__init__(dict(config))
            self.own_session = False
            self.session: Any = None
            self._server = ""
            self._real: Sequence[str] = ()

        def open(self, lazy: bool = False) -> None:
            super().open(lazy)
            if self.session is None:
                self.session = _Session(
                    _client(aiohttp, self.ssl_context, connections), aiohttp.ClientTimeout
                )

        async def close(self, clean_instance_data: bool = False) -> None:
            session = self.session
            await super().close(clean_instance_data)
            if session is not None:
                await session.close()

        def stands_in(self, server: str, real: Sequence[str]) -> None:
            self._server, self._real = server, real

        def handle_errors(self, code: int, reason: Any, url: str, *rest: Any) -> Any:
            # Some adapters tell what an error code means by the address that sent it.
            for real in self._real if url.startswith(self._server) else ():
                moved = self._server + urlsplit(real).path
                if url.startswith(moved + "/"):
                    url = real + url[len(moved) :]
                    break
            return super().handle_errors(code, reason, url, *rest)

        def sign(
            self, path: Any, api: Any = "public", method: str = "GET", params: Any = None, *rest: Any
        ) -> Any:
            call, params = CALL.get(), {} if params is None else params
            if call is None:
                return super().sign(path, api, method, params, *rest)
            call.has_asked = True
            has_id = call.client_order_id is not None and call.client_order_id in repr(params)
            if method == "GET" and not has_id:
                return super().sign(path, api, method, params, *rest)
            if call.client_order_id is not None and not has_id:
                raise WithoutIdError
            if not call.still_ours():
                raise NotSentError(NOT_OURS)
            signed = _expiring(self, venue, call, super().sign, path, api, method, params, *rest)
            call.is_signed = True
            return signed

        def on_rest_response(
            self,
            code: int,
            reason: Any,
            url: Any,
            method: Any,
            headers: Mapping[str, str],
            body: str,
            *rest: Any,
        ) -> Any:
            call = CALL.get()
            if call is not None:
                call.answer = Answer(code, {name.lower(): value for name, value in headers.items()}, body)
            return super().on_rest_response(code, reason, url, method, headers, body, *rest)

    return Watched


def _expiring(
    exchange: Exchange,
    venue: Venue,
    call: Call,
    sign: Any,
    path: Any,
    api: Any,
    method: str,
    params: Any,
    *rest: Any,
) -> Any:
    """Return the signed request, with the time after which the exchange must refuse it where it can be told."""
    if call.expires_at_ms is None or venue.expiry is Expiry.NONE:
        return sign(path, api, method, params, *rest)
    now_ms = exchange.milliseconds()
    left_ms = min(call.expires_at_ms - now_ms, LONGEST_WINDOW_MS)
    if left_ms < (SHORTEST_DEADLINE_MS if venue.expiry is Expiry.DEADLINE else 1):
        raise TooLateError(f"its time is over in {left_ms} ms")
    if venue.expiry is Expiry.WINDOW:
        usual = exchange.options.get("recvWindow")
        exchange.options["recvWindow"] = left_ms
        # One reading of the clock: were the process frozen between two, the window would begin after the freeze.
        exchange.milliseconds = lambda: now_ms
        try:
            return sign(path, api, method, params, *rest)
        finally:
            del exchange.milliseconds
            exchange.options["recvWindow"] = usual
    if venue.expiry is Expiry.DEADLINE:
        deadline = exchange.iso8601(now_ms + left_ms)
        return sign(path, api, method, {**params, "deadline": deadline}, *rest)
    signed = sign(path, api, method, params, *rest)
    # By the exchange's clock, as the request's time stamp is.
    at_ms = call.expires_at_ms - int(exchange.options.get("timeDifference") or 0)
    return {**signed, "headers": {**(signed["headers"] or {}), "expTime": str(at_ms)}}


class _Session:
    """What ccxt needs of aiohttp's session. No redirection is followed: it would carry an order somewhere else."""

    def __init__(self, client: Any, timeout: Any) -> None:
        self._client, self._timeout = client, timeout

        self.headers = client.headers
        for method in ("get", "post", "put", "patch", "delete"):
            setattr(self, method, partial(self._request, method.upper()))

    def _request(self, method: str, url: Any, **arguments: Any) -> Any:
        patient_s = PATIENT_S.get()
        if patient_s is not None:
            arguments["timeout"] = self._timeout(total=patient_s)
        return self._client.request(
            method, url, allow_redirects=False, trace_request_ctx=CALL.get(), **arguments
        )

    async def close(self) -> None:
        await self._client.close()


def _client(aiohttp: Any, tls: Any, connections: int) -> Any:
    async def on_head(_: Any, context: Any, __: Any) -> None:
        # Connected, and about to write: making the connection may have taken longer than the lease.
        call = context.trace_request_ctx
        if call is not None and call.is_signed:
            if not call.still_ours():
                raise NotSentError(NOT_OURS)
            call.has_left = True

    trace = aiohttp.TraceConfig()
    trace.on_request_headers_sent.append(on_head)
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(ssl=tls, limit=connections), trace_configs=[trace], trust_env=False
    )
