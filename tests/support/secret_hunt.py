"""Finds secrets in whatever was written, however they are written there."""

import base64
import html
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final
from urllib.parse import quote, quote_plus, unquote, unquote_plus

PART: Final = 12
"""So much of a secret's beginning or end is as bad as the whole."""

_ESCAPES: Final = re.compile(r"\\+u([0-9a-fA-F]{4})")
_BYTES: Final = re.compile(r"((?:\\x[0-9a-fA-F]{2})+)")


class Hunt:
    """Finds secrets, and large parts of them, however they are written."""

    def __init__(self, secrets: Mapping[str, str]) -> None:
        self._forms = {form: name for name, secret in secrets.items() for form in forms(secret)}
        alternatives = sorted(map(re.escape, self._forms), key=len, reverse=True)
        self._pattern = re.compile("|".join(alternatives))

    def find(self, text: str | bytes) -> set[str]:
        """Return the names of the secrets that a text shows."""
        plain = text.decode("utf-8", "backslashreplace") if isinstance(text, bytes) else text
        return {self._forms[form] for one in peeled(plain) for form in self._pattern.findall(one)}

    def excerpt(self, text: str | bytes) -> str:
        """Return where a text shows a secret, for whoever mends it."""
        plain = text.decode("utf-8", "backslashreplace") if isinstance(text, bytes) else text
        for one in peeled(plain):
            if found := self._pattern.search(one):
                return one[max(0, found.start() - 300) : found.end() + 80]
        return ""


def forms(secret: str) -> set[str]:
    """Return how a secret, its beginning and its end may be written."""
    found: set[str] = set()
    for part in {secret, secret[:PART], secret[-PART:]}:
        raw = part.encode()
        found |= {part, repr(part)[1:-1], html.escape(part), raw.hex(), raw.hex().upper()}
        found |= {json.dumps(part)[1:-1], json.dumps(part, ensure_ascii=False)[1:-1]}
        found |= {quote(part), quote(part, safe=""), quote_plus(part)}
        # Anywhere in a longer text, whatever stands before and behind.
        for ahead in range(3):
            coded = base64.b64encode(b"\0" * ahead + raw)
            whole = coded[(0, 2, 3)[ahead] : (ahead + len(raw)) * 8 // 6].decode()
            found |= {whole, whole.replace("+", "-").replace("/", "_")}
    return found


def peeled(text: str) -> Iterator[str]:
    """Yield a text as it is, and with one layer after the other of what escapes it taken off."""
    seen: set[str] = set()
    for _ in range(4):
        for form in (text, unquote(text), unquote_plus(text)):
            if form not in seen:
                seen.add(form)
                yield form
        text = _BYTES.sub(
            lambda found: bytes.fromhex(found[1].replace("\\x", "")).decode(errors="replace"), text
        )
        text = _ESCAPES.sub(lambda found: chr(int(found[1], 16)), text)
        text = text.replace("\\\\", "\\").replace('\\"', '"').replace("\\/", "/")


def files_of(directory: Path) -> Iterator[tuple[str, bytes]]:
    """Yield every file below a directory, by its path there, with what it holds."""
    for path in sorted(directory.rglob("*")):
        if path.is_file() and not path.is_symlink():
            yield str(path.relative_to(directory)), path.read_bytes()
