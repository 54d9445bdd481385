"""Addresses of the web: whether a text is one, and as much of one as may show."""

import re
from typing import Final
from urllib.parse import urlsplit

from libs.common.wire.masking import MASK

_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://", re.ASCII)


def is_web_address(text: str) -> bool:
    """Tell whether a text is an http:// or https:// address that can be posted to."""
    try:
        parts = urlsplit(text)
        is_one = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is none
        return False
    # Line ends are left out of the parts, without a word.
    return is_one and text.isprintable() and " " not in text


def origin_of(address: str) -> str:
    """Return scheme, host and port of an address alone: its path may be a token, as those of chat services are."""
    parts = urlsplit(address)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def without_credentials(address: str) -> str:
    """Return an address without a name and a password, and without what services take for keys behind `?` and `#`.

    It need not be a right one, so that a message can say what is wrong with it. `***` stands for one of which nobody can
    tell where its password ends.
    """
    scheme = _SCHEME.match(address)
    begin = scheme[0] if scheme else ""
    before, _, place = address.removeprefix(begin).rpartition("@")
    if any(mark in before for mark in "/?#"):
        return begin + MASK
    return begin + place.partition("?")[0].partition("#")[0]
