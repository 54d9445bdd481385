"""Everything under k8s/ that is rendered: the overlays, and components together."""

import functools
import re
from itertools import combinations

from tests.support.k8s_objects import Bundle
from tests.support.kustomize import K8S, render, render_together

OVERLAYS = ("dev", "production")
REDIS = ("redis-users", "redis-sentinel", "external-redis")
"""Components that say what Redis is; one at most."""
OTHERS = ("hpa", "keda", "monitoring", "ingress-tls", "gateway-api", "relay", "network-policies")


PRODUCTION = (K8S / "overlays" / "production" / "kustomization.yaml").read_text(encoding="utf-8")
ORDER = tuple(re.findall(r"^  (?:# )?- \.\./\.\./components/([\w-]+)", PRODUCTION, re.MULTILINE))
"""In which components are applied: that of the overlay for production, with those that are to be uncommented there."""


def together(*components: str) -> tuple[str, ...]:
    """Return components in the order that they are to be applied in."""
    return tuple(sorted(components, key=ORDER.index))


NONE_ON: tuple[str, ...] = ()
EACH = {together(one) for one in (*OTHERS, *REDIS)}
ALL_ON = {together(*OTHERS, *redis) for redis in (NONE_ON, *((one,) for one in REDIS))}
ALL_BUT_ONE = {together(*(one for one in OTHERS if one != left), REDIS[0]) for left in OTHERS}
COMBINATIONS = sorted({NONE_ON, *EACH, *ALL_ON, *ALL_BUT_ONE})
EVERY_COMBINATION = sorted(
    {
        together(*others, *redis)
        for count in range(len(OTHERS) + 1)
        for others in combinations(OTHERS, count)
        for redis in (NONE_ON, *((one,) for one in REDIS))
    }
)


@functools.cache
def overlay(name: str) -> Bundle:
    """Return what an overlay renders to."""
    return Bundle(f"overlays/{name}", render(K8S / "overlays" / name))


@functools.cache
def combination(components: tuple[str, ...]) -> Bundle:
    """Return what the base renders to with components on it."""
    return Bundle("+".join(("base", *components)), render_together(components))


def name_of(components: tuple[str, ...]) -> str:
    """Return how a combination is called in the ids of tests."""
    return "+".join(components) or "base"
