import stat

import pytest

from libs.common.domain.errors import ConfigError
from libs.common.runtime.redis_server import socket_path


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
