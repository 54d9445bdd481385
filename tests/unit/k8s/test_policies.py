"""What must hold in every overlay and combination of components, read from what is rendered."""

from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml

from libs.common.domain.errors import ConfigError
from libs.common.runtime.load_settings import load_settings
from libs.common.runtime.settings import Settings
from services.ingress.__main__ import DRAIN_S
from services.reaper.handshake import TIMEOUT_S
from services.relay.__main__ import DRAIN_S as RELAY_DRAIN_S
from tests.support.k8s_objects import Bundle, bytes_of, containers_of, labels_of, patience_s, pod_of, ports_of

SERVICES = ("ingress", "worker", "reaper")
SECRETS = {f"bascule-{one}" for one in ("webhooks", "brokers", "alarms", "redis", "tls", "relay")}
"""That docs/kubernetes.md has people make."""
OPTIONAL = {"bascule-brokers", "bascule-alarms"}
SPANS_S = 2
"""For the last spans at the end of a drain."""


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


def test_whatever_stands_still_is_started_anew_once_it_had_its_time_to_start(bundle: Bundle) -> None:
    for name, workload in bundle.workloads.items():
        if name == "operator":
            continue  # it sleeps
        for container in containers_of(workload):
            assert patience_s(container["startupProbe"]) >= 30, name
            assert patience_s(container["livenessProbe"]) >= 30, name
            assert "readinessProbe" in container or container["name"] == "sentinel", name


def test_probes_ask_ports_that_are_there(bundle: Bundle) -> None:
    for name, workload in bundle.workloads.items():
        ports = ports_of(workload)
        for container in containers_of(workload):
            for kind in ("startupProbe", "readinessProbe", "livenessProbe"):
                if "httpGet" in container.get(kind, {}):
                    assert container[kind]["httpGet"]["port"] in ports, name


def test_an_ingress_that_began_stays_ready_while_redis_is_away(bundle: Bundle) -> None:
    (container,) = containers_of(bundle.workloads["ingress"])
    assert container["readinessProbe"]["httpGet"] == {"path": "/started", "port": "ops"}


@pytest.mark.parametrize("service", SERVICES)
def test_a_start_without_redis_waits_and_is_not_ended(bundle: Bundle, service: str) -> None:
    (container,) = containers_of(bundle.workloads[service])
    for kind in ("startupProbe", "livenessProbe"):
        assert container[kind]["httpGet"] == {"path": "/live", "port": "ops"}, kind


@pytest.mark.parametrize("service", ["worker", "reaper"])
def test_a_rollout_waits_for_what_can_do_its_work(bundle: Bundle, service: str) -> None:
    (container,) = containers_of(bundle.workloads[service])
    assert container["readinessProbe"]["httpGet"] == {"path": "/ready", "port": "ops"}


@pytest.mark.parametrize("service", SERVICES)
def test_a_rollout_never_has_fewer_than_before(bundle: Bundle, service: str) -> None:
    assert bundle.workloads[service]["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0


def test_what_takes_posts_leaves_only_after_nobody_sends_there_any_more(bundle: Bundle) -> None:
    for name, drain_s in (("ingress", DRAIN_S + SPANS_S), ("relay", RELAY_DRAIN_S)):
        if (workload := bundle.workloads.get(name)) is None:
            continue
        (container,) = containers_of(workload)
        sleep_s = container["lifecycle"]["preStop"]["sleep"]["seconds"]
        assert sleep_s >= 5
        assert pod_of(workload)["terminationGracePeriodSeconds"] > sleep_s + drain_s, name
        assert workload["spec"]["minReadySeconds"] > 0, name
        strategy = workload["spec"]["strategy"]["rollingUpdate"]
        assert strategy["maxUnavailable"] == 0, name


def test_workers_get_longer_than_they_take_to_drain(bundle: Bundle, settings: Settings) -> None:
    grace_s = pod_of(bundle.workloads["worker"])["terminationGracePeriodSeconds"]
    assert grace_s >= settings.worker.drain_ms / 1_000 + SPANS_S + 10


def test_reapers_get_longer_than_what_they_do_not_break_off(bundle: Bundle) -> None:
    grace_s = pod_of(bundle.workloads["reaper"])["terminationGracePeriodSeconds"]
    assert grace_s >= TIMEOUT_S + SPANS_S + 5


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
    assert annotations["prometheus.io/scrape"] == "true"


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
        if labels_of(workload)["app.kubernetes.io/name"] != "bascule" or name == "relay":
            continue
        variables = bundle.environment(name)
        assert len({"REDIS_URL", "REDIS_URL_FILE"} & variables.keys()) == 1, name
        (container,) = containers_of(workload)
        mounts = {mount["mountPath"] for mount in container["volumeMounts"]}
        assert "/etc/bascule" in mounts
        if "REDIS_URL_FILE" in variables:
            assert Path(variables["REDIS_URL_FILE"]).parent.as_posix() in mounts


def test_secrets_are_read_by_the_user_of_their_pods_alone(bundle: Bundle) -> None:
    for name, workload in bundle.workloads.items():
        for volume in pod_of(workload)["volumes"]:
            if "secret" in volume:
                assert volume["secret"]["defaultMode"] == 0o440, name
                security = pod_of(workload)["securityContext"]
                assert security["fsGroup"] == security["runAsGroup"], name


def test_commands_find_the_ingress(bundle: Bundle) -> None:
    service = bundle.find("Service", "ingress")
    assert service is not None
    (port,) = service["spec"]["ports"]
    for name in (*SERVICES, *({"operator"} & bundle.workloads.keys())):
        assert bundle.environment(name)["BASCULE_INGRESS_URL"] == f"http://ingress:{port['port']}"


def test_commands_find_every_pod_that_shows_figures(bundle: Bundle) -> None:
    for name in (*SERVICES, *({"operator"} & bundle.workloads.keys())):
        found = {}
        for url in bundle.environment(name)["BASCULE_OPS_URLS"].split():
            parts = urlsplit(url)
            service = bundle.find("Service", str(parts.hostname))
            assert service is not None, url
            (port,) = service["spec"]["ports"]
            assert (port["port"], port["targetPort"]) == (parts.port, "ops")
            # Its name stands for each pod, one that is not ready too, and not for any one of them.
            assert service["spec"]["clusterIP"] == "None"
            assert service["spec"]["publishNotReadyAddresses"] is True
            (one,) = bundle.selected({"matchLabels": service["spec"]["selector"]})
            found[one] = url
        assert list(found) == list(SERVICES)


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


def test_the_collector_collects_its_garbage_before_it_meets_its_limit(bundle: Bundle) -> None:
    (container,) = containers_of(bundle.workloads["collector"])
    limit = bytes_of(container["resources"]["limits"]["memory"])
    soft = bytes_of(bundle.environment("collector")["GOMEMLIMIT"].removesuffix("B"))
    assert soft / limit == pytest.approx(0.8, abs=0.01)


def test_prometheus_finds_each_service_under_the_job_that_the_rules_go_by(bundle: Bundle) -> None:
    monitors = bundle.of("PodMonitor")
    for monitor in monitors:
        name = monitor["metadata"]["name"]
        if name == "relay" and name not in bundle.workloads:
            assert bundle.selected(monitor["spec"]["selector"]) == []
            continue
        assert bundle.selected(monitor["spec"]["selector"]) == [name]
        (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
        assert endpoint["port"] in ports_of(bundle.workloads[name])
        assert endpoint["relabelings"] == [
            {"action": "replace", "targetLabel": "job", "replacement": f"bascule-{name}"}
        ]
    assert not monitors or {one["metadata"]["name"] for one in monitors} == {*SERVICES, "relay"}


def test_only_what_the_internet_needs_is_let_in_from_it(bundle: Bundle) -> None:
    wanted = {
        ("ingress", path)
        for path in ("/webhook", "/tv-webhook", "/hooks/", "/preview/", "/health", "/openapi.json")
    }
    if "relay" in bundle.workloads:
        wanted |= {("relay", "/relay/")}
    for one in bundle.of("Ingress"):
        (rule,) = one["spec"]["rules"]
        assert one["spec"]["tls"][0]["hosts"] == [rule["host"]]
        paths = rule["http"]["paths"]
        assert {(path["backend"]["service"]["name"], path["path"]) for path in paths} == wanted
        assert {path["backend"]["service"]["port"]["name"] for path in paths} == {"http"}
    for one in bundle.of("HTTPRoute"):
        found = set()
        for rule in one["spec"]["rules"]:
            assert "timeouts" not in rule, "a gateway would answer 504"
            (end,) = rule["backendRefs"]
            assert end["port"] == {"ingress": 8080, "relay": 8090}[end["name"]]
            found |= {(end["name"], match["path"]["value"]) for match in rule["matches"]}
        assert found == wanted


def test_a_configuration_that_does_not_fit_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "bascule.yaml"
    path.write_text("worker: {drian: 20s}\n")
    with pytest.raises(ConfigError):
        load_settings(path)
