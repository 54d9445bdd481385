"""What an alert's trace is made of: every span, and the attributes that they share.

They are made by `post_spans.py`, `execution_spans.py` and `upkeep_spans.py`. Names follow the messaging conventions of
OpenTelemetry where there are any (1.44, experimental); what is ours begins with `bascule.`. An alert is one trace:

    SERVER    POST /webhook       ingress   begins the trace; an inbound `traceparent` is at most a link
    CONSUMER  process alerts      worker    child of the post, and linked to it; one each time the lane comes to it
    CLIENT    place_order paper   worker    child of that; one for each question to the venue
    CLIENT    find_order paper    worker    child of the post: a look-up that found news of a resting order
    INTERNAL  reclaim alerts      reaper    child of the post, and linked to it
    INTERNAL  expire alerts       reaper    the same: it was too old behind a head that waits
    PRODUCER  replay alerts       command   begins a new trace, linked to the post; what follows is its child

No span holds a credential, a body, or words of a sender or a venue but the symbol and the strategy, and posts are
refused that hold a credential there.
"""

from typing import Final

from libs.common.telemetry.span_record import AttributeValue

ALERT_ID: Final = "bascule.alert_id"
WEBHOOK: Final = "bascule.webhook"
ACCOUNT: Final = "bascule.account"
SYMBOL: Final = "bascule.symbol"
"""As sent."""
MARKET: Final = "bascule.market"
"""What the venue calls the symbol."""
STRATEGY: Final = "bascule.strategy"
CLIENT_ORDER_ID: Final = "bascule.client_order_id"
ATTEMPT: Final = "bascule.attempt"
"""At placing the order; from 1."""
QUEUE_WAIT_MS: Final = "bascule.queue_wait_ms"
"""From when it was admitted, or replayed, until a worker came to it, by Redis' clock."""
LOST_HOLDERS: Final = "bascule.lost_holders"
"""Workers that died or failed on it."""
OUTCOME: Final = "bascule.outcome"
"""`admitted`, `duplicate`, `refused`; the state it ended in, `parked`, `lost`; an order's state."""
REASON: Final = "bascule.reason"
"""The reason code of the outcome."""
DECLINED: Final = "bascule.declined"
"""Accounts that did not take an alert, and why: `desk=unknown_symbol second=not_allowed`."""

MESSAGING: Final[dict[str, AttributeValue]] = {
    "messaging.system": "redis",
    "messaging.destination.name": "alerts",
}
"""Of spans that are about the stream of alerts."""
