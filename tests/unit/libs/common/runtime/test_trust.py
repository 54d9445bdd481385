"""Whom outgoing calls trust."""

import ssl
from pathlib import Path

import pytest

from libs.common.domain.errors import ConfigError
from libs.common.runtime.trust import trust_context


def test_without_a_word_of_the_environment_the_usual_authorities_are_trusted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)
    context = trust_context()
    assert context.verify_mode == ssl.CERT_REQUIRED
    assert context.cert_store_stats()["x509_ca"] > 50


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "No such file or directory"),
        (b"", "it holds no certificate"),
        (b"\xff\xfe", "it holds no certificate"),
    ],
)
def test_a_file_of_authorities_that_cannot_be_read_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | None, words: str
) -> None:
    path = tmp_path / "authorities.pem"
    if content is not None:
        path.write_bytes(content)
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
    with pytest.raises(ConfigError, match=f"SSL_CERT_FILE: {path} cannot be used: {words}"):
        trust_context()
