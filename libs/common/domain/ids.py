"""Identifiers, and how the two that we make ourselves are built."""

import hashlib
import re
from typing import Final, NewType

AlertId = NewType("AlertId", str)
"""Names one admitted alert; 26 characters `[0-9a-v]`, sorts by time of making."""

EventId = NewType("EventId", str)
"""Names one refused post; made like an `AlertId`."""

AccountName = NewType("AccountName", str)
"""An account of the configuration; never contains `:`."""

WebhookName = NewType("WebhookName", str)
"""A webhook, of the configuration or made at run time; never contains `:`."""

Market = NewType("Market", str)
"""What the account's venue calls the symbol; at most 64 safe characters."""

LaneName = NewType("LaneName", str)
"""`account:market`, or `account:market:strategy` where the account asks for it."""

Token = NewType("Token", str)
"""The right to execute a lane: the id of its entry in the ready stream."""

Holder = NewType("Holder", str)
"""A worker process, by a name that is random for each process start; also its consumer name."""

EntryId = NewType("EntryId", str)
"""The id of an entry in a lane stream."""

Nonce = NewType("Nonce", str)
"""Marks one call of one process, so that a re-sent call is told from another's."""

ClientOrderId = NewType("ClientOrderId", str)
"""Our id for an order: 26 characters `[a-z2-7]`, within every surveyed venue's alphabet and length."""

DeadLetterId = NewType("DeadLetterId", str)
"""The id of an entry in the dead-letter stream."""

MAX_MARKET_LENGTH: Final = 64

_DIGITS: Final = "0123456789abcdefghijklmnopqrstuv"
_PAIRS: Final = tuple(high + low for high in _DIGITS for low in _DIGITS)
_ORDER_DIGITS: Final = "abcdefghijklmnopqrstuvwxyz234567"
_ORDER_PAIRS: Final = tuple(high + low for high in _ORDER_DIGITS for low in _ORDER_DIGITS)
_SHIFTS: Final = range(120, -1, -10)
_TIME_SHIFTS: Final = range(40, -1, -10)
_CHANCE_SHIFTS: Final = range(70, -1, -10)
_DIGIT_OF_BYTE: Final = _DIGITS.encode() * 8

CHANCE_LENGTH: Final = 16
"""Characters of an alert's id that are random."""

_CLIENT_ORDER_ID: Final = re.compile(r"[a-z2-7]{26}", re.ASCII)
_SAFE: Final = re.compile(r"[A-Za-z0-9_.:/!@+\-]{1,64}")


def alert_id(at_ms: int, entropy: bytes) -> AlertId:
    """Build an id that sorts by time.

    Args:
        at_ms: Time of making, milliseconds since the epoch, below 2**48.
        entropy: Ten random bytes.
    """
    return alert_id_of(id_time(at_ms), _text_of(int.from_bytes(entropy, "big"), _CHANCE_SHIFTS))


def id_time(at_ms: int) -> str:
    """Return the part of an id that all have which are made at one time: its first ten characters."""
    # 48 bits and two of padding.
    return _text_of(at_ms << 2, _TIME_SHIFTS)


def id_chances(random: bytes) -> str:
    """Return characters of ids, one for each random byte: of each, five bits are used."""
    # In C: an id for every alert must cost next to nothing.
    return random.translate(_DIGIT_OF_BYTE).decode("ascii")


def alert_id_of(time: str, chance: str) -> AlertId:
    """Put an id together.

    Args:
        time: See `id_time`.
        chance: `CHANCE_LENGTH` random characters.
    """
    return AlertId(time + chance)


def client_order_id(account: AccountName, alert: AlertId, leg: int) -> ClientOrderId:
    """Derive the id of an order: the same for every attempt and every replay of one leg.

    A fresh id for each attempt is what makes a time-out trade twice, so nothing that changes
    between attempts (entry id, token, time) may enter.
    """
    digest = hashlib.blake2b(f"{account}\n{alert}\n{leg}".encode(), digest_size=17).digest()
    # 130 of its 136 bits, ten at a time: base64's own is three times as slow, and every order needs one.
    bits = int.from_bytes(digest, "big") >> 6
    return ClientOrderId("".join([_ORDER_PAIRS[bits >> shift & 1_023] for shift in _SHIFTS]))


def _text_of(bits: int, shifts: range) -> str:
    # Ten at a time: base64's own is three times as slow.
    return "".join([_PAIRS[bits >> shift & 1_023] for shift in shifts])


def is_client_order_id(name: str) -> bool:
    """Tell whether `name` looks like an order's id of ours."""
    return _CLIENT_ORDER_ID.fullmatch(name) is not None


def safe_name(name: str) -> str:
    """Return `name` where it can stand in a key as it is, else a digest of it, marked by `~`."""
    if _SAFE.fullmatch(name):
        return name
    return "~" + hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def lane_name(account: AccountName, market: Market, strategy: str | None = None) -> LaneName:
    """Name the lane of a market, or of one strategy's trading in it."""
    if strategy is None:
        return LaneName(f"{account}:{safe_name(market)}")
    return LaneName(f"{account}:{safe_name(market)}:{safe_name(strategy)}")


def market_of(lane: str) -> Market:
    """Return the market in a lane's name, for a lane whose records do not tell.

    The part up to a strategy's name: a market that holds a colon itself is cut short.
    """
    return Market(lane.partition(":")[2].partition(":")[0])
