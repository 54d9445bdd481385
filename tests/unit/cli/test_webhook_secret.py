import errno
import os
import stat
from pathlib import Path

import pytest

from cli.webhook_secret import find_kept, kept_path, kept_secret
from libs.common.domain.errors import ConfigError


def test_a_generated_secret_is_kept_for_its_owner_alone(tmp_path: Path) -> None:
    assert find_kept([tmp_path]) is None
    secret = kept_secret(tmp_path)
    assert len(secret) >= 32
    assert kept_secret(tmp_path) == secret
    assert find_kept([tmp_path / "other", tmp_path]) == kept_path(tmp_path)
    assert stat.S_IMODE(kept_path(tmp_path).stat().st_mode) == 0o600


def test_a_place_where_nobody_may_look_keeps_none(tmp_path: Path) -> None:
    # A name that no file system takes is refused as a directory of somebody else is.
    nowhere = tmp_path / ("x" * 300)
    kept_secret(tmp_path)
    assert find_kept([nowhere, tmp_path]) == kept_path(tmp_path)
    with pytest.raises(ConfigError, match="webhook-secret: cannot be made: File name too long"):
        kept_secret(nowhere)


@pytest.mark.parametrize("kind", ["directory", "binary", "barred"])
def test_a_file_that_cannot_be_read_is_named_and_what_to_do(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = kept_path(tmp_path)
    if kind == "directory":
        path.mkdir()
    else:
        path.write_bytes(b"\xff\xfe")
    if kind == "barred":

        def refuse(*_: object, **__: object) -> str:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

        monkeypatch.setattr(Path, "read_text", refuse)
    reason = {
        "directory": "Is a directory",
        "binary": "it is not UTF-8",
        "barred": "Permission denied",
    }[kind]
    with pytest.raises(ConfigError, match=f"webhook-secret: cannot be read: {reason}; .*set WEBHOOK_SECRET"):
        kept_secret(tmp_path)


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    kept_path(tmp_path).write_text("")
    with pytest.raises(ConfigError, match="is empty"):
        kept_secret(tmp_path)
