"""What is an address of the web, and what of one may show."""

import pytest

from libs.common.wire.web_address import is_web_address, origin_of, without_credentials

SECRETS = "https://user:pa55word@hooks.example.com:8443/services/t0ken?key=pa55word#pa55word"


@pytest.mark.parametrize(
    "text", ["http://a", "https://a.example/b?c=d#e", "http://127.0.0.1:1", "https://[::1]:8443/x", SECRETS]
)
def test_what_can_be_posted_to_is_an_address(text: str) -> None:
    assert is_web_address(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a",
        "a.example/b",
        "ftp://a",
        "http://",
        "http:///b",
        "http://a:0",
        "http://a:x",
        "http://a:65536",
        "http://[a",
    ],
)
def test_what_cannot_be_posted_to_is_none(text: str) -> None:
    assert not is_web_address(text)


@pytest.mark.parametrize(
    ("address", "origin"),
    [
        (SECRETS, "https://hooks.example.com:8443"),
        ("http://[::1]:80/t0ken", "http://[::1]:80"),
        ("https://hooks.example.com?t0ken", "https://hooks.example.com"),
    ],
)
def test_an_origin_holds_nothing_that_is_secret(address: str, origin: str) -> None:
    assert origin_of(address) == origin


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        (SECRETS, "https://hooks.example.com:8443/services/t0ken"),
        ("collector:4317", "collector:4317"),
        ("user:pa55word@collector:4317", "collector:4317"),
        ("http://c/a?key=pa@55word", "http://***"),
        ("http://user:pa?55@word@c", "http://***"),
        ("http://user:pa://55word@c", "http://***"),
        ("user:pa://55word@c", "***"),
        ("http://c:x?key=pa55word", "http://c:x"),
    ],
)
def test_an_address_shows_without_credentials_be_it_right_or_wrong(address: str, shown: str) -> None:
    assert without_credentials(address) == shown
