"""Who scales what, and how many pods may be gone at once."""

from libs.common.runtime.settings import Settings
from tests.support.k8s_objects import Bundle, pod_of


def test_pods_of_a_workload_are_on_different_nodes_and_zones_where_there_are_any(bundle: Bundle) -> None:
    for name, workload in bundle.workloads.items():
        constraints = pod_of(workload).get("topologySpreadConstraints", [])
        if _fewest(bundle, name) > 1:
            keys = {one["topologyKey"] for one in constraints}
            assert keys == {"kubernetes.io/hostname", "topology.kubernetes.io/zone"}, name
        for one in constraints:
            assert (one["maxSkew"], one["whenUnsatisfiable"]) == (1, "ScheduleAnyway"), name


def test_disruption_budgets_let_one_pod_go(bundle: Bundle) -> None:
    for budget in bundle.of("PodDisruptionBudget"):
        (name,) = bundle.selected(budget["spec"]["selector"])
        fewest = _fewest(bundle, name)
        assert fewest >= 2, f"{name}: a budget on one pod keeps its node from being drained"
        assert budget["spec"].get("minAvailable", fewest - 1) == fewest - 1
        assert budget["spec"].get("maxUnavailable", 1) == 1
        assert budget["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow"


def test_whatever_has_several_pods_has_a_budget_or_does_without_one_of_them(bundle: Bundle) -> None:
    budgets = {
        name for one in bundle.of("PodDisruptionBudget") for name in bundle.selected(one["spec"]["selector"])
    }
    several = {name for name in bundle.workloads if _fewest(bundle, name) > 1}
    # All reapers may be away for a while: nothing is lost, and the next one goes on.
    assert several - budgets <= {"reaper"}


def test_whoever_scales_a_workload_owns_its_number(bundle: Bundle) -> None:
    for scaler in bundle.of("HorizontalPodAutoscaler", "ScaledObject"):
        target = scaler["spec"]["scaleTargetRef"]["name"]
        assert "replicas" not in bundle.workloads[target]["spec"], "each apply would set it back"
        least = scaler["spec"].get("minReplicas", scaler["spec"].get("minReplicaCount"))
        assert 2 <= least < scaler["spec"].get("maxReplicas", scaler["spec"].get("maxReplicaCount"))
    owned = {
        one["spec"]["scaleTargetRef"]["name"] for one in bundle.of("HorizontalPodAutoscaler", "ScaledObject")
    }
    for name in bundle.workloads.keys() - owned:
        assert "replicas" in bundle.workloads[name]["spec"]


def test_keda_asks_a_service_for_figures_that_reapers_show(bundle: Bundle) -> None:
    for scaled in bundle.of("ScaledObject"):
        names = {trigger["name"] for trigger in scaled["spec"]["triggers"]}
        assert names == set(scaled["spec"]["advanced"]["scalingModifiers"]["formula"].split(" + "))
        for trigger in scaled["spec"]["triggers"]:
            metadata = trigger["metadata"]
            host, port = metadata["url"].removeprefix("http://").removesuffix("/metrics").split(":")
            name, namespace, _ = host.split(".")
            assert namespace == scaled["metadata"]["namespace"]
            service = bundle.find("Service", name)
            assert service is not None
            assert int(port) in {one["port"] for one in service["spec"]["ports"]}
            assert bundle.selected({"matchLabels": service["spec"]["selector"]}) == ["reaper"]
            assert metadata["valueLocation"] == f'bascule_lanes{{state="{trigger["name"]}"}}'
            assert metadata["format"] == "prometheus"


def test_keda_counts_lanes_that_a_worker_has_slots_for_and_stays_where_nobody_tells(
    bundle: Bundle, settings: Settings
) -> None:
    for scaled in bundle.of("ScaledObject"):
        spec = scaled["spec"]
        modifiers, fallback = spec["advanced"]["scalingModifiers"], spec["fallback"]
        assert modifiers["metricType"] == "AverageValue"
        assert 0 < int(modifiers["target"]) <= settings.worker.concurrency
        assert {trigger["metadata"]["targetValue"] for trigger in spec["triggers"]} == {modifiers["target"]}
        assert fallback["behavior"] == "currentReplicasIfHigher"
        assert spec["minReplicaCount"] < fallback["replicas"] <= spec["maxReplicaCount"]


def _fewest(bundle: Bundle, name: str) -> int:
    """Return how few pods a workload may have."""
    for scaler in bundle.of("HorizontalPodAutoscaler", "ScaledObject"):
        if scaler["spec"]["scaleTargetRef"]["name"] == name:
            return int(scaler["spec"].get("minReplicas", scaler["spec"].get("minReplicaCount")))
    return int(bundle.workloads[name]["spec"]["replicas"])
