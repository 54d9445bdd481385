"""Those who are told of alarms: an address that JSON is posted to, and a command that reads it."""

import asyncio
import hashlib
import os
import signal
import ssl
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Protocol

import httpx
import msgspec

from libs.common.domain.errors import ConfigError
from libs.common.policy.alarms import Message
from libs.common.runtime.secrets import Secret, read_secret
from libs.common.runtime.settings import Settings
from libs.common.wire.web_address import is_web_address, origin_of

SAID_AT_MOST: Final = 300
"""Of what a command said before it failed, characters."""

KEPT_AT_MOST: Final = 4_096
"""Bytes of it; the rest is dropped."""

READ_AT_ONCE: Final = 65_536

END_S: Final = 1.0
"""For what was killed to end."""

_EXPORTER: Final = "OTEL_EXPORTER_OTLP_"
"""How the names of variables begin that say how spans are exported: some hold credentials."""

_PASSING: Final = frozenset({408, 425, 429})
"""Answers below 500 that say nothing against the message."""


@dataclass(frozen=True, slots=True)
class Delivered:
    """It was taken."""


@dataclass(frozen=True, slots=True)
class Failed:
    """It may not have been taken."""

    reason: str
    is_refused: bool = False
    """Whether the target answered that it does not want it, so that trying for long is of no use."""


Delivery = Delivered | Failed


class Target(Protocol):
    """Somebody who is told."""

    name: str
    """What its cursor and its duty are called."""
    shown: str
    """Where it is, without what is secret in it."""
    receiver: str
    """Tells one receiver from another, and nothing about them."""

    async def deliver(self, message: Message) -> Delivery:
        """Tell one message, once, within the time of the settings."""
        ...

    async def aclose(self) -> None:
        """Let go of what it holds."""
        ...


def alarm_targets(settings: Settings, environ: Mapping[str, str]) -> list[Target]:
    """Return those who are told.

    Args:
        settings: All sections.
        environ: Holds the address where the settings name a variable; commands get it without our secrets.

    Raises:
        ConfigError: The address is not set, or is none.
    """
    alarms, targets = settings.alarms, list[Target]()
    if alarms.url is not None:
        variable = alarms.url_variable
        url = Secret(alarms.url) if variable is None else read_secret(variable, environ)
        if not is_web_address(url.reveal()):
            raise ConfigError(f"secret {variable}: expected an http:// or https:// address")
        targets.append(UrlTarget(url, timeout_s=alarms.timeout_ms / 1_000))
    if alarms.command:
        hidden = {"REDIS_URL", *settings.secret_names()}
        hidden |= {f"{name}_FILE" for name in hidden}
        own = {
            name: value
            for name, value in environ.items()
            if name not in hidden and not name.startswith(_EXPORTER)
        }
        targets.append(CommandTarget(alarms.command, own, timeout_s=alarms.timeout_ms / 1_000))
    return targets


class UrlTarget:
    """Posts each message to an address."""

    name = "url"

    def __init__(self, url: Secret, *, timeout_s: float) -> None:
        """Args:
        url: Where to.
        timeout_s: For one post with its answer.
        """
        self.shown = f"{origin_of(url.reveal())}/..."
        self.receiver = _fingerprint(url.reveal())
        self._url = httpx.URL(url.reveal())
        self._timeout_s = timeout_s
        self._transport: httpx.AsyncHTTPTransport | None = None

    async def deliver(self, message: Message) -> Delivery:
        """Post it; any answer of 200 to 299 says that it was taken."""
        headers = {
            "Content-Type": "application/json",
            "Idempotency-Key": message.id,
            "User-Agent": "bascule",
        }
        try:
            async with asyncio.timeout(self._timeout_s):
                if self._transport is None:
                    # Reading all the certificates of authorities takes a while.
                    tls = await asyncio.to_thread(ssl.create_default_context)
                    # The bare transport: no redirects, no cookies, no proxies from the environment, no second try.
                    self._transport = httpx.AsyncHTTPTransport(verify=tls, retries=0, trust_env=False)
                body = msgspec.json.encode(message)
                request = httpx.Request(
                    "POST",
                    self._url,
                    headers=[*headers.items(), *_authorization(self._url)],
                    content=body,
                )
                response = await self._transport.handle_async_request(request)
                await response.aclose()
        except TimeoutError:
            return Failed(f"no answer within {self._timeout_s:g} s")
        except httpx.RemoteProtocolError as error:
            # Its words quote the answer, which may quote our address.
            return Failed(f"{type(error).__name__}: not an answer of HTTP, or none to its end")
        except (httpx.TransportError, OSError) as error:
            reason = str(error) or str(error.__cause__ or "") or "no reason given"
            return Failed(f"{type(error).__name__}: {reason}")
        status = response.status_code
        if 200 <= status < 300:
            return Delivered()
        return Failed(f"answered {status}", is_refused=300 <= status < 500 and status not in _PASSING)

    async def aclose(self) -> None:
        """Close the connections."""
        if self._transport is not None:
            await self._transport.aclose()


class CommandTarget:
    """Runs a program for each message."""

    name = "command"

    def __init__(self, command: tuple[str, ...], environ: Mapping[str, str], *, timeout_s: float) -> None:
        """Args:
        command: The program and its arguments.
        environ: Its environment.
        timeout_s: After it, the program is killed with all that it started.
        """
        self.shown = command[0]
        self.receiver = _fingerprint("\0".join(command))
        self._command = command
        self._environ = dict(environ)
        self._timeout_s = timeout_s

    async def deliver(self, message: Message) -> Delivery:
        """Run it with the message as its standard input; exit code 0 says that it was taken."""
        with _Said() as said:
            try:
                process = await asyncio.create_subprocess_exec(
                    *self._command,
                    stdin=asyncio.subprocess.PIPE,
                    stdout=asyncio.subprocess.DEVNULL,
                    stderr=said.end,
                    env=self._environ,
                    start_new_session=True,
                )
            except (OSError, ValueError) as error:
                return Failed(f"{self.shown} cannot be run: {error}")
            finally:
                said.listen()
            try:
                async with asyncio.timeout(self._timeout_s):
                    await process.communicate(msgspec.json.encode(message) + b"\n")
            except TimeoutError:
                return Failed(f"{self.shown} did not end within {self._timeout_s:g} s")
            finally:
                _kill_group(process.pid)
                with suppress(TimeoutError):
                    async with asyncio.timeout(END_S):
                        await process.wait()
            if process.returncode == 0:
                return Delivered()
            words = said.words()
            return Failed(f"{self.shown} ended with {process.returncode}{f': {words}' if words else ''}")

    async def aclose(self) -> None:
        """Do nothing: each run ended."""


class _Said:
    """The beginning of what a command says of itself, by a pipe of our own.

    asyncio's would keep all of it in memory, and be read to its end: whatever the command left behind may hold it open.
    """

    def __init__(self) -> None:
        self._begin, self.end = os.pipe()
        os.set_blocking(self._begin, False)
        self._is_open = True
        self._kept = b""

    def __enter__(self) -> "_Said":
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()
        os.close(self._begin)

    def listen(self) -> None:
        """Leave the other end to the command."""
        os.close(self.end)
        asyncio.get_running_loop().add_reader(self._begin, self._read)

    def words(self) -> str:
        """Return what it has said by now, in one line."""
        self._read()
        return " ".join(self._kept.decode("utf-8", "replace").split())[:SAID_AT_MOST]

    def _read(self) -> None:
        try:
            more = os.read(self._begin, READ_AT_ONCE)
        except BlockingIOError:
            return
        if not more:
            self._stop()
        self._kept = (self._kept + more)[:KEPT_AT_MOST]

    def _stop(self) -> None:
        if self._is_open:
            self._is_open = False
            asyncio.get_running_loop().remove_reader(self._begin)


def _fingerprint(text: str) -> str:
    """Return what changes with the text; dear to compute, since whoever reads it may guess a short password."""
    return hashlib.scrypt(
        text.encode("utf-8", "surrogatepass"), salt=b"bascule alarms", n=2**14, r=8, p=1, dklen=8
    ).hex()


def _authorization(url: httpx.URL) -> list[tuple[str, str]]:
    """Return the header for the name and password of an address."""
    if not url.username and not url.password:
        return []
    flow = httpx.BasicAuth(url.username, url.password).auth_flow(httpx.Request("POST", url))
    return [("Authorization", next(flow).headers["Authorization"])]


def _kill_group(group: int) -> None:
    """Kill what a run has left behind; a group that nobody is in does not exist."""
    try:
        os.killpg(group, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return
