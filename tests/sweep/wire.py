"""Finds the messages in what goes over a line to Redis or to a venue, and gives each request a name. Pure."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import hiredis

from libs.common.store.scripts import PARTS
from tests.support.venue import RESOURCES

_CONTAINERS: Final = frozenset({"ACL", "CLIENT", "CONFIG", "SCRIPT", "XGROUP", "XINFO"})
"""Commands whose second word is part of the name."""

WHOLE: Final = ", whole"
"""Ends the name of a script that is sent with its text, as Redis did not know it."""

Ends = Callable[[bytes, int], int | None]
"""Where the message that starts at an index ends; None where it has not all come."""


@dataclass(frozen=True)
class Language:
    """How the two sides of a line talk."""

    request_end: Ends
    reply_end: Ends
    name: Callable[[bytes], str]
    """What a request is called."""
    refusals: Mapping[str, bytes]
    """Replies by which a request is turned down, none of which executes it."""
    applies: Callable[[str, str], bool]
    """Whether a request of that name may be turned down with that word."""


def resp_end(data: bytes, start: int = 0) -> int | None:
    """Return where a RESP2 message ends."""
    line = data.find(b"\r\n", start)
    if line < 0:
        return None
    kind, at = data[start : start + 1], line + 2
    if kind in {b"+", b"-", b":"}:
        return at
    count = int(data[start + 1 : line])
    if kind == b"$":
        end = at + count + 2 if count >= 0 else at
        return end if end <= len(data) else None
    if kind != b"*":
        raise ValueError(f"no RESP2 message: {data[start : start + 40]!r}")
    for _ in range(count):
        found = resp_end(data, at)
        if found is None:
            return None
        at = found
    return at


def http_end(data: bytes, start: int = 0) -> int | None:
    """Return where an HTTP/1.1 message with a `Content-Length`, or without a body, ends."""
    head = data.find(b"\r\n\r\n", start)
    if head < 0:
        return None
    length = 0
    for line in data[start:head].split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length":
            length = int(value)
    end = head + 4 + length
    return end if end <= len(data) else None


def scripts_of(source: Path) -> dict[str, str]:
    """Return the text of each script of a source tree, by its name."""
    directory = source / "libs" / "common" / "store" / "lua"
    texts = {path.stem: path.read_text(encoding="utf-8") for path in sorted(directory.glob("*.lua"))}
    # An older tree may lack a part.
    return {
        name: "".join(texts.get(one, "") for one in ("prelude", *PARTS.get(name, ()), name)) for name in texts
    }


def redis_language(scripts: Mapping[str, str]) -> Language:
    """Return how to read a line to Redis.

    Args:
        scripts: Their texts by their names, see `scripts_of`.
    """
    names = {_digest(text.encode()): name for name, text in scripts.items()}

    def name(request: bytes) -> str:
        reader = hiredis.Reader()
        reader.feed(request)
        words = [bytes(word) for word in reader.gets()]
        command = words[0].decode().upper()
        match command:
            case "EVALSHA":
                return f"script {names.get(words[1].decode(), '?')}"
            case "EVAL":
                return f"script {names.get(_digest(words[1]), '?')}{WHOLE}"
            case "XREADGROUP" if words[-1] != b">":
                return "XREADGROUP own"
        return f"{command} {words[1].decode().upper()}" if command in _CONTAINERS else command

    return Language(resp_end, resp_end, name, _REDIS_REFUSALS, _redis_refuses)


def _digest(text: bytes) -> str:
    return hashlib.sha1(text, usedforsecurity=False).hexdigest()


_REDIS_REFUSALS: Final = {
    "LOADING": b"-LOADING Redis is loading the dataset in memory\r\n",
    "OOM": b"-OOM command not allowed when used memory > 'maxmemory'.\r\n",
    "MISCONF": b"-MISCONF Errors writing to the AOF file: No space left on device\r\n",
    "READONLY": b"-READONLY You can't write against a read only replica.\r\n",
    "NOSCRIPT": b"-NOSCRIPT No matching script. Please use EVAL.\r\n",
    "NOGROUP": b"-NOGROUP No such key or consumer group\r\n",
}

_WRITES: Final = ("script ", "XREADGROUP", "XGROUP", "SET", "HSET", "XADD", "ZREM", "DEL")


def _redis_refuses(name: str, word: str) -> bool:
    """Tell whether Redis may answer that: only scripts are missing, only readers have groups, only writes are denied."""
    match word:
        case "NOSCRIPT":
            return name.startswith("script ") and not name.endswith(WHOLE)
        case "NOGROUP":
            return name.startswith("XREADGROUP")
        case "LOADING":
            return True
        case _:
            return name.startswith(_WRITES)


def http_language() -> Language:
    """Return how to read a line to a venue."""
    return Language(http_end, http_end, _http_name, _HTTP_REFUSALS, lambda _, __: True)


def _http_name(request: bytes) -> str:
    method, target, _ = request.split(b"\r\n", 1)[0].decode().split(" ", 2)
    parts = [part for part in urlsplit(target).path.split("/") if part]
    index = next((index for index, part in enumerate(parts) if part in RESOURCES), 0)
    return f"{method} /{parts[index]}" + ("/{}" if parts[index + 1 :] else "")


def _answer(status: str, body: bytes, *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", *headers, "Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, "", ""]).encode() + body


_HTTP_REFUSALS: Final = {
    "429": _answer("429 Too Many Requests", b'{"code": "slow_down", "detail": "x"}', "Retry-After: 1"),
    "503": _answer("503 Service Unavailable", b'{"code": "away", "detail": "x"}'),
}
