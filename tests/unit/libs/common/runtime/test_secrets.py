import copy
import pickle

import pytest

from libs.common.domain.errors import ConfigError
from libs.common.runtime.secrets import Secret, has_secret, mask_url, read_secret


def test_a_secret_shows_itself_only_when_asked():
    secret = Secret("hunter2")
    assert secret.reveal() == "hunter2"
    for text in (str(secret), repr(secret), f"{secret}", f"{[secret]}", "%s" % secret):  # noqa: UP031
        assert "hunter2" not in text
        assert "***" in text


@pytest.mark.parametrize("leak", [pickle.dumps, copy.copy, copy.deepcopy])
def test_a_secret_is_not_copied_about(leak):
    with pytest.raises(TypeError):
        leak(Secret("hunter2"))


def test_a_secret_comes_from_its_variable():
    assert read_secret("KEY", {"KEY": " as it is "}).reveal() == " as it is "


@pytest.mark.parametrize("ending", ["", "\n", "\r\n", "\n\n"])
def test_a_secret_comes_from_a_file_without_its_line_end(tmp_path, ending):
    path = tmp_path / "key"
    path.write_bytes(b"from a file" + ending.encode())
    assert read_secret("KEY", {"KEY_FILE": str(path)}).reveal() == "from a file"


def test_what_is_wrong_with_a_secret_is_said_without_its_value(tmp_path):
    empty, binary = tmp_path / "empty", tmp_path / "binary"
    empty.write_text("\n")
    binary.write_bytes(b"\xff\xfe")
    for environ, expected in (
        ({}, "set KEY, or KEY_FILE"),
        ({"KEY": ""}, "empty"),
        ({"KEY": "  "}, "empty"),
        ({"KEY": "hunter2", "KEY_FILE": str(empty)}, "both KEY and KEY_FILE"),
        ({"KEY_FILE": str(empty)}, "which is empty"),
        ({"KEY_FILE": str(binary)}, "not UTF-8"),
        ({"KEY_FILE": str(tmp_path / "missing")}, "No such file"),
        ({"KEY_FILE": str(tmp_path)}, "Is a directory"),
        ({"KEY": "hunter2\udcff"}, "the variable is not UTF-8"),
        ({"KEY_FILE": ""}, "KEY_FILE is empty; expected the path of a file that holds it"),
    ):
        with pytest.raises(ConfigError, match=expected) as caught:
            read_secret("KEY", environ)
        assert "KEY" in str(caught.value)
        assert "hunter2" not in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_secret_is_there_as_variable_or_file():
    assert has_secret("KEY", {"KEY": ""})
    assert has_secret("KEY", {"KEY_FILE": "x"})
    assert not has_secret("KEY", {"KEY2": "x"})


@pytest.mark.parametrize(
    ("url", "masked"),
    [
        ("redis://h:1/0", "redis://h:1/0"),
        ("redis://:pw@h:1/0", "redis://:***@h:1/0"),
        ("rediss://user:p%40w@h/0?ssl=1", "rediss://user:***@h/0?ssl=1"),
        ("redis://user@h", "redis://user@h"),
        ("unix:///run/redis.sock?db=1&password=pw", "unix:///run/redis.sock?db=1&password=***"),
        ("redis+cluster://u:pw@h:1,i:2/0", "redis+cluster://u:***@h:1,i:2/0"),
        (
            "redis+sentinel://u:pw@h:1,i:2/desk/0?sentinel_username=w&sentinel_password=pw",
            "redis+sentinel://u:***@h:1,i:2/desk/0?sentinel_username=w&sentinel_password=***",
        ),
        ("redis://u:pw@[::1/0?password=pw", "***"),
        ("rediss+cluster://h:1,i:2?password=pw", "rediss+cluster://h:1,i:2?password=***"),
    ],
)
def test_a_url_is_shown_without_its_password(url, masked):
    assert mask_url(url) == masked
