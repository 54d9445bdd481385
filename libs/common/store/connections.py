"""redis-py's connections, which say in our words what a server refuses, and to whom.

redis-py passes on what it met: the text of OpenSSL, a user without a name, a reset connection.
"""

import asyncio
import math
import re
import ssl
from collections.abc import Iterable
from typing import Any, Final

from redis.asyncio.connection import AbstractConnection, Connection, UnixDomainSocketConnection
from redis.exceptions import (
    AskError,
    AuthenticationError,
    ConnectionError,  # noqa: A004 - the name is redis-py's
    InvalidResponse,
    NoPermissionError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)
from redis.exceptions import TimeoutError as LateError

from libs.common.domain.errors import ConfigError
from libs.common.store.address import CA, CERTIFICATE, KEY, Tls

_SCRIPT_BARRED: Final = ("The user executing the script can't", "ACL failure in script")
"""How Redis begins to say, inside of a script, that an ACL denies a command or a key: before 7.2, and since."""

_READ_ONLY: Final = "READONLY You can't write"
"""What Redis 6.2 says, somewhere in its words, of a script that a replica was asked to run."""

_WAITS_NOT: Final = re.compile(r"WAIT(?:AOF)? cannot be used with replica instances")
"""What one says, under no code of its own, that is asked how many replicas have what was written to it as a primary."""

_NAME_ONE: Final = f"name one with {CERTIFICATE} and {KEY} in the address"

_FAILURES: Final = (
    ("CERTIFICATE_REQUIRED", "it asks for a client certificate", _NAME_ONE),
    (
        "HANDSHAKE_FAILURE",
        "it broke off the handshake",
        f"where it asks for a client certificate, {_NAME_ONE}",
    ),
    (
        "ALERT_UNKNOWN_CA",
        "it does not know who signed our certificate",
        f"name another with {CERTIFICATE}, or give Redis its signer in tls-ca-cert-file",
    ),
    ("ALERT_CERTIFICATE_EXPIRED", "our certificate has expired", f"renew the file of {CERTIFICATE}"),
    ("WRONG_VERSION_NUMBER", "it does not speak TLS there", "let the address begin with redis://"),
)
"""What OpenSSL calls it, what it means here, and what to do."""

_UNKNOWN_SIGNER: Final = frozenset({18, 19, 20, 21})
"""OpenSSL's X509_V_ERR_* of chains that end in nobody whom we trust."""

_WRONG_NAME: Final = frozenset({62, 64})
"""The same of a certificate for somebody else."""


CORRECT_ADDRESS: Final = "correct the address"


class Unfit(ConnectionError):
    """What is at the address is not what the address says: it does not pass by itself.

    Attributes:
        remedy: What to do about it.
    """

    def __init__(self, message: str, *, remedy: str) -> None:
        super().__init__(message)
        self.remedy = remedy


class TlsRefused(Unfit):
    """One side does not accept the other's TLS."""


Barrier = AuthenticationError | NoPermissionError | Unfit
"""What does not pass by itself."""


def not_redis(where: str, finding: object, *, remedy: str = CORRECT_ADDRESS) -> Unfit:
    """Return that something else answers than Redis.

    Args:
        where: It was met.
        finding: What it answered.
        remedy: What to do about it.
    """
    return Unfit(f"what answers at {where} is not Redis: {finding}", remedy=remedy)


class Worded(AbstractConnection):
    """What all kinds of connections have in common."""

    _has_answered = False
    """Whether anything came since it was made."""
    _loop: asyncio.AbstractEventLoop
    _correction = CORRECT_ADDRESS
    """What to do where something else than Redis answers."""

    async def _connect(self) -> None:
        self._has_answered = False
        # Asked for once: Python 3.11 asks the system for the process's id each time.
        self._loop = asyncio.get_running_loop()
        await super()._connect()  # type: ignore[safe-super,no-untyped-call]  # a kind of connection comes next

    async def send_packed_command(
        self, command: bytes | str | Iterable[bytes], check_health: bool = True
    ) -> None:
        """Send one command."""
        try:
            await super().send_packed_command(command, check_health)
        except RuntimeError as error:  # uvloop's, where the server has closed it meanwhile
            raise self._explained(ConnectionError("Connection closed by server.")) from error
        except AuthenticationError:
            raise
        except ConnectionError as error:
            raise self._explained(error) from error

    async def read_response(self, *args: Any, **options: Any) -> Any:
        """Return one answer."""
        try:
            answer = await super().read_response(*args, **options)
        except (AuthenticationError, NoPermissionError) as error:
            raise type(error)(self._named(error)) from None
        except ConnectionError as error:
            raise self._explained(error) from error
        except InvalidResponse as error:
            if self._has_answered:
                raise
            raise not_redis(self._host_error(), error, remedy=self._correction) from error
        except AskError as error:  # MOVED is one, too
            raise self._redirected(error) from error
        except ResponseError as error:
            if isinstance(error, ReadOnlyError) or _READ_ONLY in str(error) or is_wait_refused(str(error)):
                # The primary no longer. Should it become that again, then with the data of another: to be met anew.
                await self.disconnect()
            if is_script_barred(str(error)):
                raise NoPermissionError(self._named(error)) from error
            raise
        self._has_answered = True
        return answer

    def unsent_bytes(self) -> int:
        """Return how much of what was sent the system has not taken yet; 0 where nothing is connected."""
        return 0 if self._writer is None else self._writer.transport.get_write_buffer_size()

    async def read_in_time(self, timeout_s: float | None = None) -> Any:
        """Return one answer within a time, as `read_response` does.

        redis-py's own time-out cancels its task, and costs a quarter of a small call: here the time has the reading fail.
        The connection is closed either way.

        Args:
            timeout_s: The time; None for the connection's time-out, which may be lifted just now.
        """
        timeout_s = self.socket_timeout if timeout_s is None else timeout_s
        stream = self._reader
        if stream is None or timeout_s is None:
            return await self.read_response()
        late = self._loop.call_later(timeout_s, self._fail_late, stream)
        try:
            return await self.read_response(timeout=math.inf)
        finally:
            late.cancel()
            if stream.exception() is not None:  # perhaps just as the answer came
                await self.disconnect(nowait=True)

    def _fail_late(self, stream: asyncio.StreamReader) -> None:
        stream.set_exception(LateError(f"Timeout reading from {self._host_error()}"))

    def _redirected(self, error: AskError) -> RedisError:
        return Unfit(
            f"a node of a Redis Cluster, which sends us to another: {error}",
            remedy="let the address begin with redis+cluster:// or rediss+cluster://",
        )

    def _named(self, error: Exception) -> str:
        who = f'user "{self.username}"' if self.username else "the default user"
        return f"{who}: {error}"

    def _explained(self, error: ConnectionError) -> ConnectionError:
        if self._has_answered:
            return error
        return ConnectionError(f"{str(error).rstrip('.')}; nothing was answered yet: {self._suspicion}")

    @property
    def _suspicion(self) -> str:
        return "where it speaks TLS, the address must begin with rediss://"


class PlainConnection(Worded, Connection):
    """Over TCP."""

    _correction = f"{CORRECT_ADDRESS}; where Redis speaks TLS it begins with rediss://"


class UnixConnection(Worded, UnixDomainSocketConnection):
    """Over a unix socket."""

    def _explained(self, error: ConnectionError) -> ConnectionError:
        return error


class TlsConnection(Worded, Connection):
    """Over TLS."""

    def __init__(self, *, tls: Tls, **options: Any) -> None:
        super().__init__(**options)
        self._tls = tls

    def _connection_arguments(self) -> dict[str, Any]:
        return {**super()._connection_arguments(), "ssl": self._tls.context()}

    async def _connect(self) -> None:
        try:
            await super()._connect()
        except ssl.SSLError as error:
            words, remedy = _tls_words(error)
            raise TlsRefused(f"{self._host_error()}: {words}", remedy=remedy) from error
        except ConfigError as error:  # a file that was there at the start
            raise TlsRefused(str(error), remedy="put it back") from error
        except TimeoutError as error:
            raise OSError(None, "no TLS within the time-out: perhaps it does not speak TLS there") from error

    def _explained(self, error: ConnectionError) -> ConnectionError:
        found = _failure_words(str(error))
        if found is None:
            return super()._explained(error)
        words, remedy = found
        return TlsRefused(f"{self._host_error()}: {words}", remedy=remedy)

    @property
    def _suspicion(self) -> str:
        return f"where it asks for a client certificate, {_NAME_ONE}"


def barrier_of(error: BaseException) -> Barrier | None:
    """Return what bars us, where that is what an error comes from; None for all others.

    redis-py wraps what comes up while it connects, and a pipe what ends the calls behind another.
    """
    found = error.__cause__ if isinstance(error, ConnectionError) else None
    return next((one for one in (found, error) if isinstance(one, Barrier)), None)


def is_script_barred(text: str) -> bool:
    """Return whether the text of an error says that an ACL denies a script something."""
    return any(words in text for words in _SCRIPT_BARRED)


def is_wait_refused(text: str) -> bool:
    """Return whether the text of an error says that a server cannot wait for replicas, being one by now."""
    return _WAITS_NOT.search(text) is not None


def _tls_words(error: ssl.SSLError) -> tuple[str, str]:
    """Return what is wrong, and what to do about it."""
    if not isinstance(error, ssl.SSLCertVerificationError):
        return _failure_words(str(error)) or (f"no TLS came about: {error}", "see the log of Redis")
    if error.verify_code in _UNKNOWN_SIGNER:
        remedy = f"name the file of who signed it with {CA} in the address"
    elif error.verify_code in _WRONG_NAME:
        remedy = "use the name that it was made for in the address, or have it made for this one too"
    else:
        remedy = "give Redis another"
    return f"its certificate is not accepted: {error.verify_message.rstrip('.')}", remedy


def _failure_words(text: str) -> tuple[str, str] | None:
    return next(((words, remedy) for name, words, remedy in _FAILURES if name in text), None)
