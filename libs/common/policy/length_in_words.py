"""A length of time as people say it."""


def in_words(span_ms: int) -> str:
    """Return a time as people say it, in its two largest units: `2 d 5 h`, `12 min`."""
    parts = []
    rest = span_ms // 1_000
    for unit, seconds in (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)):
        count, rest = divmod(rest, seconds)
        if count:
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2]) or f"{span_ms} ms"
