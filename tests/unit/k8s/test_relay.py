"""The relay, wherever it is among the components."""

from pathlib import Path

from services.relay.settings import relay_settings
from tests.images.dockerfile import environment, read_dockerfile
from tests.support.k8s_objects import Bundle, containers_of, ports_of


def test_a_relay_is_told_all_that_it_needs_and_finds_the_ingress(bundle: Bundle, tmp_path: Path) -> None:
    if (workload := bundle.workloads.get("relay")) is None:
        return
    (container,) = containers_of(workload)
    variables = bundle.environment("relay")
    files = {name: Path(path) for name, path in variables.items() if name.endswith("_FILE")}
    assert {path.parent.as_posix() for path in files.values()} <= {
        mount["mountPath"] for mount in container["volumeMounts"]
    }
    for name, path in files.items():
        (tmp_path / path.name).write_text("0123456789abcdef")
        variables[name] = str(tmp_path / path.name)
    ops_port = environment(read_dockerfile(), "relay")["BASCULE_OPS_PORT"]

    settings = relay_settings({**variables, "BASCULE_OPS_PORT": ops_port})

    assert ports_of(workload) == {"http": settings.port, "ops": settings.ops_port}
    assert settings.host == settings.ops_host == "0.0.0.0"
    service = bundle.find("Service", "ingress")
    assert service is not None
    assert settings.upstream.reveal() == f"http://ingress:{service['spec']['ports'][0]['port']}/webhook"
    annotations = workload["spec"]["template"]["metadata"]["annotations"]
    assert annotations["prometheus.io/port"] == ops_port


def test_a_relay_is_alive_and_ready_by_itself(bundle: Bundle) -> None:
    if (workload := bundle.workloads.get("relay")) is None:
        return
    (container,) = containers_of(workload)
    assert container["livenessProbe"]["httpGet"] == {"path": "/live", "port": "ops"}
    assert container["readinessProbe"]["httpGet"] == {"path": "/ready", "port": "ops"}
    assert container["startupProbe"]["httpGet"] == {"path": "/live", "port": "ops"}
