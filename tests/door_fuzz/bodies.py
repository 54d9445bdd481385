"""Bodies that a sender might post, and many that none should: examples, changed a little, a lot, or beyond repair."""

import copy
import json
import random
import re
from collections.abc import Callable, Sequence
from typing import Any, Final
from urllib.parse import quote, quote_plus, urlencode

from libs.common.wire.dialects.catalogue import BY_NAME
from libs.common.wire.dialects.dialect import PLACEHOLDER
from tests.door_fuzz.examples import EXAMPLES
from tests.support import dialect_bodies

_VALUES: Final[tuple[Any, ...]] = (
    None, True, False, 0, -1, 1, 0.1, 1e308, -0.0, 10**40, "", " ", "0", "-0", "-1", "1e999", "1e-400", "NaN", "nan",
    "inf", "-Infinity", "0x10", "1_000", "1,5", "\u0661\u0662", "½", "\u0661\u066b\u0665", "1" * 5_000, "9" * 400 + "." + "9" * 400, "1e99999999",
    "{{ticker}}", "{{strategy.order.action}}", "{{", "}}", "buy", "SELL", "long", "flat", "close", "close_all", "hold",
    "BUY\n", "BINANCE:BTCUSDT.P", "ES1!", "BTC USDT", "a" * 300, "b" * 20_000, "\u0000", "\u202e", "\ud800", "\udfff\ud800",
    "💥" * 100, "é\u0301", "'; DROP", "../../etc", "%00", "***", "|", "a|b", "a:b", "{s0}", "\r\nX: y", "2026-11-03T09:15:01Z",
    "2026-13-45", "1793697301", 1_793_697_301_000, -62_135_596_800_000, 10**18, "9999-12-31T23:59:60Z", "15", "1D", "5S", "0",
    "999999M", [], {}, [[]], [1, "a", None], {"a": {"b": {"c": 1}}}, {"amount": "60"}, {"type": "stop", "stopPrice": -1},
)  # fmt: skip
"""Values that some reader may stumble over."""

_RAW_VALUES: Final = (
    "NaN",
    "Infinity",
    "-Infinity",
    "1e999",
    "-0",
    "01",
    "1.",
    ".5",
    "+1",
    "0x1F",
    "1" * 5_000,
    "nul",
    "'a'",
)
_FIELDS: Final = tuple(
    sorted(
        {name for text in EXAMPLES for name in re.findall(r'"(\w+)":|(\w+)=', text) for name in name if name}
    )
)
_SNIPPETS: Final = (
    b"\x00", b"\xff", b"\xc3\x28", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\n", b"\r\n", b"\t", b" ", b"\\", b"\\u0000", b"\\ud800",
    b'"', b"{", b"}", b"[", b"]", b",", b";", b"=", b"|", b":", b"&", b"%", b"{{", b"}}", b"//", b"1e9", b"-", b"null", b"\xe2\x80\xa8",
)  # fmt: skip
_WHOLE: Final = (
    b"", b" ", b"\n", b"\x00", b"null", b"true", b"0", b'""', b'"buy"', b"[]", b"{}", b"[{}]", b"{", b"[" * 20_000, b'{"a":' * 5_000,
    b"{}" * 9_000, b"\xef\xbb\xbf", b"\xff\xfe{\x00}\x00", b"=", b"&" * 500, b"a=b&" * 400, b"%7B%7D", b"%7B", b"{}=", b",", b",,,", b";",
    b"x" * 60_000, b"buy BTCUSDT now", b"<alert/>", b"//", b"//\n//", b"\x1f\x8b\x08\x00",
)  # fmt: skip

Change = Callable[[random.Random, bytes], bytes]


class Bodies:
    """Makes bodies, the same ones for the same seed."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance

    def next(self, credential: str, loose: Sequence[str], dialect: str | None = None) -> bytes:
        """Return a body.

        Args:
            credential: What it presents, if it presents anything.
            loose: Secrets that may stand at some other place of it, where none belongs.
            dialect: What it is most likely of; None: of any.
        """
        chance = self._chance
        kind = chance.random()
        if kind < 0.03:
            return chance.choice(_WHOLE)
        if kind < 0.06:
            return chance.randbytes(chance.choice((1, 7, 60, 900)))
        text = (
            chance.choice(EXAMPLES)
            if dialect is None or dialect not in BY_NAME or chance.random() < 0.2
            else self._filled(dialect)
        )
        if chance.random() < 0.7:
            text = self._freshen(text)
        if chance.random() < 0.4:
            text = self._change_fields(text, loose)
        body = text.replace(PLACEHOLDER, credential).encode("utf-8", "surrogatepass")
        for _ in range(chance.choice((0, 0, 0, 0, 0, 0, 1, 1, 2, 4))):
            body = chance.choice(_CHANGES)(chance, body)
        return body

    def whole(self, credential: str) -> bytes:
        """Return an example as it should be."""
        text = self._filled(self._chance.choice(tuple(BY_NAME)))
        return self._freshen(text).replace(PLACEHOLDER, credential).encode()

    def _filled(self, dialect: str) -> str:
        """Return a dialect's template as TradingView would send it, but for the credential."""
        text = dialect_bodies.rendered(BY_NAME[dialect].template)
        return text.replace(dialect_bodies.SECRET, PLACEHOLDER)

    def _freshen(self, text: str) -> str:
        """Change the numbers, so that it is no repeat."""
        return re.sub(
            r"(?<=\.)\d+|(?<=-)\d{6}", lambda _: str(self._chance.randrange(100_000, 999_999)), text
        )

    def _change_fields(self, text: str, loose: Sequence[str]) -> str:
        try:
            document = json.loads(text)
        except ValueError:
            return self._change_words(text, loose)
        chance = self._chance
        for _ in range(chance.choice((1, 1, 1, 2, 3, 6))):
            where = document
            nested = [value for value in document.values() if isinstance(value, dict) and value]
            if nested and chance.random() < 0.3:
                where = chance.choice(nested)
            name = chance.choice(list(where) or ["a"])
            match chance.randrange(7):
                case 0:
                    where.pop(name, None)
                case 1:
                    where[chance.choice(_FIELDS)] = self._value()
                case 2:
                    where[chance.choice(_FIELDS)] = where.pop(name, 1)
                case 3:
                    where[chance.choice((name, "comment", "note", chance.choice(_FIELDS)))] = self._loose(
                        loose
                    )
                case 4:
                    where[name] = str(where.get(name)).swapcase()
                case _:
                    where[name] = self._value()
        written = json.dumps(document, ensure_ascii=chance.random() < 0.5)
        if chance.random() < 0.1:
            # The same key once more, or a number that Python would not write.
            name = chance.choice(list(document) or ["a"])
            written = f'{written[:-1]},"{name}":{chance.choice((*_RAW_VALUES, json.dumps(chance.choice(_VALUES))))}}}'
        return written

    def _value(self) -> Any:
        return copy.deepcopy(self._chance.choice(_VALUES))

    def _change_words(self, text: str, loose: Sequence[str]) -> str:
        chance = self._chance
        words = re.split(r"([,;\s=]+)", text)
        for _ in range(chance.choice((1, 1, 2, 3))):
            place = chance.randrange(len(words))
            words[place] = chance.choice(
                (
                    str(chance.choice(_VALUES)),
                    self._loose(loose),
                    "",
                    words[place] * 2,
                    chance.choice(_FIELDS),
                )
            )
        return "".join(words)

    def _loose(self, loose: Sequence[str]) -> str:
        """Return a text with a secret in it that does not belong there."""
        secret = self._chance.choice(loose)
        return self._chance.choice(
            ("{}", "the secret is {}", "https://door.example/hooks/{}?x=1", "{},{}", '"{}"', "a\n{}\u2028")
        ).replace("{}", secret)


def _place(chance: random.Random, body: bytes) -> int:
    return chance.randrange(len(body) + 1)


def _insert(chance: random.Random, body: bytes) -> bytes:
    place = _place(chance, body)
    return body[:place] + chance.choice(_SNIPPETS) + body[place:]


def _flip(chance: random.Random, body: bytes) -> bytes:
    if not body:
        return body
    place = chance.randrange(len(body))
    return body[:place] + bytes([body[place] ^ (1 << chance.randrange(8))]) + body[place + 1 :]


def _cut(chance: random.Random, body: bytes) -> bytes:
    start, end = sorted((_place(chance, body), _place(chance, body)))
    return body[:start] + body[end:]


def _truncate(chance: random.Random, body: bytes) -> bytes:
    return body[: _place(chance, body)]


def _repeat(chance: random.Random, body: bytes) -> bytes:
    start, end = sorted((_place(chance, body), _place(chance, body)))
    return body[:end] + body[start:end] + body[end:]


def _wrap(chance: random.Random, body: bytes) -> bytes:
    before, after = chance.choice(
        (
            (b"[", b"]"),
            (b"\xef\xbb\xbf", b""),
            (b" \n", b"\n "),
            (b"'", b"'"),
            (b'"', b'"'),
            (b'{"alert":', b"}"),
            (b"```json\n", b"\n```"),
        )
    )
    return before + body + after


def _form(chance: random.Random, body: bytes) -> bytes:
    """Write it as a form: whole, as one value, or field by field."""
    text = body.decode("latin-1")
    kind = chance.randrange(4)
    if kind == 0:
        return quote_plus(text).encode()
    if kind == 1:
        return (quote(text) + "=").encode()
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        document = None
    if isinstance(document, dict):
        pairs = [
            (name, value if isinstance(value, str) else json.dumps(value)) for name, value in document.items()
        ]
        return urlencode(pairs, errors="replace").encode()
    return b"payload=" + quote_plus(text).encode()


def _escape(chance: random.Random, body: bytes) -> bytes:
    """Write some letters as JSON escapes."""
    text = body.decode("utf-8", "replace")
    share = chance.choice((0.02, 0.3, 1.0))
    return "".join(
        f"\\u{ord(one):04x}" if one.isascii() and one.isalnum() and chance.random() < share else one
        for one in text
    ).encode()


def _encode(chance: random.Random, body: bytes) -> bytes:
    return body.decode("utf-8", "replace").encode(
        chance.choice(("utf-16", "utf-16-le", "utf-32", "utf-7", "latin-1", "cp1252")), "replace"
    )


def _swap_case(_: random.Random, body: bytes) -> bytes:
    return body.swapcase()


def _splice(chance: random.Random, body: bytes) -> bytes:
    other = chance.choice(EXAMPLES).encode()
    return body[: _place(chance, body)] + other[_place(chance, other) :]


_CHANGES: Final[tuple[Change, ...]] = (
    _insert, _insert, _flip, _flip, _cut, _truncate, _repeat, _wrap, _form, _form, _escape, _encode, _swap_case, _splice,
)  # fmt: skip
