"""A primary with replicas, and three Sentinels that watch over them, on this machine: to be killed and frozen at will."""

import os
import socket
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, Self

import redis

from tests.support.child_server import ChildServer
from tests.support.eventually import eventually_sync
from tests.support.ports import free_port
from tests.support.redis_server import Binary, RedisServer

SERVICE: Final = "desk"

DOWN_AFTER_MS: Final = 1_000
"""When a Sentinel takes a server that says nothing for down."""

_GUARDED: Final[Mapping[str, str]] = MappingProxyType(
    {"min-replicas-to-write": "1", "min-replicas-max-lag": "2", "repl-diskless-sync-delay": "0"}
)
"""As docs/redis.md says: a primary that was cut off takes no more writes."""


class Sentinel(ChildServer):
    """One Sentinel.

    Args:
        binary: The program of Redis, which is that of Sentinel too.
        primary_port: What it watches.
        password: What it wants of everybody, and gives to the others.
        quorum: How many must take the primary for down.
        tls: Directives of its certificate; with them it speaks TLS alone.
    """

    def __init__(
        self,
        binary: Binary,
        primary_port: int,
        *,
        password: str | None = None,
        quorum: int = 2,
        tls: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__("sentinel")
        self.binary = binary
        self.port = free_port()
        self._password = password
        own: tuple[str, ...] = ()
        if password is not None:
            own = (f"requirepass {password}", f"sentinel sentinel-pass {password}")
        if tls is not None:
            served = {"port": "0", "tls-port": str(self.port), "tls-replication": "yes", **tls}
            own += tuple(f"{name} {value}" for name, value in served.items())
        self._path = self.directory / "sentinel.conf"
        lines = (
            f"port {self.port}",
            "bind 127.0.0.1",
            f"dir {self.directory}",
            f"logfile {self.log_path}",
            f"sentinel monitor {SERVICE} 127.0.0.1 {primary_port} {quorum}",
            f"sentinel down-after-milliseconds {SERVICE} {DOWN_AFTER_MS}",
            f"sentinel failover-timeout {SERVICE} 5000",
            *own,
        )
        self._path.write_text("".join(f"{line}\n" for line in lines))

    def command(self) -> list[str | os.PathLike[str]]:
        """Return what is run."""
        return [self.binary.path, self._path, "--sentinel"]

    def listens(self) -> bool:
        """Return whether it takes connections."""
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        except OSError:
            return False
        return True

    def client(self) -> "redis.Redis":
        """Return a synchronous client that tries once."""
        options: dict[str, Any] = {
            "decode_responses": True,
            "protocol": 2,
            "socket_timeout": 5.0,
            "retry": None,
        }
        return redis.Redis(port=self.port, password=self._password, **options)


class RedisSentinels:
    """A primary, its replicas, and three Sentinels of which two must agree.

    Args:
        binary: The program; by default the newest one there is.
        replicas: How many.
        options: Directives for all servers, beside those of `RedisServer` and what guards a primary that is cut off.
        password: What the Sentinels want, if anything.
    """

    def __init__(
        self,
        binary: Binary | None = None,
        *,
        replicas: int = 2,
        options: Mapping[str, str] | None = None,
        password: str | None = None,
    ) -> None:
        self.servers = [
            RedisServer(binary, tcp=True, options={**_GUARDED, **(options or {})})
            for _ in range(replicas + 1)
        ]
        first = self.servers[0]
        assert first.port is not None
        for server in self.servers[1:]:
            server.options["replicaof"] = f"127.0.0.1 {first.port}"
        self._options = "" if password is None else f"?sentinel_password={password}"
        self.sentinels = [Sentinel(first.binary, first.port, password=password) for _ in range(3)]

    def __enter__(self) -> Self:
        try:
            for server in self.servers:
                server.start()
            eventually_sync(self._has_replicas, 20, 0.05, "the replicas are in step")
            for sentinel in self.sentinels:
                sentinel.start()
            eventually_sync(self._know_each_other, 30, 0.05, "the Sentinels know each other")
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Kill all and delete what they wrote."""
        for child in (*self.sentinels, *self.servers):
            child.close()

    @property
    def url(self) -> str:
        nodes = ",".join(f"127.0.0.1:{one.port}" for one in self.sentinels)
        return f"redis+sentinel://{nodes}/{SERVICE}{self._options}"

    @property
    def primary(self) -> RedisServer:
        """Return what the first Sentinel that answers takes for the primary."""
        asked = next(one for one in self.sentinels if one.is_running)
        with asked.client() as client:
            _, port = client.execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE)
        return next(one for one in self.servers if one.port == int(port))

    def fail_over(self) -> None:
        """Have a Sentinel replace the primary, which runs on."""
        with self.sentinels[0].client() as client:
            client.execute_command("SENTINEL", "FAILOVER", SERVICE)

    def wait_replaced(self, before: RedisServer) -> RedisServer:
        """Wait until another server is the primary, and return it."""

        def is_replaced() -> bool:
            return self.primary is not before

        eventually_sync(is_replaced, 30, 0.05, "another server is the primary")
        return self.primary

    def wait_whole(self) -> None:
        """Wait until all others follow the primary, and every Sentinel knows that."""
        eventually_sync(self._has_replicas, 60, 0.1, "the replicas are in step")
        eventually_sync(lambda: all(map(self._sees_all, self.sentinels)), 60, 0.1, "the Sentinels agree")

    def _sees_all(self, sentinel: Sentinel) -> bool:
        port = self.primary.port
        with sentinel.client() as client:
            primary = client.execute_command("SENTINEL", "MASTER", SERVICE)
            replicas = client.execute_command("SENTINEL", "REPLICAS", SERVICE)
        facts = _by_name(primary)
        followers = [_by_name(one) for one in replicas]
        return (
            (int(facts["port"]), facts["flags"]) == (port, "master")
            and len(followers) == len(self.servers) - 1
            and all(
                (one["flags"], one["role-reported"], one["master-link-status"], int(one["master-port"]))
                == ("slave", "slave", "ok", port)
                for one in followers
            )
        )

    def _has_replicas(self) -> bool:
        primary = self.primary if self.sentinels[0].is_running else self.servers[0]
        with primary.client() as client:
            facts = client.info("replication")
        found = [facts.get(f"slave{number}", {}).get("state") for number in range(len(self.servers) - 1)]
        return all(state == "online" for state in found)

    def _know_each_other(self) -> bool:
        return all(self._is_ready(one) for one in self.sentinels)

    def _is_ready(self, sentinel: Sentinel) -> bool:
        with sentinel.client() as client:
            words = client.execute_command("SENTINEL", "MASTER", SERVICE)
        facts = _by_name(words)
        return facts["num-other-sentinels"] in {"2", 2} and int(facts["num-slaves"]) == len(self.servers) - 1


def _by_name(words: Any) -> dict[str, Any]:
    # redis-py makes a dictionary of some of them.
    found: dict[str, Any] = (
        words if isinstance(words, dict) else dict(zip(words[::2], words[1::2], strict=True))
    )
    if isinstance(found.get("flags"), (set, list)):
        found["flags"] = ",".join(found["flags"])
    return found
