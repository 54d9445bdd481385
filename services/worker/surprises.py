"""Open orders of which venue and records tell different things."""

from libs.common.domain.errors import LookUpUnavailable
from libs.common.domain.ids import ClientOrderId, Market, is_client_order_id
from libs.common.policy.reconciliation import surprise
from libs.common.store.reconciliation import Reconciliation
from libs.common.telemetry.logs import get_logger
from libs.common.telemetry.worker_metrics import WorkerMetrics
from services.worker.asking import Asker
from services.worker.rounds import Round

Found = dict[ClientOrderId, tuple[Market, str]]
"""Orders, their markets, and how they differ."""

log = get_logger()


class Surprises:
    """Finds and tells them."""

    def __init__(self, store: Reconciliation, asker: Asker, metrics: WorkerMetrics) -> None:
        self._store = store
        self._asker = asker
        self._metrics = metrics

    async def find(self, this: Round, failures: list[LookUpUnavailable]) -> Found:
        """Return those that there are now."""
        listed = await self._asker.ask_or_note(this.name, this.account.broker.open_orders(), failures)
        if listed is None:
            return {}
        ours = {
            one.client_order_id: one.symbol
            for one in listed
            if one.client_order_id is not None and is_client_order_id(one.client_order_id)
        }
        # After the venue: an order that has come to rest in between is on record.
        states = await self._store.order_states(list(ours))
        found: Found = {}
        for (order, market), state in zip(ours.items(), states, strict=True):
            words = surprise(order, state)
            if words is not None:
                found[order] = (market, words)
        for one in this.resting:
            if one.client_order_id not in ours:
                words = f"order {one.client_order_id} is {one.state}, and the venue does not list it as open"
                found[one.client_order_id] = (one.market, words)
        return found

    async def tell(self, this: Round, before: Found, after: Found, since_ms: int) -> None:
        """Journal what stood in both looks, once; but not what nobody has looked after since then."""
        unseen = {one.client_order_id for one in this.resting if one.looked_at_ms < since_ms}
        for order, (market, words) in after.items():
            if before.get(order) != (market, words) or order in unseen:
                continue
            if await self._store.tell_drift(this.name, market, order, words):
                self._metrics.drifted(this.name, "order")
                log.warning("order_drifted", account=this.name, market=market, drift=words)
