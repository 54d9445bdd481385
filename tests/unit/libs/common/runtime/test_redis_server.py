import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from libs.common.domain.errors import ConfigError
from libs.common.runtime.redis_server import socket_path


@pytest.fixture
def short() -> Iterator[Path]:
    """A directory whose path leaves room for a socket, whatever the tests' own directories are called."""
    with tempfile.TemporaryDirectory(prefix="bascule-short-", dir="/tmp") as name:
        yield Path(name)


def test_a_short_path_keeps_the_socket_beside_the_data(short):
    var = short / "v"
    assert socket_path(var, {}) == var / "redis.sock"


def test_a_long_path_moves_the_socket_to_a_private_directory(tmp_path, short):
    var = tmp_path / ("long" * 30)
    found = socket_path(var, {"XDG_RUNTIME_DIR": str(short)})
    assert found.parent.parent == short
    assert stat.S_IMODE(found.parent.stat().st_mode) == 0o700
    assert socket_path(var, {"XDG_RUNTIME_DIR": str(short)}) == found
    assert socket_path(tmp_path / ("other" * 30), {"XDG_RUNTIME_DIR": str(short)}) != found


@pytest.mark.parametrize(
    "spoil", [lambda path: path.chmod(0o755), lambda path: (path.rmdir(), path.symlink_to("/tmp"))]
)
def test_a_directory_that_others_can_enter_is_refused(tmp_path, short, spoil):
    var = tmp_path / ("long" * 30)
    environ = {"XDG_RUNTIME_DIR": str(short)}
    spoil(socket_path(var, environ).parent)
    with pytest.raises(ConfigError, match="not a private directory"):
        socket_path(var, environ)
