"""Looks into rendered objects: workloads and their pods, what selects them, and what network policies let through."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from tests.support.kustomize import Object

WORKLOADS: Final = frozenset({"Deployment", "StatefulSet"})
CLUSTER_WIDE: Final = frozenset({"Namespace"})
CORE_GROUPS: Final = frozenset({"", "apps", "autoscaling", "networking.k8s.io", "policy"})
"""API groups that every cluster has, of those used here."""

_MIB: Final = 2**20
_UNITS: Final = {"Mi": _MIB, "Gi": 1_024 * _MIB, "mb": _MIB, "gb": 1_024 * _MIB}


@dataclass(frozen=True)
class Bundle:
    """What one directory renders to."""

    name: str
    objects: Sequence[Object]

    def of(self, *kinds: str) -> list[Object]:
        """Return the objects of some kinds."""
        return [one for one in self.objects if one["kind"] in kinds]

    def find(self, kind: str, name: str) -> Object | None:
        """Return an object by its name; None where there is none."""
        return next((one for one in self.of(kind) if one["metadata"]["name"] == name), None)

    @cached_property
    def workloads(self) -> dict[str, Object]:
        """Deployments and stateful sets, by their names."""
        return {one["metadata"]["name"]: one for one in self.of(*WORKLOADS)}

    def selected(self, selector: Mapping[str, Any]) -> list[str]:
        """Return the names of workloads whose pods a selector finds."""
        return [name for name, one in self.workloads.items() if matches(selector, labels_of(one))]

    def config(self, prefix: str) -> dict[str, str]:
        """Return the data of the ConfigMap whose name begins so, before its hash."""
        (found,) = [
            one for one in self.of("ConfigMap") if one["metadata"]["name"].rpartition("-")[0] == prefix
        ]
        return dict(found.get("data", {}))

    def environment(self, name: str) -> dict[str, str]:
        """Return the variables of a workload's first container, those of its ConfigMaps too."""
        container = pod_of(self.workloads[name])["containers"][0]
        found: dict[str, str] = {}
        for source in container.get("envFrom", []):
            one = self.find("ConfigMap", source["configMapRef"]["name"])
            assert one is not None, f"{name}: no ConfigMap {source['configMapRef']['name']}"
            found |= one.get("data", {})
        return found | {one["name"]: one["value"] for one in container.get("env", [])}


def group_of(one: Object) -> str:
    """Return the API group of an object; empty for the core."""
    return str(one["apiVersion"]).rpartition("/")[0]


def pod_of(workload: Object) -> dict[str, Any]:
    """Return what a workload says of its pods."""
    return dict(workload["spec"]["template"]["spec"])


def labels_of(workload: Object) -> dict[str, str]:
    """Return the labels of a workload's pods."""
    return dict(workload["spec"]["template"]["metadata"]["labels"])


def containers_of(workload: Object) -> Iterator[dict[str, Any]]:
    """Yield all containers of a workload's pods."""
    pod = pod_of(workload)
    yield from (*pod.get("initContainers", []), *pod["containers"])


def ports_of(workload: Object) -> dict[str, int]:
    """Return the named ports of a workload's pods."""
    return {
        port["name"]: port["containerPort"]
        for container in containers_of(workload)
        for port in container.get("ports", [])
    }


def matches(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Return whether a label selector finds what has these labels."""
    wanted = selector.get("matchLabels", {})
    if any(labels.get(key) != value for key, value in wanted.items()):
        return False
    for expression in selector.get("matchExpressions", []):
        assert expression["operator"] == "In", expression
        if labels.get(expression["key"]) not in expression["values"]:
            return False
    return True


@dataclass(frozen=True)
class Peer:
    """One end of a connection: a pod of ours, one of another namespace, or an address outside."""

    labels: Mapping[str, str] | None = None
    """Of a pod; None for an address."""
    namespace: str | None = None
    """Of a pod; None for ours."""
    address: str | None = None


@dataclass(frozen=True)
class Policies:
    """What network policies let through, as the API describes it."""

    bundle: Bundle

    def lets(self, source: Peer, target: Peer, port: int, names: Mapping[str, int]) -> bool:
        """Return whether a connection may be made.

        Args:
            source: Who makes it.
            target: Who takes it.
            port: Its number.
            names: The named ports of the target.
        """
        return self._passes("Egress", source, target, port, names) and self._passes(
            "Ingress", target, source, port, names
        )

    def _passes(self, way: str, own: Peer, other: Peer, port: int, names: Mapping[str, int]) -> bool:
        if own.labels is None or own.namespace is not None:
            return True  # not ours to rule
        ruling = [
            one["spec"]
            for one in self.bundle.of("NetworkPolicy")
            if way in one["spec"]["policyTypes"] and matches(one["spec"]["podSelector"], own.labels)
        ]
        if not ruling:
            return True
        side = "to" if way == "Egress" else "from"
        return any(
            self._has_port(rule, port, names) and self._has_peer(rule.get(side), other)
            for spec in ruling
            for rule in spec.get(way.lower(), [])
        )

    @staticmethod
    def _has_port(rule: Mapping[str, Any], port: int, names: Mapping[str, int]) -> bool:
        ports = rule.get("ports")
        return ports is None or any(port == names.get(one["port"], one["port"]) for one in ports)

    @staticmethod
    def _has_peer(peers: Sequence[Mapping[str, Any]] | None, other: Peer) -> bool:
        from ipaddress import ip_address, ip_network

        if peers is None:
            return True
        for peer in peers:
            if "ipBlock" in peer:
                if other.address is None:
                    continue
                address, block = ip_address(other.address), peer["ipBlock"]
                inside = address.version == ip_network(block["cidr"]).version and address in ip_network(
                    block["cidr"]
                )
                if inside and not any(address in ip_network(one) for one in block.get("except", [])):
                    return True
                continue
            if other.labels is None:
                continue
            if "namespaceSelector" in peer:
                found = matches(
                    peer["namespaceSelector"], {"kubernetes.io/metadata.name": other.namespace or "bascule"}
                )
            else:
                found = other.namespace is None
            if found and matches(peer.get("podSelector", {}), other.labels):
                return True
        return False


def bytes_of(text: str) -> int:
    """Return a size as Kubernetes or Redis writes it, in bytes."""
    return int(text[:-2]) * _UNITS[text[-2:]]


def patience_s(probe: Mapping[str, Any]) -> int:
    """Return for how long a probe may fail before something follows from it."""
    return int(probe.get("periodSeconds", 10)) * int(probe.get("failureThreshold", 3))
