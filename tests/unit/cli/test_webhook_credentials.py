import io
import re
import string
import sys

import pytest

from cli.output import Failure
from cli.webhook_credentials import LENGTH, find_problem, new_credential, read_own_secret


def test_a_new_credential_is_long_random_and_breaks_no_dialect() -> None:
    made = {new_credential() for _ in range(200)}

    assert len(made) == 200
    assert all(re.fullmatch(rf"[A-Za-z0-9]{{{LENGTH}}}", one) for one in made)
    assert LENGTH >= 32
    # Every character is drawn; 8,000 draws miss none of 62 but with a chance of 1e-54.
    assert set("".join(made)) == set(string.ascii_letters + string.digits)


@pytest.mark.parametrize(
    "secret",
    ["12345678", "6157891234567", "correct horse battery", "s3cr3t-of-mine", "pässwörtli", "x" * 255 + "y"],
)
def test_a_secret_that_a_user_has_already_is_taken(secret: str) -> None:
    assert find_problem(secret) is None


@pytest.mark.parametrize(
    ("secret", "words"),
    [
        ("", "has 0 characters, expected 8 to 256"),
        ("1234567", "has 7 characters"),
        ("x" * 256 + "y", "has 257 characters"),
        ("abc\tdefgh", "control character"),
        ("abc\x00defgh", "control character"),
        ("abc\x1b[2Jdefgh", "control character"),
        (" abcdefgh", "begins or ends with a space"),
        ("abcdefgh ", "begins or ends with a space"),
        ("<SECRET>", "placeholder"),
        ("<your secret>", "placeholder"),
        ("{{secret}}", "placeholder"),
        ("abc{{ticker}}", "placeholder"),
        ("$WEBHOOK_SECRET", "placeholder"),
        ("${WEBHOOK_SECRET}", "placeholder"),
        ("xxxxxxxxxx", "placeholder"),
        ("changeme", "placeholder"),
        ("YOUR_SECRET", "placeholder"),
        ("your-license-id", "placeholder"),
        ("Password123!", "placeholder"),
    ],
)
def test_one_that_protects_nothing_is_refused_without_being_repeated(secret: str, words: str) -> None:
    problem = find_problem(secret)

    assert problem is not None
    assert words in problem
    assert not secret or secret not in problem


@pytest.mark.parametrize(
    "line", ["mine-to-keep", "mine-to-keep\n", "mine-to-keep\r\n", "mine-to-keep\nmore\n"]
)
def test_the_first_line_of_stdin_is_the_secret(monkeypatch: pytest.MonkeyPatch, line: str) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(line))

    assert read_own_secret() == "mine-to-keep"


@pytest.mark.parametrize("content", [b"", b"\n", b"short\n", b"\xff\xfe-not-utf-8\n"])
def test_an_unusable_line_fails_in_words(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content), encoding="utf-8"))

    with pytest.raises(Failure, match="--secret-stdin: "):
        read_own_secret()
