"""Whether a text shows a secret, however it is written."""

import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import unquote

_ESCAPE: Final = re.compile(r"\\+u([0-9a-fA-F]{4})")


class Leaks:
    """Finds secrets in texts."""

    def __init__(self, plain: Iterable[str], hashed: Iterable[str]) -> None:
        """Args:
        plain: Secrets that the bridge knows as they are: they must show nowhere.
        hashed: Secrets of which it knows a digest alone: as words of their own they must show nowhere. In the
            middle of other letters nobody can tell them.
        """
        known = [f"(?:{re.escape(secret)})" for secret in plain]
        known += [f"(?<![A-Za-z0-9*]){re.escape(secret)}(?![A-Za-z0-9*])" for secret in hashed]
        self._pattern = re.compile("|".join(known))

    def find(self, text: str) -> str | None:
        """Return a secret that the text shows; None where it shows none."""
        forms = {text}
        if "\\u" in text:
            forms.add(_ESCAPE.sub(lambda found: chr(int(found[1], 16)), text))
        if "%" in text:
            forms.add(unquote(text))
        for form in forms:
            if found := self._pattern.search(form):
                return found[0]
        return None
