import pytest

from cli.addresses import local_url, webhook_url


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("0.0.0.0", "http://127.0.0.1:80"),
        ("", "http://127.0.0.1:80"),
        ("::", "http://[::1]:80"),
        ("fe80::1", "http://[fe80::1]:80"),
        ("localhost", "http://localhost:80"),
    ],
)
def test_a_listener_is_reached_by_an_address_that_works(host: str, url: str) -> None:
    assert local_url(host, 80) == url


@pytest.mark.parametrize("base", ["https://hooks.example.com", "https://hooks.example.com/"])
def test_alerts_are_posted_to_the_webhook(base: str) -> None:
    assert webhook_url(base) == "https://hooks.example.com/webhook"
