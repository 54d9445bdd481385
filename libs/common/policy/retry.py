"""How long to wait before trying again."""

from collections.abc import Callable

Uniform = Callable[[float, float], float]
"""`random.uniform`, or a stub."""


def backoff_ms(attempt: int, *, base_ms: int, cap_ms: int, uniform: Uniform) -> int:
    """Return the delay before the next attempt, in milliseconds, with full jitter.

    Args:
        attempt: Attempts already made; the first failure is 1.
        base_ms: Upper bound of the first delay.
        cap_ms: Upper bound of every delay.
        uniform: `random.uniform` or a stub, called once as `uniform(0, bound)`.

    Returns:
        An integer in `[0, min(cap_ms, base_ms * 2 ** (attempt - 1))]`.

    Raises:
        ValueError: `attempt` is below 1.

    Source:
        "Exponential Backoff and Jitter", AWS Architecture Blog, full-jitter variant.
    """
    if attempt < 1:
        raise ValueError(f"attempt is {attempt}, expected 1 or more")
    # The exponent is bounded first: 2 ** 10_000 is a number, but not one to wait for.
    bound = min(cap_ms, base_ms * 2 ** min(attempt - 1, 32))
    return int(uniform(0, bound))
