"""A Redis that only lets in the users of `config/redis-users.acl`, made as `docs/redis.md` says."""

import re
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import redis

from tests.support.bridge import Bridge
from tests.support.redis_server import Binary, RedisServer
from tests.support.service import Service
from tests.support.tree import ROOT

USERS: Final = ("ingress", "worker", "reaper", "operator", "observer")
NO_PASSWORD: Final = "0" * 64
ADMIN: Final = {"username": "admin", "password": "the-tests-own"}


def make_users(directory: Path) -> Path:
    """Make the users as the documentation says, and one of the tests' own; return their file."""
    directory.mkdir()
    (directory / "config").symlink_to(ROOT / "config")
    subprocess.run(["bash", "-euc", documented_commands()], cwd=directory, check=True, timeout=30)
    users = directory / "users.acl"
    with users.open("a") as file:
        file.write(f"user {ADMIN['username']} on >{ADMIN['password']} ~* &* +@all\n")
    return users


@dataclass(frozen=True)
class GuardedRedis:
    """A server with those users, and one of the test's own."""

    server: RedisServer
    urls: Mapping[str, str]
    """User -> address, as the documented commands wrote it."""

    def client(self, user: str) -> "redis.Redis":
        """Return a client that comes as one of the users."""
        return redis.Redis.from_url(self.urls[user], decode_responses=True, protocol=2, retry=None)

    @property
    def denials(self) -> list[dict[str, Any]]:
        """Return what was denied to anybody, newest first."""
        with self.server.client() as admin:
            found: list[dict[str, Any]] = admin.acl_log()
            return found

    def grant(self, user: str, *rules: str) -> None:
        """Change the rights of a user at once, `+command` or `-command`."""
        with self.server.client() as admin:
            admin.execute_command("ACL", "SETUSER", user, *rules)


@contextmanager
def guarded_redis(binary: Binary, directory: Path) -> Iterator[GuardedRedis]:
    """Run one, with the passwords that the commands of the documentation made."""
    users = make_users(directory)
    with RedisServer(binary, tcp=True, options={"aclfile": str(users)}, identity=ADMIN) as server:
        urls = {
            user: (directory / f"redis-url-{user}").read_text().replace(":6379/", f":{server.port}/")
            for user in USERS
        }
        yield GuardedRedis(server, {**urls, "admin": f"unix://admin:{ADMIN['password']}@{server.path}"})


def documented_commands() -> str:
    """Return the commands of `docs/redis.md` that make users."""
    found = re.search(r"```sh\n(umask.*?)```", (ROOT / "docs" / "redis.md").read_text(), re.DOTALL)
    assert found is not None
    return found[1]


class GuardedBridge(Bridge):
    """A bridge whose every process is a user of its own; commands come as `operator`, and the test as itself."""

    def __init__(
        self,
        directory: Path,
        guarded: GuardedRedis,
        *,
        environment: Mapping[str, str] | None = None,
        **options: Any,
    ) -> None:
        self.guarded = guarded
        environment = {**(environment or {}), "REDIS_URL": guarded.urls["operator"]}
        super().__init__(directory, guarded.urls["admin"], environment=environment, **options)

    def _add(self, name: str, group: list[Service], own: Mapping[str, Any]) -> Service:
        operators, self.environment = (
            self.environment,
            {**self.environment, "REDIS_URL": self.guarded.urls[name]},
        )
        try:
            return super()._add(name, group, own)
        finally:
            self.environment = operators
