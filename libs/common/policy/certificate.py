"""Whether a client certificate is TradingView's, by what the proxy that verified it says of it.

Source: TradingView's help article 43000680459. The common name differs between its versions, so it is not looked at.
"""

import re
from typing import Final

ORGANISATION: Final = "TradingView, Inc."
EMAIL: Final = "webhook-server@tradingview.com"

_ATTRIBUTE: Final = re.compile(
    r"\s*([A-Za-z][A-Za-z0-9-]*|[0-9.]+)\s*=((?:[^\\,+\"]|\\.|\"(?:[^\"\\]|\\.)*\")*)", re.DOTALL
)
_ESCAPE: Final = re.compile(r"\\([0-9A-Fa-f]{2}|.)", re.DOTALL)


def is_tradingview(subject: str, emails: str) -> bool:
    r"""Tell whether a verified certificate is TradingView's.

    Args:
        subject: Its subject as RFC 2253 or 4514 writes it, for example `CN=...,O=TradingView\, Inc.,C=US`.
        emails: The email addresses among its alternative names, separated by commas.
    """
    organisations = [value for name, value in _attributes(subject) if name == "O"]
    return organisations == [ORGANISATION] and EMAIL in {one.strip().lower() for one in emails.split(",")}


def _attributes(subject: str) -> list[tuple[str, str]]:
    """Return the attributes of a distinguished name; none where it cannot be read to its end."""
    found: list[tuple[str, str]] = []
    place = 0
    while place < len(subject):
        attribute = _ATTRIBUTE.match(subject, place)
        if attribute is None:
            return []
        value = attribute[2].strip()
        if value[:1] == '"' and value[-1:] == '"' and len(value) > 1:
            value = value[1:-1]
        found.append((attribute[1].upper(), _ESCAPE.sub(_unescaped, value)))
        place = attribute.end()
        if place < len(subject):
            if subject[place] not in ",+":
                return []
            place += 1
    return found


def _unescaped(found: re.Match[str]) -> str:
    text = found[1]
    return chr(int(text, 16)) if len(text) == 2 else text
