import click
import pytest

from cli.output import Failure
from cli.send_post import has_token, shown_url, target_url

BASE = "http://127.0.0.1:8080"


@pytest.mark.parametrize(
    ("url", "hook", "expected"),
    [
        (BASE, None, f"{BASE}/webhook"),
        (f"{BASE}/", None, f"{BASE}/webhook"),
        (f"{BASE}/hooks/T1", None, f"{BASE}/hooks/T1"),
        (BASE, "T1", f"{BASE}/hooks/T1"),
        (f"{BASE}/", "a/b c", f"{BASE}/hooks/a%2Fb%20c"),
        (None, "https://hooks.example.com/hooks/T1", "https://hooks.example.com/hooks/T1"),
    ],
)
def test_posts_go_where_url_and_hook_say(url: str | None, hook: str | None, expected: str) -> None:
    assert target_url(None, url, hook) == expected


@pytest.mark.parametrize(
    ("url", "hook"),
    [
        ("ftp://127.0.0.1", None),
        ("127.0.0.1:8080", None),
        (f"{BASE}/webhook", "T1"),
        (BASE, "https://hooks.example.com/hooks/T1"),
        (None, "ftp://hooks.example.com/hooks/T1"),
        (None, "http://[::1/hooks/T1"),
        (None, "http:///hooks/T1"),
        (f"{BASE}9999", None),
        ("http://[::1", None),
    ],
)
def test_an_address_that_is_none_is_usage(url: str | None, hook: str | None) -> None:
    with pytest.raises(click.UsageError) as caught:
        target_url(None, url, hook)

    assert "T1" not in caught.value.message


def test_without_a_bridge_an_address_is_needed() -> None:
    with pytest.raises(Failure):
        target_url(None, None, "T1")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        (f"{BASE}/webhook", f"{BASE}/webhook"),
        (f"{BASE}/hooks/T1", f"{BASE}/hooks/***"),
        (f"{BASE}/below/hooks/T1/rest?a=T1", f"{BASE}/below/hooks/***"),
    ],
)
def test_a_token_is_never_shown(url: str, shown: str) -> None:
    assert shown_url(url) == shown
    assert has_token(url) is ("***" in shown)
