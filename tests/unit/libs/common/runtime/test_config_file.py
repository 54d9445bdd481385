import pytest

from libs.common.domain.errors import ConfigError
from libs.common.runtime.config_file import read_document


@pytest.fixture
def read(tmp_path):
    def read_bytes(content):
        path = tmp_path / "my.yaml"
        path.write_bytes(content)
        return read_document(path)

    return read_bytes


def test_words_stay_words(read):
    document = read(b"{a: off, b: no, c: yes, d: On, e: 12:30, f: 2026-01-01, g: 007, h: 0x10, i: 1_000}")
    assert all(isinstance(value, str) for value in document.values())


def test_plain_values_are_read_as_what_they_are(read):
    assert read(b"{a: true, b: false, c: 10, d: -3, e: 0.5, f: 1e3, g: null, h: ~, i: }") == {
        "a": True, "b": False, "c": 10, "d": -3, "e": 0.5, "f": 1000.0, "g": None, "h": None, "i": None,
    }  # fmt: skip


def test_an_empty_file_is_an_empty_section(read):
    assert read(b"# nothing yet\n") == {}


@pytest.mark.parametrize(
    "content",
    [b"- a\n", b"text\n", b"\xff\n", b"a: !!python/object:os.system x\n", b"a: {b: 1, b: 2}", b"a: b: c"],
)
def test_anything_but_a_section_of_plain_values_is_refused_in_one_line(read, content):
    with pytest.raises(ConfigError) as caught:
        read(content)
    assert "my.yaml: " in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere\.yaml: cannot be read: No such file"):
        read_document(tmp_path / "nowhere.yaml")
