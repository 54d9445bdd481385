"""Which of a venue's markets a symbol may mean. Proposals for a person: only what is exact is ever taken unasked."""

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import Final, assert_never

from libs.common.domain.ids import Market
from libs.common.policy.symbols import exchange_name, split_exchange

MOST: Final = 5
"""Candidates that are proposed."""

_ALIKE: Final = 0.6
"""How alike two names must be for one to be proposed for the other, from 0 to 1."""

_SETTLED: Final = re.compile(r"(?P<name>[^:/]+/[^:/]+):[A-Z0-9]+")
"""`BTC/USDT:USDT`: the form of a perpetual."""
_SETTLED_DATED: Final = re.compile(r"(?P<name>[^:/]+/[^:/]+):[A-Z0-9]+-(?P<which>.+)")
"""`BTC/USDT:USDT-261225`."""
_PERPETUAL: Final = re.compile(r"(?P<name>.+?)(?:\.P|[-_/. ]SWAP|[-_/. ]?PERP(?:ETUAL)?)")
_DATED: Final = re.compile(r"(?P<name>.+?)[-_](?P<which>(?:\d{6}|\d{8}|\d{1,2}[A-Z]{3}\d{2})(?:-.+)?)")
"""`BTC-USDT-261225` and `BTC-25DEC26`."""
_CONTINUOUS: Final = re.compile(r"(?P<name>.+?)(?P<which>\d)!")
"""`ES1!` is the next contract, `ES2!` the one after."""
_NOT_NAME: Final = re.compile(r"[^A-Z0-9]")
_MONTHLY: Final = re.compile(r"[FGHJKMNQUVXZ](?:\d{4}|\d{1,2})")
"""What follows a future's root: `Z5`, `Z25` or `Z2025`."""


class _Kind(StrEnum):
    """What is traded under a name."""

    PLAIN = "spot"
    """Spot or a share: nothing says otherwise."""
    PERPETUAL = "a perpetual"
    DATED = "a dated contract"
    CONTINUOUS = "a continuous future"


_FORMS: Final = (
    (_SETTLED, _Kind.PERPETUAL),
    (_SETTLED_DATED, _Kind.DATED),
    (_PERPETUAL, _Kind.PERPETUAL),
    (_DATED, _Kind.DATED),
    (_CONTINUOUS, _Kind.CONTINUOUS),
)


class _Rank(IntEnum):
    """How near a market is, in the order of the proposals."""

    EXACT = 0
    OTHER_EXCHANGE = 1
    OTHER_CONTRACT = 2
    OTHER_KIND = 3
    ALIKE = 4


@dataclass(frozen=True, slots=True)
class Candidate:
    """A market that a symbol may mean."""

    market: Market
    is_exact: bool
    """The same name, the same kind of market, the same contract, and no other exchange."""
    because: str
    """In words."""


@dataclass(frozen=True, slots=True)
class _Meaning:
    """What a name says, free of the way that it is written."""

    exchange: str
    name: str
    kind: _Kind
    which: str = ""
    """Of several contracts."""


def suggest(symbol: str, exchange: str | None, markets: Iterable[Market]) -> tuple[Candidate, ...]:
    """Return at most `MOST` markets that a symbol may mean, the likeliest first, whatever the order of `markets`.

    Args:
        symbol: As alerts write it, with or without `EXCHANGE:`.
        exchange: As alerts write it.
        markets: The names of the venue's own.
    """
    wanted = _meaning(symbol, exchange)
    if not wanted.name:
        return ()
    matcher = difflib.SequenceMatcher(autojunk=False)
    matcher.set_seq2(wanted.name)
    ranked = []
    for market in set(markets):
        found = _meaning(market, None)
        if found.name == wanted.name:
            rank, likeness = _rank(wanted, found), 1.0
        elif (which := _contract(wanted, found)) is not None:
            found = _Meaning(found.exchange, wanted.name, _Kind.DATED, which)
            rank, likeness = _rank(wanted, found), 1.0
        else:
            rank, likeness = _Rank.ALIKE, _likeness(matcher, found.name)
            if likeness < _ALIKE:
                continue
        order = (rank, -likeness, _distance(wanted.kind, found.kind), market)
        ranked.append((order, Candidate(market, rank is _Rank.EXACT, _because(rank, wanted, found))))
    return tuple(candidate for _, candidate in sorted(ranked, key=lambda one: one[0])[:MOST])


def only_exact(candidates: Sequence[Candidate]) -> Candidate | None:
    """Return the one that is exact; None where none is, or more than one: then a person must choose."""
    exact = [one for one in candidates if one.is_exact]
    return exact[0] if len(exact) == 1 else None


def _meaning(text: str, exchange: str | None) -> _Meaning:
    prefix, name = split_exchange(text.strip().upper())
    kind, which = _Kind.PLAIN, ""
    for form, its_kind in _FORMS:
        found = form.fullmatch(name)
        if found is not None:
            parts = found.groupdict()
            name, kind, which = parts["name"], its_kind, parts.get("which", "")
            break
    return _Meaning(exchange_name(exchange) or exchange_name(prefix), _NOT_NAME.sub("", name), kind, which)


def _rank(wanted: _Meaning, found: _Meaning) -> _Rank:
    if found.kind is not wanted.kind:
        return _Rank.OTHER_KIND
    if found.which != wanted.which:
        return _Rank.OTHER_CONTRACT
    is_elsewhere = found.exchange and wanted.exchange and found.exchange != wanted.exchange
    return _Rank.OTHER_EXCHANGE if is_elsewhere else _Rank.EXACT


def _contract(wanted: _Meaning, found: _Meaning) -> str | None:
    """Return which contract of a continuous future a market is, `Z2025` where it is `ESZ2025` for `ES1!`."""
    if wanted.kind is not _Kind.CONTINUOUS or not found.name.startswith(wanted.name):
        return None
    rest = found.name[len(wanted.name) :]
    return rest if _MONTHLY.fullmatch(rest) else None


def _likeness(matcher: "difflib.SequenceMatcher[str]", name: str) -> float:
    matcher.set_seq1(name)
    # The bounds are cheap, and most of a venue's thousands of names fail them.
    if matcher.real_quick_ratio() < _ALIKE or matcher.quick_ratio() < _ALIKE:
        return 0.0
    return matcher.ratio()


def _distance(wanted: _Kind, found: _Kind) -> int:
    """Return how far one kind of market is from another: a perpetual is nearer to its spot than a dated contract."""
    if wanted is found:
        return 0
    return 2 if found is _Kind.DATED and wanted is not _Kind.CONTINUOUS else 1


def _because(rank: _Rank, wanted: _Meaning, found: _Meaning) -> str:
    match rank:
        case _Rank.EXACT:
            return "the same name" if found.kind is _Kind.PLAIN else f"the same name, {found.kind} too"
        case _Rank.OTHER_EXCHANGE:
            return f"the same name, but at {found.exchange} and not at {wanted.exchange}"
        case _Rank.OTHER_CONTRACT:
            return f"the same name, but another contract: {found.which} and not {wanted.which}"
        case _Rank.OTHER_KIND:
            return f"the same name, but {found.kind} while the symbol is {wanted.kind}"
        case _Rank.ALIKE:
            return f"a similar name, {found.kind}"
        case _:
            assert_never(rank)
