"""What the watchdog looks for, and who is told of what it finds."""

from collections.abc import Mapping
from typing import Annotated, Final

import msgspec

from libs.common.domain.clock import DAY_MS
from libs.common.runtime.durations import DurationMs, DurationOrOffMs, DurationOrZeroMs
from libs.common.runtime.sections import Section, WrongValue
from libs.common.runtime.setting_values import VARIABLE, Count
from libs.common.wire.web_address import is_web_address

LONGEST_TIMEOUT_MS: Final = 30_000
"""A longer pass would count as one that stands still."""

SHORTEST_WINDOW_MS: Final = 1_000
LONGEST_WINDOW_MS: Final = DAY_MS
"""What is usual is learned from a week: of longer windows it has too few."""

Factor = Annotated[float, msgspec.Meta(ge=1, le=1_000)]


class SilenceSettings(Section, frozen=True, kw_only=True):
    """When a strategy is called silent."""

    learn: bool = True
    """Whether those without a time of their own are judged by when they are usually heard."""
    factor: Factor = 3.0
    """So many times its usual gap between two alerts. Low: false alarms. High: late ones."""
    least_ms: DurationMs = msgspec.field(default=DurationMs(1_800_000), name="least")
    """Shorter is never silence by what was learned."""
    learn_for_ms: DurationMs = msgspec.field(default=DurationMs(518_400_000), name="learn_for")
    """How long a strategy must have been heard before it is judged by that. Below six days the first night and the first
    weekend of a market's hours are told as silence."""
    strategies: Mapping[str, DurationOrOffMs] = {}
    """Times of single strategies, by the clock; `"off"`: never silent. Alerts that name none are `webhook:<name>`."""

    def __post_init__(self) -> None:
        if not all(map(str.strip, self.strategies)):
            raise WrongValue("strategies", "names of strategies, or webhook:<name>, none of them empty")


class RefusalSettings(Section, frozen=True, kw_only=True):
    """When refused posts are called a rise."""

    window_ms: DurationMs = msgspec.field(default=DurationMs(600_000), name="window")
    """They are counted over this time. Short: soon told, and false alarms."""
    factor: Factor = 3.0
    """So many times what is usual in a window."""
    least: Count = 10
    """Fewer in a window are never a rise."""

    def __post_init__(self) -> None:
        if not SHORTEST_WINDOW_MS <= self.window_ms <= LONGEST_WINDOW_MS:
            raise WrongValue("window", "1s to 1d")


class CertificateSettings(Section, frozen=True, kw_only=True):
    """When the certificate of `ingress.public_url` is told."""

    every_ms: DurationOrZeroMs = msgspec.field(default=DurationOrZeroMs(3_600_000), name="every")
    """Between two looks at it. `0s`: nobody looks."""
    share: Annotated[float, msgspec.Meta(gt=0, lt=1)] = 0.2
    """Of its lifetime; with less left it is told. Caddy and others renew at a third."""


class WatchdogSettings(Section, frozen=True, kw_only=True):
    """What is looked for that nobody complains of."""

    silence: SilenceSettings = SilenceSettings()
    refusals: RefusalSettings = RefusalSettings()
    certificate: CertificateSettings = CertificateSettings()
    skew_ms: DurationOrZeroMs = msgspec.field(default=DurationOrZeroMs(1_000), name="skew")
    """How far the reaper's clock and that of Redis may be apart. `0s`: nobody looks."""


class AlarmSettings(Section, frozen=True, kw_only=True):
    """Who is told of alarms and dead letters: nobody unless set."""

    url: str | None = None
    """Each is posted there as JSON: an address, or the name of the environment variable (or its `_FILE` twin) that holds
    it, for one that is a secret."""
    command: tuple[str, ...] = ()
    """Each is its standard input, as JSON: a program and its arguments, without a shell."""
    timeout_ms: DurationMs = msgspec.field(default=DurationMs(10_000), name="timeout")
    """For one post, or one run."""
    keep_trying_ms: DurationMs = msgspec.field(default=DurationMs(86_400_000), name="keep_trying")
    """What is older is given up, where it cannot be told."""

    def __post_init__(self) -> None:
        if self.url is not None and self.url_variable is None and not is_web_address(self.url):
            # Whoever put a token there by mistake must not find it in a log.
            form = "an http:// or https:// address, or the name of the environment variable that holds it"
            raise WrongValue("url", form, is_hidden=True)
        if self.command and not self.command[0]:
            raise WrongValue("command", "a program and its arguments")
        if self.timeout_ms > LONGEST_TIMEOUT_MS:
            raise WrongValue("timeout", "at most 30s")

    @property
    def url_variable(self) -> str | None:
        """Return the variable that holds the address; None where the address itself is given, or none."""
        return self.url if self.url is not None and VARIABLE.fullmatch(self.url) else None
