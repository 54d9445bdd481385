"""Who reaches whom where network policies are on, worked out as the API describes it."""

import pytest

from tests.support.k8s_objects import Bundle, Peer, Policies, labels_of, ports_of

GATEWAY = Peer(labels={}, namespace="ingress-nginx")
PROMETHEUS = Peer(labels={}, namespace="monitoring")
KEDA = Peer(labels={}, namespace="keda")
STRANGER = Peer(labels={}, namespace="other")
EXCHANGE = Peer(address="93.184.216.34")
EXCHANGE_6 = Peer(address="2606:2800:220:1::1")
PRIVATE = Peer(address="10.1.2.3")
CLOUD_METADATA = Peer(address="169.254.169.254")

OPS = {"ingress": 9101, "worker": 9110, "reaper": 9103}


@pytest.fixture
def network(guarded: Bundle) -> "Network":
    return Network(guarded)


class Network:
    """Pods of a bundle, by the names of their workloads."""

    def __init__(self, bundle: Bundle) -> None:
        self.bundle, self.policies = bundle, Policies(bundle)

    def has(self, name: str) -> bool:
        return name in self.bundle.workloads

    def lets(self, source: Peer | str, target: Peer | str, port: int) -> bool:
        names = ports_of(self.bundle.workloads[target]) if isinstance(target, str) else {}
        return self.policies.lets(self._peer(source), self._peer(target), port, names)

    def _peer(self, one: Peer | str) -> Peer:
        return one if isinstance(one, Peer) else Peer(labels=labels_of(self.bundle.workloads[one]))


def test_every_pod_is_covered_both_ways(network: Network) -> None:
    for name in network.bundle.workloads:
        assert not network.lets(STRANGER, name, 1)
        assert not network.lets(name, STRANGER, 1)


def test_every_pod_looks_up_names(network: Network) -> None:
    dns = Peer(labels={"k8s-app": "kube-dns"}, namespace="kube-system")
    for name in network.bundle.workloads:
        assert network.lets(name, dns, 53)
        assert network.lets(name, Peer(address="169.254.20.10"), 53)


def test_long_answers_with_names_come_too(guarded: Bundle) -> None:
    policy = guarded.find("NetworkPolicy", "all")
    assert policy is not None
    (rule,) = policy["spec"]["egress"]
    assert {(one["protocol"], one["port"]) for one in rule["ports"]} == {("UDP", 53), ("TCP", 53)}


def test_posts_come_from_the_gateway_and_from_commands_in_our_pods_alone(network: Network) -> None:
    assert network.lets(GATEWAY, "ingress", 8080)
    for other in (STRANGER, PROMETHEUS, KEDA, EXCHANGE, "collector"):
        assert not network.lets(other, "ingress", 8080)
    assert not network.lets(GATEWAY, "ingress", OPS["ingress"])
    for name in ("worker", "reaper", "operator"):
        assert not network.has(name) or network.lets(name, "ingress", 8080)


def test_the_gateway_reaches_what_proves_to_cert_manager_that_the_name_is_ours(network: Network) -> None:
    solver = Peer(labels={"acme.cert-manager.io/http01-solver": "true"})
    assert network.lets(GATEWAY, solver, 8089)
    for other in (STRANGER, EXCHANGE, "worker"):
        assert not network.lets(other, solver, 8089)


@pytest.mark.parametrize("service", OPS)
def test_prometheus_reaches_the_ops_port_of_each_service(network: Network, service: str) -> None:
    assert network.lets(PROMETHEUS, service, OPS[service])
    assert not network.lets(STRANGER, service, OPS[service])


def test_a_relay_takes_posts_from_the_gateway_and_reaches_the_ingress_alone(network: Network) -> None:
    if not network.has("relay"):
        return
    assert network.lets(GATEWAY, "relay", 8090)
    assert network.lets("relay", "ingress", 8080)
    assert network.lets(PROMETHEUS, "relay", 9104)
    assert not network.lets(GATEWAY, "relay", 9104)
    others: list[Peer | str] = [STRANGER, PROMETHEUS, KEDA, EXCHANGE, *OPS, "collector"]
    for other in others:
        assert not network.lets(other, "relay", 8090)
    for service, port in OPS.items():
        assert not network.lets("relay", service, port)
    for outside in (EXCHANGE, EXCHANGE_6, CLOUD_METADATA, PRIVATE):
        assert not network.lets("relay", outside, 443)
    if network.has("redis"):
        assert not network.lets("relay", "redis", 6379)


@pytest.mark.parametrize("service", OPS)
def test_figures_are_read_by_people_where_they_run_commands_and_by_no_other_pod(
    network: Network, service: str
) -> None:
    for name in network.bundle.workloads:
        assert network.lets(name, service, OPS[service]) is (name in {"worker", "operator"}), name


def test_keda_reaches_what_it_scales_by(network: Network) -> None:
    assert network.lets(KEDA, "reaper", OPS["reaper"])
    assert not network.lets(KEDA, "worker", OPS["worker"])
    if network.has("redis"):
        assert not network.lets(KEDA, "redis", 6379)


@pytest.mark.parametrize("service", ["ingress", "worker", "reaper", "operator"])
def test_redis_is_reached_by_whoever_needs_it(network: Network, service: str) -> None:
    if not network.has(service):
        return
    if network.has("redis"):
        assert network.lets(service, "redis", 6379)
        assert not network.lets(GATEWAY, "redis", 6379)
        assert not network.lets(PROMETHEUS, "redis", 6379)
        assert not network.lets("collector", "redis", 6379)
        if "sentinel" in ports_of(network.bundle.workloads["redis"]):
            assert network.lets(service, "redis", 26379)
    else:
        assert network.lets(service, PRIVATE, 6379)
        assert network.lets(service, EXCHANGE, 6380)


def test_servers_of_redis_reach_one_another(network: Network) -> None:
    if network.has("redis"):
        assert network.lets("redis", "redis", 6379)
        assert network.lets("redis", "redis", 26379)
        assert not network.lets("redis", EXCHANGE, 443)


@pytest.mark.parametrize("service", OPS)
def test_spans_reach_the_collector(network: Network, service: str) -> None:
    assert network.lets(service, "collector", 4318)
    assert not network.lets(STRANGER, "collector", 4318)


@pytest.mark.parametrize("service", ["worker", "reaper"])
def test_venues_are_reached_by_https_and_nothing_of_the_cluster_by_that_way(
    network: Network, service: str
) -> None:
    assert network.lets(service, EXCHANGE, 443)
    assert network.lets(service, EXCHANGE_6, 443)
    assert not network.lets(service, EXCHANGE, 80)
    for inside in (PRIVATE, CLOUD_METADATA, Peer(address="172.20.0.1"), Peer(address="fd00::1")):
        assert not network.lets(service, inside, 443)


def test_what_faces_the_internet_reaches_nothing_there(network: Network) -> None:
    for outside in (EXCHANGE, EXCHANGE_6, CLOUD_METADATA):
        assert not network.lets("ingress", outside, 443)
