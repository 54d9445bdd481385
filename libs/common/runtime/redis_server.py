"""A Redis of our own at work: how it is run, where its socket lies, and when it is ready."""

import asyncio
import hashlib
import os
import signal
import stat
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from libs.common.domain.errors import ConfigError
from libs.common.runtime.redis_binary import ServerBinary
from libs.common.runtime.supervisor import Program

LONGEST_SOCKET_PATH: Final = 100
"""Bytes; the system's own limit is 107."""

_STOP_PATIENCE_S: Final = 60.0


def socket_path(var: Path, environ: Mapping[str, str]) -> Path:
    """Return where the server listens: under `var`, or in a short private directory where that path is too long.

    Raises:
        ConfigError: The private directory is somebody else's.
    """
    path = var / "redis.sock"
    if len(os.fsencode(path)) <= LONGEST_SOCKET_PATH:
        return path
    name = f"bascule-{os.getuid()}-{hashlib.sha256(os.fsencode(var)).hexdigest()[:12]}"
    for root in (environ.get("XDG_RUNTIME_DIR", ""), tempfile.gettempdir(), "/tmp"):  # noqa: S108 - checked below
        path = Path(root) / name / "redis.sock"
        if root and os.access(root, os.W_OK) and len(os.fsencode(path)) <= LONGEST_SOCKET_PATH:
            break
    with suppress(FileExistsError):
        path.parent.mkdir(mode=0o700)
    found = path.parent.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise ConfigError(f"{path.parent} is not a private directory of this user; remove it")
    return path


def server_program(
    binary: ServerBinary, data: Path, socket: Path, lock: int, environ: Mapping[str, str]
) -> Program:
    """Return how to run the server: on a unix socket alone, every write on disk before it is answered."""
    options = {
        "port": "0",
        "unixsocket": str(socket),
        "unixsocketperm": "700",
        "dir": str(data),
        "appendonly": "yes",
        "appendfsync": "always",
        "save": "",
        "maxmemory-policy": "noeviction",
        # Plans and answers of venues are longer than the default of 64: a third less memory for the same alerts. The
        # name that every version knows.
        "hash-max-ziplist-value": "1024",
        # What a script reads or deletes of a stream it looks for in a node of it: shorter ones than the default of 4,096.
        "stream-node-max-bytes": "1024",
        "daemonize": "no",
        "logfile": str(data / "redis.log"),
    }
    arguments = [word for name, value in options.items() for word in (f"--{name}", value)]
    return Program(
        name="redis",
        command=(binary.path, *arguments),
        environment=environ,
        patience_s=_STOP_PATIENCE_S,
        # It closes its files in good order; the lock keeps a successor waiting meanwhile.
        death_signal=signal.SIGTERM,
        files=(lock,),
        words=f"see {data}/redis.log",
    )


async def is_ready(socket: Path) -> bool:
    """Return whether the server answers and has loaded its data."""
    try:
        async with asyncio.timeout(2):
            reader, writer = await asyncio.open_unix_connection(socket)
            try:
                writer.write(b"PING\r\n")
                await writer.drain()
                return await reader.readline() == b"+PONG\r\n"
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return False
