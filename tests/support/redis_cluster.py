"""A Redis Cluster of three primaries on this machine, to be killed and resharded at will."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, Self

import redis

from libs.common.store.cluster import slot_of
from libs.common.store.keys import Keys
from tests.support.eventually import eventually_sync
from tests.support.ports import free_port
from tests.support.redis_server import Binary, RedisServer

SLOTS: Final = 16_384

_OPTIONS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "cluster-enabled": "yes",
        "cluster-node-timeout": "4000",
        # As docs/redis.md says: the others go on while one is away.
        "cluster-require-full-coverage": "no",
    }
)

_MOVED_AT_ONCE: Final = 100
"""Keys."""


class RedisCluster:
    """Three servers, each with a third of the slots: s2 on the first, s3 on the second, s0 and s1 on the third.

    Args:
        binary: The program; by default the newest one there is.
        options: Directives beside those of `RedisServer`.
        identity: As there.
    """

    def __init__(
        self,
        binary: Binary | None = None,
        *,
        options: Mapping[str, str] | None = None,
        identity: Mapping[str, str] | None = None,
    ) -> None:
        self.nodes = [
            RedisServer(binary, tcp=True, options={**_OPTIONS, **(options or {})}, identity=identity)
            for _ in range(3)
        ]
        for node in self.nodes:
            node.port = free_port()

    def __enter__(self) -> Self:
        try:
            for node in self.nodes:
                node.start()
            self._join()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Kill all nodes and delete what they wrote."""
        for node in self.nodes:
            node.close()

    @property
    def url(self) -> str:
        return f"redis+cluster://{','.join(f'127.0.0.1:{node.port}' for node in self.nodes)}"

    def node_of(self, shard: int) -> RedisServer:
        """Return the node that serves a shard, as the first that runs says; not one that stands still."""
        slot = slot_of(Keys(shard).prefix)
        asked = next(node for node in self.nodes if node.is_running and not node.is_frozen)
        with asked.client() as client:
            for start, end, primary, *_ in client.execute_command("CLUSTER", "SLOTS"):
                if start <= slot <= end:
                    return next(node for node in self.nodes if node.port == int(primary[1]))
        raise LookupError(f"nobody serves shard {shard}")

    def client(self, shard: int, **options: Any) -> Any:
        """Return a synchronous client of the node that serves a shard now."""
        return self.node_of(shard).client(**options)

    def move(self, shard: int, to: RedisServer) -> None:
        """Move a shard's slot with all of its keys to another node, while it is used."""
        slot, source = slot_of(Keys(shard).prefix), self.node_of(shard)
        with source.client(socket_timeout=30) as giving, to.client() as taking:
            taking.execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", _id(giving))
            giving.execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", _id(taking))
            while keys := giving.execute_command("CLUSTER", "GETKEYSINSLOT", slot, _MOVED_AT_ONCE):
                giving.execute_command("MIGRATE", "127.0.0.1", to.port, "", 0, 10_000, "KEYS", *keys)
            for node in (to, source, *self.nodes):
                with node.client() as client:
                    client.execute_command("CLUSTER", "SETSLOT", slot, "NODE", _id(taking))

    def add_replica(self, shard: int) -> RedisServer:
        """Start a replica of the node that serves a shard, and return it once it has all that its primary has."""
        primary = self.node_of(shard)
        replica = RedisServer(primary.binary, tcp=True, options=primary.options)
        replica.port = free_port()
        self.nodes.append(replica.start())
        with primary.client() as theirs, replica.client() as own:
            own.execute_command("CLUSTER", "MEET", "127.0.0.1", primary.port)
            eventually_sync(lambda: _id(theirs) in str(own.execute_command("CLUSTER", "NODES")), 20)
            own.execute_command("CLUSTER", "REPLICATE", _id(theirs))
            eventually_sync(lambda: own.info("replication").get("master_link_status") == "up", 20)
        return replica

    def is_whole(self) -> bool:
        """Return whether every node knows the others and serves all slots."""
        return all(node.is_running and _is_well(node) for node in self.nodes)

    def _join(self) -> None:
        bounds = [SLOTS * number // 3 for number in range(4)]
        for number, node in enumerate(self.nodes):
            with node.client() as client:
                client.execute_command("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
                client.execute_command("CLUSTER", "ADDSLOTS", *range(bounds[number], bounds[number + 1]))
        for node in self.nodes:
            with node.client() as client:
                for other in self.nodes:
                    if other is not node:  # each meets each: gossip alone takes seconds
                        client.execute_command("CLUSTER", "MEET", "127.0.0.1", other.port)
        eventually_sync(self.is_whole, 30, 0.05, "the cluster is whole")


def _is_well(node: RedisServer) -> bool:
    with node.client() as client:
        facts = str(client.execute_command("CLUSTER", "INFO"))
    return all(
        word in facts
        for word in ("cluster_state:ok", "cluster_slots_ok:16384", "cluster_known_nodes:3", "cluster_size:3")
    )


def _id(client: "redis.Redis") -> str:
    return str(client.execute_command("CLUSTER", "MYID"))
