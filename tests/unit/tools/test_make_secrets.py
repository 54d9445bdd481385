"""What tools/make-secrets makes."""

import hashlib
import os
import re
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import pytest

ROOT = Path(__file__).parents[3]


def make(*arguments: object, path: str = os.environ["PATH"]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [ROOT / "tools" / "make-secrets", *map(str, arguments)],
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )


def test_each_user_has_an_address_whose_password_redis_knows_by_its_digest(tmp_path: Path) -> None:
    assert make(tmp_path / "made", "rediss+sentinel://a:26379,b:26379/bascule").returncode == 0
    users = (tmp_path / "made" / "redis" / "users.acl").read_text()
    seen = set()
    for user in ("ingress", "worker", "reaper", "operator", "observer"):
        url = (tmp_path / "made" / "redis" / user).read_text()
        assert url.startswith(f"rediss+sentinel://{user}:")
        assert url.endswith("@a:26379,b:26379/bascule")
        password = urlsplit(url).password
        assert password is not None
        assert f"user {user} on #{hashlib.sha256(password.encode()).hexdigest()} " in users
        seen.add(password)
    # A cluster is given all of redis/: who may do anything is not among them.
    for user, path in (("replication", "redis/replication"), ("admin", "people/redis-admin")):
        password = (tmp_path / "made" / path).read_text()
        assert f"user {user} on #{hashlib.sha256(password.encode()).hexdigest()} " in users
    assert len(seen) == 5
    assert not re.search(r"#0{64}", users), "a user without a password of its own"


def test_who_may_wait_for_replicas_may_wait_for_their_disks(tmp_path: Path) -> None:
    make(tmp_path / "made")
    rights = {words[1]: words for words in map(str.split, (tmp_path / "made" / "redis" / "users.acl").open())}
    for user in ("ingress", "worker", "operator"):
        assert {"+wait", "+waitaof"} <= set(rights[user]), user


def test_without_openssl_no_empty_secret_is_made(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    openssl = tmp_path / "bin" / "openssl"
    openssl.write_text("#!/bin/sh\nexit 1\n")
    openssl.chmod(0o755)
    assert make(tmp_path / "made", path=f"{openssl.parent}:{os.environ['PATH']}").returncode == 1
    assert [one for one in (tmp_path / "made").rglob("*") if one.is_file()] == []


def test_nobody_else_may_enter_where_they_are(tmp_path: Path) -> None:
    make(tmp_path / "made")
    assert (tmp_path / "made").stat().st_mode & 0o077 == 0
    assert (tmp_path / "made" / "redis" / "ingress").stat().st_mode & 0o444 == 0o444


def test_what_is_there_is_never_overwritten(tmp_path: Path) -> None:
    make(tmp_path / "made")
    before = (tmp_path / "made" / "webhooks" / "WEBHOOK_SECRET").read_text()
    again = make(tmp_path / "made")
    assert again.returncode == 1
    assert "exists" in again.stderr
    assert (tmp_path / "made" / "webhooks" / "WEBHOOK_SECRET").read_text() == before


@pytest.mark.parametrize("address", ["redis:6379", "redis://me:word@redis:6379/0"])
def test_an_address_that_is_none_is_refused(tmp_path: Path, address: str) -> None:
    refused = make(tmp_path / "made", address)
    assert refused.returncode == 2
    assert not (tmp_path / "made").exists()
