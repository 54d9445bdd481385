"""What must hold in every overlay and combination of components, read from what is rendered."""

from pathlib import Path

import pytest
import yaml

from libs.common.domain.errors import ConfigError
from libs.common.runtime.load_settings import load_settings
from libs.common.runtime.settings import Settings
from services.ingress.__main__ import DRAIN_S
from tests.support.k8s_objects import Bundle, containers_of, labels_of, pod_of, ports_of

SERVICES = ("ingress", "worker", "reaper")
SECRETS = {"bascule-webhooks", "bascule-brokers", "bascule-alarms", "bascule-redis", "bascule-tls"}
"""That docs/kubernetes.md has people make."""
OPTIONAL = {"bascule-brokers", "bascule-alarms"}
SPANS_S = 2
"""For the last spans at the end of a drain."""

MIB = 2**20
UNITS = {"Mi": MIB, "Gi": 1_024 * MIB, "mb": MIB, "gb": 1_024 * MIB}


@pytest.fixture
def settings(bundle: Bundle, tmp_path: Path) -> Settings:
    """The configuration that the pods are given, read as they read it."""
    path = tmp_path / "bascule.yaml"
    path.write_text(bundle.config("bascule-config")["bascule.yaml"])
    return load_settings(path)


def test_selectors_find_the_pods_of_their_own_workload_alone(bundle: Bundle) -> None:
    for name, workload in bundle.workloads.items():
        assert bundle.selected(workload["spec"]["selector"]) == [name]
        for constraint in pod_of(workload).get("topologySpreadConstraints", []):
            assert bundle.selected(constraint["labelSelector"]) == [name]


def test_services_lead_to_one_workload_and_to_ports_that_it_has(bundle: Bundle) -> None:
    for service in bundle.of("Service"):
        (name,) = bundle.selected({"matchLabels": service["spec"]["selector"]})
        there = ports_of(bundle.workloads[name])
        for port in service["spec"]["ports"]:
            assert there[port["targetPort"]] == port["port"], service["metadata"]["name"]


def test_what_pods_name_is_there(bundle: Bundle) -> None:
    for name, workload in bundle.workloads.items():
        pod = pod_of(workload)
        assert bundle.find("ServiceAccount", pod["serviceAccountName"]), name
        assert pod["serviceAccountName"] == name, "each has one of its own"
        volumes = {volume["name"]: volume for volume in pod["volumes"]}
        claimed = {claim["metadata"]["name"] for claim in workload["spec"].get("volumeClaimTemplates", [])}
        for container in containers_of(workload):
            for mount in container["volumeMounts"]:
                assert mount["name"] in volumes.keys() | claimed, f"{name}: {mount}"
            for source in container.get("envFrom", []):
                assert bundle.find("ConfigMap", source["configMapRef"]["name"]), f"{name}: {source}"
        mounted = {
            mount["name"] for container in containers_of(workload) for mount in container["volumeMounts"]
        }
        assert volumes.keys() <= mounted, f"{name} has volumes that nobody mounts"
        for volume in volumes.values():
            if "configMap" in volume:
                assert bundle.find("ConfigMap", volume["configMap"]["name"]), f"{name}: {volume}"
            if "secret" in volume:
                secret = volume["secret"]
                assert secret["secretName"] in SECRETS
                assert secret.get("optional", False) is (secret["secretName"] in OPTIONAL)


def test_every_config_map_is_used(bundle: Bundle) -> None:
    used = {
        source["configMapRef"]["name"]
        for workload in bundle.workloads.values()
        for container in containers_of(workload)
        for source in container.get("envFrom", [])
    } | {
        volume["configMap"]["name"]
        for workload in bundle.workloads.values()
        for volume in pod_of(workload)["volumes"]
        if "configMap" in volume
    }
    # The dashboard is found by its label.
    there = {one["metadata"]["name"] for one in bundle.of("ConfigMap")} - {"grafana-dashboard-bascule"}
    assert there == used


def test_pods_have_no_rights(bundle: Bundle) -> None:
    for name, workload in bundle.workloads.items():
        pod = pod_of(workload)
        assert pod["automountServiceAccountToken"] is False, name
        assert pod["enableServiceLinks"] is False, name
        assert not any(pod.get(key) for key in ("hostNetwork", "hostPID", "hostIPC")), name
        security = pod["securityContext"]
        assert security["runAsNonRoot"] is True, name
        assert security["runAsUser"] > 0, name
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}, name
        for container in containers_of(workload):
            own = container["securityContext"]
            assert own["allowPrivilegeEscalation"] is False, name
            assert own["readOnlyRootFilesystem"] is True, name
            assert own["capabilities"] == {"drop": ["ALL"]}, name
            assert not any("hostPort" in port for port in container.get("ports", [])), name
        kinds = {key for volume in pod["volumes"] for key in volume} - {"name"}
        assert kinds <= {"configMap", "secret", "emptyDir", "persistentVolumeClaim"}, name
    for account in bundle.of("ServiceAccount"):
        assert account["automountServiceAccountToken"] is False


def test_services_run_as_the_user_of_their_images(bundle: Bundle) -> None:
    for name, workload in bundle.workloads.items():
        if labels_of(workload)["app.kubernetes.io/name"] == "bascule":
            assert pod_of(workload)["securityContext"]["runAsUser"] == 10001, name


def test_memory_is_bounded_by_what_is_asked_for_and_processor_time_is_not(bundle: Bundle) -> None:
    for name, workload in bundle.workloads.items():
        for container in containers_of(workload):
            resources = container["resources"]
            assert resources["limits"] == {"memory": resources["requests"]["memory"]}, name
            assert "cpu" in resources["requests"], name


def test_probes_ask_ports_that_are_there(bundle: Bundle) -> None:
    for name, workload in bundle.workloads.items():
        ports = ports_of(workload)
        for container in containers_of(workload):
            for kind in ("startupProbe", "readinessProbe", "livenessProbe"):
                if "httpGet" in container.get(kind, {}):
                    assert container[kind]["httpGet"]["port"] in ports, name


@pytest.mark.parametrize("service", SERVICES)
def test_life_is_asked_of_the_process_alone(bundle: Bundle, service: str) -> None:
    (container,) = containers_of(bundle.workloads[service])
    assert container["livenessProbe"]["httpGet"] == {"path": "/live", "port": "ops"}
    assert "startupProbe" in container


def test_an_ingress_that_began_stays_ready_while_redis_is_away(bundle: Bundle) -> None:
    (container,) = containers_of(bundle.workloads["ingress"])
    assert container["startupProbe"]["httpGet"] == {"path": "/ready", "port": "ops"}
    assert container["readinessProbe"]["httpGet"] == {"path": "/live", "port": "ops"}


@pytest.mark.parametrize("service", ["worker", "reaper"])
def test_a_rollout_waits_for_what_can_do_its_work(bundle: Bundle, service: str) -> None:
    (container,) = containers_of(bundle.workloads[service])
    assert container["readinessProbe"]["httpGet"] == {"path": "/ready", "port": "ops"}


@pytest.mark.parametrize("service", SERVICES)
def test_a_rollout_never_has_fewer_than_before(bundle: Bundle, service: str) -> None:
    assert bundle.workloads[service]["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0


def test_an_ingress_leaves_only_after_nobody_sends_there_any_more(bundle: Bundle) -> None:
    workload = bundle.workloads["ingress"]
    (container,) = containers_of(workload)
    sleep_s = container["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert sleep_s >= 5
    assert pod_of(workload)["terminationGracePeriodSeconds"] > sleep_s + DRAIN_S + SPANS_S


def test_workers_get_longer_than_they_take_to_drain(bundle: Bundle, settings: Settings) -> None:
    grace_s = pod_of(bundle.workloads["worker"])["terminationGracePeriodSeconds"]
    assert grace_s >= settings.worker.drain_ms / 1_000 + SPANS_S + 10


@pytest.mark.parametrize("service", SERVICES)
def test_ports_are_those_of_the_configuration(bundle: Bundle, settings: Settings, service: str) -> None:
    ports = ports_of(bundle.workloads[service])
    assert ports["ops"] == getattr(settings, service).ops_port
    assert getattr(settings, service).ops_host == "0.0.0.0"
    if service == "ingress":
        assert ports["http"] == settings.ingress.port
        assert settings.ingress.host == "0.0.0.0"
    annotations = bundle.workloads[service]["spec"]["template"]["metadata"]["annotations"]
    assert annotations["prometheus.io/port"] == str(ports["ops"])


def test_every_secret_of_the_configuration_is_a_file_that_is_mounted(
    bundle: Bundle, settings: Settings
) -> None:
    mounts = {
        mount["mountPath"]
        for container in containers_of(bundle.workloads["ingress"])
        for mount in container["volumeMounts"]
    }
    for name in settings.secret_names():
        path = bundle.environment("ingress")[f"{name}_FILE"]
        assert Path(path).parent.as_posix() in mounts


def test_commands_find_redis_and_the_configuration_where_services_do(bundle: Bundle) -> None:
    for name, workload in bundle.workloads.items():
        if labels_of(workload)["app.kubernetes.io/name"] != "bascule":
            continue
        variables = bundle.environment(name)
        assert len({"REDIS_URL", "REDIS_URL_FILE"} & variables.keys()) == 1, name
        (container,) = containers_of(workload)
        mounts = {mount["mountPath"] for mount in container["volumeMounts"]}
        assert "/etc/bascule" in mounts
        if "REDIS_URL_FILE" in variables:
            assert Path(variables["REDIS_URL_FILE"]).parent.as_posix() in mounts


def test_the_address_of_redis_is_that_of_its_service(bundle: Bundle) -> None:
    url = bundle.environment("worker").get("REDIS_URL")
    if url is not None:
        service = bundle.find("Service", "redis")
        assert service is not None
        assert url == f"redis://redis:{service['spec']['ports'][0]['port']}/0"


def test_commands_find_the_ingress(bundle: Bundle) -> None:
    service = bundle.find("Service", "ingress")
    assert service is not None
    (port,) = service["spec"]["ports"]
    for name in (*SERVICES, *({"operator"} & bundle.workloads.keys())):
        assert bundle.environment(name)["BASCULE_INGRESS_URL"] == f"http://ingress:{port['port']}"


def test_spans_go_to_the_collector(bundle: Bundle) -> None:
    service = bundle.find("Service", "collector")
    assert service is not None
    ports = {port["name"]: port["port"] for port in service["spec"]["ports"]}
    for name in SERVICES:
        endpoint = bundle.environment(name)["OTEL_EXPORTER_OTLP_ENDPOINT"]
        assert endpoint == f"http://collector:{ports['otlp-http']}"


def test_the_collector_is_started_with_files_that_are_mounted(bundle: Bundle) -> None:
    (container,) = containers_of(bundle.workloads["collector"])
    files = bundle.config("collector-config")
    named = [argument.removeprefix("--config=") for argument in container["args"]]
    for path in named:
        # No other way to say it: which ones a build of the collector knows differs.
        assert Path(path).parent == Path("/etc/collector")
        assert Path(path).name in files
        document = yaml.safe_load(files[Path(path).name])
        assert document["extensions"]["health_check"]["endpoint"].endswith(
            f":{ports_of(bundle.workloads['collector'])['health']}"
        )


def test_disruption_budgets_let_one_pod_go(bundle: Bundle) -> None:
    for budget in bundle.of("PodDisruptionBudget"):
        (name,) = bundle.selected(budget["spec"]["selector"])
        fewest = _fewest(bundle, name)
        assert fewest >= 2, f"{name}: a budget on one pod keeps its node from being drained"
        assert budget["spec"].get("minAvailable", 0) < fewest
        assert budget["spec"].get("maxUnavailable", 1) >= 1
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


def test_prometheus_finds_each_service_under_the_job_that_the_rules_go_by(bundle: Bundle) -> None:
    monitors = bundle.of("PodMonitor")
    for monitor in monitors:
        (name,) = bundle.selected(monitor["spec"]["selector"])
        (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
        assert endpoint["port"] in ports_of(bundle.workloads[name])
        assert endpoint["relabelings"] == [
            {"action": "replace", "targetLabel": "job", "replacement": f"bascule-{name}"}
        ]
    assert not monitors or len(monitors) == len(SERVICES)


def test_only_what_the_internet_needs_is_let_in_from_it(bundle: Bundle) -> None:
    wanted = {"/webhook", "/tv-webhook", "/hooks/", "/preview/", "/health", "/openapi.json"}
    for one in bundle.of("Ingress"):
        (rule,) = one["spec"]["rules"]
        assert one["spec"]["tls"][0]["hosts"] == [rule["host"]]
        assert {path["path"] for path in rule["http"]["paths"]} == wanted
        for path in rule["http"]["paths"]:
            assert path["backend"] == {"service": {"name": "ingress", "port": {"name": "http"}}}
    for one in bundle.of("HTTPRoute"):
        (rule,) = one["spec"]["rules"]
        assert {match["path"]["value"] for match in rule["matches"]} == wanted
        assert "timeouts" not in rule, "a gateway would answer 504"
        assert [(end["name"], end["port"]) for end in rule["backendRefs"]] == [("ingress", 8080)]


def test_redis_keeps_its_promises_and_has_memory_to_spare(bundle: Bundle) -> None:
    workload = bundle.workloads.get("redis")
    if workload is None:
        return
    lines = bundle.config("redis-config")["redis.conf"].splitlines()
    said = dict(line.split(None, 1) for line in lines if line and not line.startswith("#"))
    assert said["appendonly"] == "yes"
    assert said["appendfsync"] == "always"
    assert said["no-appendfsync-on-rewrite"] == "no"
    assert said["maxmemory-policy"] == "noeviction"
    container = next(one for one in containers_of(workload) if one["name"] == "redis")
    assert _bytes(said["maxmemory"]) * 3 <= _bytes(container["resources"]["limits"]["memory"]) * 2
    assert pod_of(workload)["terminationGracePeriodSeconds"] >= 60


def test_redis_forgets_nothing_but_in_the_overlay_for_trying(bundle: Bundle) -> None:
    workload = bundle.workloads.get("redis")
    if workload is None or bundle.name == "overlays/dev":
        return
    (claim,) = workload["spec"]["volumeClaimTemplates"]
    assert claim["metadata"]["name"] == "data"
    assert workload["spec"]["persistentVolumeClaimRetentionPolicy"]["whenDeleted"] == "Retain"


def test_without_a_server_of_its_own_nothing_of_redis_is_left(bundle: Bundle) -> None:
    if "external-redis" in bundle.name:
        left = {
            (one["kind"], one["metadata"]["name"].rpartition("-")[0] or one["metadata"]["name"])
            for one in bundle.objects
        }
        assert (
            left & {(kind, "redis") for kind in ("StatefulSet", "Service", "ServiceAccount", "NetworkPolicy")}
            == set()
        )
        assert not any(kind == "ConfigMap" and name == "redis-config" for kind, name in left)


def test_a_configuration_that_does_not_fit_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "bascule.yaml"
    path.write_text("worker: {drian: 20s}\n")
    with pytest.raises(ConfigError):
        load_settings(path)


def _fewest(bundle: Bundle, name: str) -> int:
    """Return how few pods a workload may have."""
    for scaler in bundle.of("HorizontalPodAutoscaler", "ScaledObject"):
        if scaler["spec"]["scaleTargetRef"]["name"] == name:
            return int(scaler["spec"].get("minReplicas", scaler["spec"].get("minReplicaCount")))
    return int(bundle.workloads[name]["spec"]["replicas"])


def _bytes(text: str) -> int:
    return int(text[:-2]) * UNITS[text[-2:]]
