"""Which traces are kept: by the standard `OTEL_TRACES_SAMPLER`, and the same for every span of a trace."""

from collections.abc import Mapping
from typing import Final

import msgspec

from libs.common.domain.errors import ConfigError
from libs.common.wire.trace_context import TraceContext

VARIABLE: Final = "OTEL_TRACES_SAMPLER"
ARGUMENT: Final = "OTEL_TRACES_SAMPLER_ARG"

DEFAULT: Final = "parentbased_always_on"
_PARENT_BASED: Final = "parentbased_"
_ALL: Final = 1 << 64
_KNOWN: Final = ("always_on", "always_off", "traceidratio")


class Sampler(msgspec.Struct, frozen=True):
    """Decides by the trace id alone, so that every process decides alike."""

    bound: int
    """Traces whose id has lower last 64 bits are kept."""
    obeys_parent: bool
    """Whether a span is kept where its parent is, whatever its trace id."""

    def keeps(self, trace_id: str, parent: TraceContext | None) -> bool:
        """Tell whether a new span is kept."""
        if parent is not None and self.obeys_parent:
            return parent.is_sampled
        return self.bound == _ALL or int(trace_id[16:], 16) < self.bound


ALWAYS: Final = Sampler(_ALL, obeys_parent=True)


def sampler_of(environ: Mapping[str, str]) -> Sampler:
    """Return the sampler that the environment names; by default every trace is kept.

    Raises:
        ConfigError: There is none of that name, or its argument is no share.
    """
    name = environ.get(VARIABLE, "").strip() or DEFAULT
    bare = name.removeprefix(_PARENT_BASED)
    if bare not in _KNOWN:
        known = ", ".join([*_KNOWN, *(f"{_PARENT_BASED}{one}" for one in _KNOWN)])
        raise ConfigError(f'{VARIABLE}: "{name}" is not one of {known}')
    share = {"always_on": 1.0, "always_off": 0.0}.get(bare)
    return Sampler(round((_share(environ) if share is None else share) * _ALL), obeys_parent=bare != name)


def _share(environ: Mapping[str, str]) -> float:
    text = environ.get(ARGUMENT, "").strip()
    try:
        share = float(text or 1)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise ConfigError(f'{ARGUMENT}: "{text}" is not a share from 0 to 1')
    return share
