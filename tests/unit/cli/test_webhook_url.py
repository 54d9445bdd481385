import pytest

from cli.webhook_url import hook_url, url_warnings


@pytest.mark.parametrize(
    ("base", "token", "url"),
    [
        ("https://hooks.example.com", "abc", "https://hooks.example.com/hooks/abc"),
        ("https://hooks.example.com/", "abc", "https://hooks.example.com/hooks/abc"),
        ("https://example.com/bascule/", "abc", "https://example.com/bascule/hooks/abc"),
        ("https://hooks.example.com", None, "https://hooks.example.com/webhook"),
        (None, "abc", "/hooks/abc"),
        (None, None, "/webhook"),
    ],
)
def test_a_url_is_made_of_the_ingress_and_the_token(base: str | None, token: str | None, url: str) -> None:
    assert hook_url(base, token) == url


@pytest.mark.parametrize(
    "url",
    [
        "https://hooks.example.com",
        "https://hooks.example.com:443/",
        "https://hooks.example.com:80",
        "https://8.8.8.8",
        "https://HOOKS.EXAMPLE.COM/bascule",
    ],
)
def test_what_tradingview_reaches_gets_no_warning(url: str) -> None:
    assert url_warnings(url) == []


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("https://localhost", "localhost is this machine alone"),
        ("https://me.localhost", "localhost is this machine alone"),
        ("https://127.0.0.1", "localhost is this machine alone"),
        ("https://0.0.0.0", "localhost is this machine alone"),
        ("https://192.168.1.5", "a private address"),
        ("https://10.0.0.1", "a private address"),
        ("https://100.64.0.1", "a private address"),
        ("https://[2606:4700::1111]", "IPv6"),
        ("https://[fe80::1%25eth0]", "IPv6"),
        ("https://bascule", "your own network"),
        ("https://bascule.local", "your own network"),
        ("http://hooks.example.com", "https://"),
        ("https://hooks.example.com:8443", "refuses port 8443"),
        ("https://hooks.example.com:99999", "refuses port"),
    ],
)
def test_what_keeps_tradingview_away_is_told(url: str, words: str) -> None:
    warnings = url_warnings(url)

    assert any(words in warning for warning in warnings), warnings


def test_everything_that_is_wrong_is_told_at_once() -> None:
    assert len(url_warnings("http://127.0.0.1:8080")) == 3
