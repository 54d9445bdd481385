"""Passwords of Redis' users are changed as docs/redis.md says, under load: every post is taken, and each trades once."""

import asyncio
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import redis

from tests.e2e.ledger import all_accepted, assert_executed_once
from tests.e2e.redis_users import USERS, GuardedBridge, GuardedRedis, guarded_redis, make_users
from tests.support.eventually import eventually
from tests.support.redis_server import Binary
from tests.support.tree import ROOT
from tests.support.venue import Venue

if TYPE_CHECKING:
    from tests.support.http_client import Answer

pytestmark = [pytest.mark.redis, pytest.mark.parametrize("redis_binary", ["newest"], indirect=True)]


def documented_changes() -> str:
    """Return the commands of the document that write the changes down, but for the line that says where the files are."""
    found = re.search(r"```sh\nold=.*\n((?:.*\n)*?)```", (ROOT / "docs" / "redis.md").read_text())
    assert found is not None
    return found[1]


class Load:
    """Posts one alert after the other, to the ingresses that are named, until it is told to end."""

    def __init__(self, bridge: GuardedBridge) -> None:
        """Args:
        bridge: All of its ingresses are posted to at first.
        """
        self._bridge = bridge
        self.ingresses = list(range(len(bridge.ingresses)))
        self.answers: list[Answer] = []
        self._is_ending = False

    async def run(self) -> None:
        """Go on until `end`."""
        while not self._is_ending:
            number = len(self.answers)
            alert = self._bridge.alert(symbol=f"S{number % 10}")
            ingress = self.ingresses[number % len(self.ingresses)]
            self.answers.append(await self._bridge.post(alert, ingress=ingress))
            await asyncio.sleep(0.02)  # the pace of the sender

    async def passes(self, count: int = 10) -> None:
        """Wait until so many more were answered."""
        wanted = len(self.answers) + count
        await eventually(lambda: len(self.answers) >= wanted)

    def end(self) -> None:
        """Post no more."""
        self._is_ending = True


@pytest.fixture
def guarded(redis_binary: Binary, tmp_path: Path) -> Iterator[GuardedRedis]:
    with guarded_redis(redis_binary, tmp_path / "old") as server:
        yield server


async def test_passwords_of_redis_are_changed_under_load_without_a_post_refused(
    guarded: GuardedRedis, tmp_path: Path, venue: Venue
) -> None:
    old, new = tmp_path / "old" / "users.acl", make_users(tmp_path / "new")
    shutil.copy(old, tmp_path / "old.acl")
    where = {"old": "old.acl", "new": str(new), "PATH": "/usr/bin:/bin"}
    subprocess.run(["bash", "-euc", documented_changes()], cwd=tmp_path, env=where, check=True, timeout=30)
    addresses = {
        user: (tmp_path / "new" / f"redis-url-{user}")
        .read_text()
        .replace(":6379/", f":{guarded.server.port}/")
        for user in USERS
    }
    changed = replace(guarded, urls={**guarded.urls, **addresses})
    bridge = GuardedBridge(tmp_path / "bridge", guarded, venue=venue)

    def say(file: str) -> None:
        with guarded.server.client() as admin:
            lines = (tmp_path / file).read_text().splitlines()
            assert len(lines) == len(USERS)
            for line in lines:
                assert admin.execute_command(*line.split())

    try:
        bridge.start()
        load = Load(bridge)
        posting = asyncio.create_task(load.run())
        await load.passes()

        say("add.redis")
        old.write_text((tmp_path / "both.acl").read_text())
        await load.passes()

        bridge.guarded = changed
        before = [*bridge.reapers, *bridge.workers, *bridge.ingresses]
        after = [bridge._reaper().start(), bridge._worker().start(), bridge._ingress().start()]
        for service in after:
            await asyncio.to_thread(service.wait_ready)
        # As a Service of Kubernetes does before it ends a pod.
        load.ingresses = [bridge.ingresses.index(after[-1])]
        await load.passes(3)
        for service in before:
            assert (await asyncio.to_thread(service.terminate)).code == 0
        await load.passes()

        say("drop.redis")
        old.write_text(new.read_text())
        await load.passes()
        for user in USERS:
            with pytest.raises(redis.AuthenticationError):
                guarded.client(user).ping()
        load.end()
        await posting
        await bridge.wait_ended(len(load.answers))
        assert_executed_once(bridge, venue, all_accepted(load.answers))
        assert all(one["username"] in USERS and one["reason"] == "auth" for one in guarded.denials)

        # What is in the file is what counts now.
        guarded.server.restart()
        await eventually(lambda: changed.client("observer").info("server"))
        assert (await bridge.post(bridge.alert(), ingress=len(bridge.ingresses) - 1)).status in {200, 503}
    finally:
        bridge.close()
