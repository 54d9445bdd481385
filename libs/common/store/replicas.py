"""Whether a Redis server has the replicas that the configuration counts on."""

from typing import Final

from libs.common.domain.errors import StoreUnavailable
from libs.common.store.checks import Promise, ServerFacts, broken_promises

START_THEM: Final = "start them: until then alerts are answered 503 and no order leaves"


class TooFewReplicas(StoreUnavailable):
    """Nothing would count that was written now."""


def check_replicas(facts: ServerFacts, wanted: int) -> None:
    """Make sure that there are enough of them.

    Raises:
        TooFewReplicas: There are not. It may pass by itself: after a fail-over the old primary comes back as one.
    """
    if not (promise := replicas_promise(facts, wanted)).is_kept:
        raise TooFewReplicas(f"{promise.finding}: {promise.remedy}")


def replicas_promise(facts: ServerFacts, wanted: int) -> Promise:
    """Return whether as many replicas follow as must have what is acknowledged."""
    is_kept = facts.replicas >= wanted
    finding = f"{facts.replicas} replicas follow Redis, and redis.replicas is {wanted}"
    return Promise("replicas", is_kept, finding, "" if is_kept else START_THEM)


def unkept_promises(facts: ServerFacts, durability: str, wanted: int) -> list[Promise]:
    """Return what the bridge needs of the server and of those that follow it, and is not so."""
    there = replicas_promise(facts, wanted)
    return [*broken_promises(facts, durability), *(() if there.is_kept else (there,))]


def guard_promise(facts: ServerFacts, wanted: int) -> Promise | None:
    """Return whether a primary that was cut off from its replicas refuses writes; None where that cannot be told.

    What is acknowledged does not depend on it. But a primary that takes writes that nobody has lets workers go on in what a
    fail-over will undo.
    """
    if not wanted or facts.least_replicas is None:
        return None
    is_kept = facts.least_replicas >= wanted
    finding = f"Redis' min-replicas-to-write is {facts.least_replicas}"
    remedy = f"set min-replicas-to-write {wanted} and min-replicas-max-lag 10 on every server"
    return Promise("guard", is_kept, finding, "" if is_kept else remedy)
