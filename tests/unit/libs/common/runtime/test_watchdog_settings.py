"""What the sections `watchdog` and `alarms` may hold."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from libs.common.domain.errors import ConfigError
from libs.common.runtime.known_secrets import known_secrets
from libs.common.runtime.load_settings import load_settings
from libs.common.runtime.settings import Settings


def load(tmp_path: Path, **sections: Any) -> Settings:
    path = tmp_path / "bascule.yaml"
    base = {
        "webhooks": {"default": {"secret": "WEBHOOK_SECRET", "accounts": ["paper"]}},
        "accounts": {"paper": {"broker": "paper"}},
    }
    path.write_text(yaml.safe_dump({**base, **sections}))
    return load_settings(path)


def test_times_of_strategies_are_durations_or_off(tmp_path: Path) -> None:
    strategies = {"trend": "6h", "webhook:default": "2d", "odd": "off"}

    settings = load(tmp_path, watchdog={"silence": {"strategies": strategies}})

    assert dict(settings.watchdog.silence.strategies) == {
        "trend": 21_600_000,
        "webhook:default": 172_800_000,
        "odd": 0,
    }


@pytest.mark.parametrize(
    ("sections", "said"),
    [
        (
            {"watchdog": {"silence": {"strategies": {"trend": "soon"}}}},
            'watchdog.silence.strategies.trend: got "soon", expected a duration such as 500ms, 2s, 30min, 24h or 7d, or "off"',
        ),
        ({"watchdog": {"silence": {"factor": 0.5}}}, "watchdog.silence.factor: got 0.5"),
        (
            {"watchdog": {"refusals": {"window": "10ms"}}},
            'watchdog.refusals.window: got "10ms", expected 1s to 1d',
        ),
        (
            {"watchdog": {"refusals": {"window": "7d"}}},
            'watchdog.refusals.window: got "7d", expected 1s to 1d',
        ),
        (
            {"watchdog": {"silence": {"strategies": {"": "6h"}}}},
            "watchdog.silence.strategies: got a section, expected names of strategies, or webhook:<name>",
        ),
        ({"watchdog": {"certificate": {"share": 1}}}, "watchdog.certificate.share"),
        ({"watchdog": {"silnce": {}}}, "did you mean silence?"),
        ({"alarms": {"timeout": "1min"}}, 'alarms.timeout: got "1min", expected at most 30s'),
        ({"alarms": {"command": "notify"}}, 'alarms.command: got "notify", expected a list'),
        ({"alarms": {"command": [""]}}, "alarms.command"),
        (
            {"alarms": {"url": "ftp://example.com"}},
            "alarms.url: got ***, expected an http:// or https:// address",
        ),
    ],
)
def test_what_does_not_fit_is_said_in_one_line(tmp_path: Path, sections: Any, said: str) -> None:
    with pytest.raises(ConfigError) as error:
        load(tmp_path, **sections)

    assert said in str(error.value)


def test_an_address_in_a_variable_is_a_secret_like_any_other(tmp_path: Path) -> None:
    settings = load(tmp_path, alarms={"url": "ALARMS_URL"})

    assert settings.secret_names()["ALARMS_URL"] == "alarms"
    assert known_secrets(settings, {"ALARMS_URL": "https://chat.example/x"}) == {"https://chat.example/x"}


def test_an_address_in_the_file_never_shows_either(tmp_path: Path) -> None:
    settings = load(tmp_path, alarms={"url": "https://chat.example/x"})

    assert "https://chat.example/x" in known_secrets(settings, {})
