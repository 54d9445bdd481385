"""Store calls that must get an answer: repeated while the lane may still be ours."""

from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from tenacity import AsyncRetrying, retry_if_exception_type, wait_random_exponential

from libs.common.domain.errors import StoreUnavailable
from services.worker.leases import Lease

T = TypeVar("T")

# Every script answers a re-sent call as it did the first time, so repeating is safe; what was found out about an
# order would be lost otherwise.
_RETRYING: Final = AsyncRetrying(
    retry=retry_if_exception_type(StoreUnavailable),
    wait=wait_random_exponential(multiplier=0.05, max=0.5),
    reraise=True,
)


async def persist(call: Callable[[], Awaitable[T]], lease: Lease) -> T:
    """Await `call()` until Redis answers it.

    Raises:
        StoreUnavailable: Redis is away, and the lane is no longer ours.
        StoreCorrupt: This call cannot be carried out.
    """
    try:
        return await call()
    except StoreUnavailable:
        pass

    async def again() -> T:
        return await call()

    # A copy for each call: tenacity keeps its state by thread, which all tasks share.
    retrying = _RETRYING.copy(stop=lambda _: lease.is_lost)
    return await retrying(again)
