"""Takes secrets out of whatever is stored, shown or logged."""

import hashlib
import json
import re
from collections.abc import Callable, Iterable
from typing import Any, Final
from urllib.parse import quote, quote_plus, unquote

MASK: Final = "***"

MIN_LENGTH: Final = 4
"""Shorter texts are masked only where they are known to be secrets: they may be a part of anything."""
MIN_WORD_LENGTH: Final = 8
"""Of a secret that is only known by its digest."""

EXCERPT_BYTES: Final = 512
"""What is kept of a body that cannot be parsed."""

_STRING: Final = re.compile(r'"(?:[^"\\]|\\.)*(?:"|\\?\Z)', re.DOTALL)
"""One that never ends goes to the end of the text: to look for its end from every quote on would take minutes."""
_WORDS: Final = (
    re.compile(r'"([^"\n]*)"'),
    re.compile(r'[^\s",;:=&{}\[\]()]+'),
    re.compile(r"[A-Za-z0-9]+"),
)
_HEX: Final = re.compile(r"%[0-9A-F]{2}")
_AT_A_SECRETS_PLACE: Final = re.compile(
    r"(?i)((?:secret|password|passphrase|auth_?key|api_?key|api_?secret|(?:signal_?)?token|licen[cs]e_?id|pin|key)"
    r'\\?["\']?\s{0,8}[:=]\s{0,8})("(?:[^"\\]|\\.)*(?:"|\\?\Z)|[^;&\n]*)',
    re.DOTALL,
)
_ESCAPE: Final = re.compile(r'\\(?:u([0-9a-fA-F]{4})|(["\\/]))')


class Masker:
    """Replaces every known secret by `***`."""

    def __init__(self, secrets: Iterable[str]) -> None:
        """Args:
        secrets: All that this process knows, those of other webhooks too: senders mix them up.
        """
        self._values = frozenset(secret for secret in secrets if secret)
        written = {form for value in self._values for form in _written(value)}
        # The longest first: a shorter one may be a part of it.
        self._forms = tuple(sorted(written, key=len, reverse=True))
        self._telling = tuple(form for form in self._forms if len(form) >= MIN_WORD_LENGTH)

    def also(self, *secrets: str) -> "Masker":
        """Return a masker that knows these too, as long as they are no mere syllables; itself where it knows all."""
        fresh = {secret for secret in secrets if len(secret) >= MIN_LENGTH} - self._values
        return Masker(self._values | fresh) if fresh else self

    def mask_text(self, text: str) -> str:
        """Return any text, every secret in it masked, as it is or as JSON writes it."""
        return self._without_escaped(self._without_plain(text))

    def mask_json(self, text: str) -> str:
        r"""Return a JSON text, every secret in it masked, however its strings are escaped.

        Only strings that hold a secret are changed, so numbers, order and repeated keys stay as they came.
        """
        # Without a backslash every string stands there as it reads.
        if "\\" in text:
            text = _STRING.sub(self._mask_string, text)
        return self._without_escaped(self._without_plain(text))

    def mask_values(self, document: Any) -> Any:
        """Return a document of JSON, every secret in its texts masked: names and form stay, however short a secret is."""
        if isinstance(document, str):
            return self.mask_text(document)
        if isinstance(document, dict):
            return {name: self.mask_values(value) for name, value in document.items()}
        if isinstance(document, list | tuple):
            return [self.mask_values(value) for value in document]
        return document

    def is_shown_by(self, text: str) -> bool:
        """Tell whether a text holds a secret; short ones may well stand there by chance."""
        # A loop, for it is on the hot path: a generator costs as much again.
        for form in self._telling:  # noqa: SIM110
            if form in text:
                return True
        return False

    def excerpt(self, body: bytes) -> str:
        """Return what is kept of a body that cannot be parsed: length, digest and the beginning, masked."""
        text = body.decode("utf-8", "backslashreplace")
        masked = self.mask_json(text)
        digest = hashlib.blake2b(self.mask_text(text).encode(), digest_size=16).hexdigest()
        # What cannot be read may hold a secret in a form that nobody thought of, so its usual places are blanked.
        masked = _AT_A_SECRETS_PLACE.sub(_blanked, masked)
        beginning = masked.encode("utf-8", "replace")[:EXCERPT_BYTES].decode("utf-8", "ignore")
        return f"[{len(body)} bytes, blake2b {digest}] {beginning}"

    def _without_plain(self, text: str) -> str:
        for form in self._forms:
            text = text.replace(form, MASK)
        return text

    def _without_escaped(self, text: str) -> str:
        """Return a text that hides no escaped secret where no string of JSON is: in other text, or a broken document."""
        if "\\" not in text:
            return text
        plain = _unescape(text)
        return self._without_plain(plain) if any(form in plain for form in self._forms) else text

    def _mask_string(self, found: re.Match[str]) -> str:
        token = found[0]
        if "\\" not in token:
            return token
        try:
            value = json.loads(token, strict=False)
        except ValueError:
            return token
        masked = value
        for form in self._forms:
            masked = masked.replace(form, MASK)
        return token if masked == value else json.dumps(masked)


def secret_words(text: str, is_secret: Callable[[str], bool]) -> tuple[str, ...]:
    """Return the words of a text that are secrets: for those of which only a digest is known.

    A word is what stands between quotes, a run of characters that are no separator, or one of letters and digits.
    """
    texts = {text}
    if "\\" in text:
        texts.add(_unescape(text))
    if "%" in text:
        texts.add(unquote(text))
    words = {word for form in texts for pattern in _WORDS for word in pattern.findall(form)}
    return tuple(word for word in words if len(word) >= MIN_WORD_LENGTH and is_secret(word))


def _blanked(found: re.Match[str]) -> str:
    is_quoted = found[2].startswith('"')
    return found[1] + (f'"{MASK}"' if is_quoted else MASK)


def _written(value: str) -> set[str]:
    """Return a secret as it may stand in a body: plain, in JSON, in a form."""
    in_json = {json.dumps(value, ensure_ascii=is_ascii)[1:-1] for is_ascii in (True, False)}
    in_forms = {quote_plus(value), quote(value), quote(value, safe="")}
    lower = {_HEX.sub(lambda found: found[0].lower(), form) for form in in_forms}
    return {value} | in_json | in_forms | lower


def _unescape(text: str) -> str:
    plain = _ESCAPE.sub(lambda found: chr(int(found[1], 16)) if found[1] else found[2], text)
    # Two halves of a pair become the one character they mean.
    return plain.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
