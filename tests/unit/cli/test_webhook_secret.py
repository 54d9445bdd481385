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


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    kept_path(tmp_path).write_text("")
    with pytest.raises(ConfigError, match="is empty"):
        kept_secret(tmp_path)
