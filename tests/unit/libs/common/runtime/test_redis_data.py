import json
import os
import subprocess

import pytest

from libs.common.domain.errors import ConfigError
from libs.common.runtime import redis_data
from libs.common.runtime.redis_binary import ServerBinary
from libs.common.runtime.redis_data import claim_data, lock_data


def server(flavour, *version):
    return ServerBinary(path=f"/usr/bin/{flavour}-server", flavour=flavour, version=version)


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


def test_data_is_held_by_one_server_for_as_long_as_any_of_its_processes_lives(tmp_path, monkeypatch):
    monkeypatch.setattr(redis_data, "_LOCK_PATIENCE_S", 0.0)
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
