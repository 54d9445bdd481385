"""The relay's variables."""

from ipaddress import ip_address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.domain.errors import ConfigError
from libs.common.policy.addresses import TRADINGVIEW
from libs.common.wire.signing import sign_body
from services.relay.settings import derived_token, relay_settings

KEY = "a-signing-key-of-length"
TWO = {"RELAY_UPSTREAM": "https://bridge.example/webhook", "RELAY_SIGNING_KEY": KEY}


def test_two_variables_suffice_and_the_rest_is_safe() -> None:
    settings = relay_settings(TWO)

    assert settings.upstream.reveal() == "https://bridge.example/webhook"
    assert settings.upstream_origin == "https://bridge.example"
    assert settings.signing_key.reveal() == KEY
    assert (settings.host, settings.port) == ("127.0.0.1", 8_090)
    assert (settings.ops_host, settings.ops_port) == ("127.0.0.1", 9_104)
    assert (settings.max_body_bytes, settings.timeout_ms) == (40_960, 2_000)
    assert all(settings.allow.is_allowed(ip_address(address)) for address in TRADINGVIEW)
    assert not settings.allow.is_allowed(ip_address("127.0.0.1"))
    assert not settings.trusted_proxies.is_allowed(ip_address("127.0.0.1"))


def test_the_token_is_made_from_the_key_and_the_same_at_every_start() -> None:
    first, second = relay_settings(TWO), relay_settings(TWO)
    other = relay_settings({**TWO, "RELAY_SIGNING_KEY": KEY + "."})

    assert first.is_token_derived
    assert first.path == second.path == f"/relay/{derived_token(KEY).reveal()}"
    assert first.path != other.path


@given(st.text(min_size=16, max_size=80), st.binary(max_size=64))
def test_a_derived_token_is_fit_for_a_url_and_no_part_of_a_signature(key: str, body: bytes) -> None:
    token = derived_token(key).reveal()

    assert len(token) == 32
    assert token.isascii()
    assert token.isalnum()
    assert token not in sign_body(key, body)
    assert key not in token


def test_a_token_of_ones_own_is_taken_as_it_is() -> None:
    settings = relay_settings({**TWO, "RELAY_TOKEN": "my-own-token_0123"})

    assert settings.path == "/relay/my-own-token_0123"
    assert not settings.is_token_derived


def test_secrets_may_lie_in_files(tmp_path: Path) -> None:
    for name, value in (("key", KEY), ("token", "my-own-token_0123"), ("upstream", TWO["RELAY_UPSTREAM"])):
        (tmp_path / name).write_text(value + "\n")
    settings = relay_settings(
        {
            "RELAY_UPSTREAM_FILE": str(tmp_path / "upstream"),
            "RELAY_SIGNING_KEY_FILE": str(tmp_path / "key"),
            "RELAY_TOKEN_FILE": str(tmp_path / "token"),
        }
    )

    assert settings.signing_key.reveal() == KEY
    assert settings.path == "/relay/my-own-token_0123"
    assert settings.upstream_origin == "https://bridge.example"


@pytest.mark.parametrize(
    ("allow", "address", "is_allowed"),
    [
        ("203.0.113.9", "203.0.113.9", True),
        ("203.0.113.9", "52.89.214.238", False),
        ("tradingview, 203.0.113.0/24", "203.0.113.77", True),
        ("tradingview 203.0.113.0/24", "52.89.214.238", True),
        ("any", "203.0.113.9", True),
    ],
)
def test_addresses_are_separated_by_commas_or_spaces(allow: str, address: str, is_allowed: bool) -> None:
    settings = relay_settings({**TWO, "RELAY_ALLOW": allow})

    assert settings.allow.is_allowed(ip_address(address)) is is_allowed


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"RELAY_UPSTREAM": None}, "RELAY_UPSTREAM"),
        ({"RELAY_SIGNING_KEY": None}, "RELAY_SIGNING_KEY"),
        ({"RELAY_SIGNING_KEY": "short"}, "RELAY_SIGNING_KEY: got 5 characters, expected at least 16"),
        ({"RELAY_UPSTREAM": "bridge.example/webhook"}, "RELAY_UPSTREAM: expected the whole http"),
        ({"RELAY_UPSTREAM": "ftp://bridge.example/"}, "RELAY_UPSTREAM: expected"),
        ({"RELAY_UPSTREAM": "https:///webhook"}, "RELAY_UPSTREAM: expected"),
        ({"RELAY_UPSTREAM": "https://h:99999/"}, "RELAY_UPSTREAM: expected"),
        ({"RELAY_UPSTREAM": "https://me:hunter2@h/"}, "RELAY_UPSTREAM: expected"),
        ({"RELAY_UPSTREAM": "https://h/a b"}, "RELAY_UPSTREAM: expected"),
        ({"RELAY_UPSTREAM": "https://h/#part"}, "RELAY_UPSTREAM: expected"),
        ({"RELAY_TOKEN": "short"}, "RELAY_TOKEN: expected 16 to 128 letters"),
        ({"RELAY_TOKEN": "sixteen-or-more/with-a-slash"}, "RELAY_TOKEN: expected"),
        ({"RELAY_TOKEN": ""}, "RELAY_TOKEN: the variable is empty"),
        ({"RELAY_TOKEN_FILE": "/nowhere"}, "RELAY_TOKEN"),
        (
            {"RELAY_ALLOW": ""},
            "RELAY_ALLOW: it is empty, which would let nobody in; leave it out for tradingview",
        ),
        ({"RELAY_ALLOW": " , "}, "RELAY_ALLOW: it is empty"),
        ({"RELAY_ALLOW": "tradingview,example.com"}, 'RELAY_ALLOW: "example.com" is no address'),
        ({"RELAY_TRUSTED_PROXIES": "10.0.0.1/8"}, "RELAY_TRUSTED_PROXIES: .* expected 10.0.0.0/8"),
        ({"RELAY_TRUSTED_PROXIES": "any"}, 'RELAY_TRUSTED_PROXIES: got "any"'),
        ({"RELAY_TRUSTED_PROXIES": "tradingview"}, "RELAY_TRUSTED_PROXIES: .* no address"),
        ({"RELAY_PORT": "http"}, 'RELAY_PORT: got "http", expected a whole number from 1 to 65535'),
        ({"RELAY_PORT": "65536"}, "RELAY_PORT: got"),
        ({"RELAY_PORT": "9104"}, "RELAY_PORT: got 9104, which is the ops port"),
        ({"BASCULE_OPS_PORT": "0"}, "BASCULE_OPS_PORT: got"),
        ({"RELAY_MAX_BODY": "-1"}, "RELAY_MAX_BODY: got"),
        ({"RELAY_TIMEOUT": "2"}, 'RELAY_TIMEOUT: got "2", expected a duration'),
        ({"RELAY_HOST": ""}, "RELAY_HOST: it is empty, which would be every address; expected one"),
        ({"RELAY_OPS_HOST": " "}, "RELAY_OPS_HOST: it is empty"),
        ({"RELAY_TIMEOUT": "3s"}, 'RELAY_TIMEOUT: got "3s", expected at most 2500ms'),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line_that_names_it(
    changes: dict[str, str | None], complaint: str
) -> None:
    environ = {name: value for name, value in ({**TWO, **changes}).items() if value is not None}

    with pytest.raises(ConfigError, match=complaint) as caught:
        relay_settings(environ)

    assert "\n" not in str(caught.value)
    assert KEY not in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_what_must_not_show_includes_the_token_of_the_upstream() -> None:
    token = "abcdefghijklmnopqrstuvwxyz012345"
    settings = relay_settings({**TWO, "RELAY_UPSTREAM": f"https://h/hooks/{token}"})

    assert {KEY, derived_token(KEY).reveal(), token} == set(settings.secrets())
    assert token not in repr(settings)
    assert KEY not in repr(settings)
