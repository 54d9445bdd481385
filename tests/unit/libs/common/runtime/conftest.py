from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from libs.common.runtime.load_settings import load_settings
from libs.common.runtime.settings import Settings

BASE = """\
webhooks: {default: {secret: WEBHOOK_SECRET, accounts: [desk]}}
accounts:
  desk: {broker: http, url: "http://127.0.0.1:9009", secret: DESK_SECRET}
"""

Load = Callable[..., Settings]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Loads settings from a text."""

    def load_text(text: str, environ: Mapping[str, str] | None = None) -> Settings:
        path = tmp_path / "my.yaml"
        path.write_text(text)
        return load_settings(path, environ)

    return load_text
