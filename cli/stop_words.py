"""What stopped an alert, as people say it: records name a halt's scope as it is stored."""

import re
from typing import Final

_STOP: Final = re.compile(r"([a-z-]+) of (account=.*?;symbol=.*?): (.*)", re.DOTALL)


def stop_words(detail: str) -> str:
    """Return the detail of a change or a dead letter, a halt's scope in it in words; any other as it is."""
    found = _STOP.fullmatch(detail)
    if found is None:
        return detail
    from libs.common.domain.errors import StoreCorrupt
    from libs.common.policy.halts import parse_scope

    try:
        return f"{found[1]} of {parse_scope(found[2])}: {found[3]}"
    except (StoreCorrupt, ValueError):
        return detail
