"""Redis in every overlay and combination of components: its promises, its users, and how it is found."""

from tests.support.k8s_bundles import combination
from tests.support.k8s_objects import Bundle, bytes_of, containers_of, patience_s, pod_of


def test_a_redis_that_reads_its_file_is_given_half_an_hour(bundle: Bundle) -> None:
    if "redis" in bundle.workloads:
        container = next(one for one in containers_of(bundle.workloads["redis"]) if one["name"] == "redis")
        assert patience_s(container["startupProbe"]) >= 1_800


def test_the_address_of_redis_is_that_of_its_service(bundle: Bundle) -> None:
    url = bundle.environment("worker").get("REDIS_URL")
    if url is not None:
        service = bundle.find("Service", "redis")
        assert service is not None
        assert url == f"redis://redis:{service['spec']['ports'][0]['port']}/0"


def test_redis_is_found_while_it_loads_and_by_the_name_of_each(bundle: Bundle) -> None:
    service = bundle.find("Service", "redis")
    if service is not None:
        assert service["spec"]["publishNotReadyAddresses"] is True
        assert service["spec"]["clusterIP"] == "None"


def test_each_is_shown_its_own_address_of_redis_and_nobody_elses(bundle: Bundle) -> None:
    for name, workload in bundle.workloads.items():
        for volume in pod_of(workload)["volumes"]:
            secret = volume.get("secret", {})
            if secret.get("secretName") != "bascule-redis":
                continue
            shown = {one["key"] for one in secret["items"]}
            if name == "redis":
                assert "users.acl" in shown
                assert shown <= {"users.acl", "replication"}
            else:
                assert shown == {name}


def test_a_redis_with_users_is_started_with_them(bundle: Bundle) -> None:
    workload = bundle.workloads.get("redis")
    if workload is None or "REDIS_URL" in bundle.environment("worker"):
        return
    container = next(one for one in containers_of(workload) if one["name"] == "redis")
    (path,) = (one["mountPath"] for one in container["volumeMounts"] if one["name"] == "users")
    assert container["args"][-2:] == ["--aclfile", f"{path}/users.acl"]


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
    assert bytes_of(said["maxmemory"]) * 3 <= bytes_of(container["resources"]["limits"]["memory"]) * 2
    assert pod_of(workload)["terminationGracePeriodSeconds"] >= 60


def test_sentinels_look_for_one_another_where_they_are_and_agree_by_more_than_half() -> None:
    bundle = combination(("redis-sentinel",))
    spec, scripts = bundle.workloads["redis"]["spec"], bundle.config("redis-scripts")
    peers = " ".join(f"redis-{number}.{spec['serviceName']}" for number in range(spec["replicas"]))
    assert f"PEERS=${{PEERS:-{peers}}}" in scripts["primary.sh"].splitlines()
    # One that cannot start must not keep those behind it from being made.
    assert spec["podManagementPolicy"] == "Parallel"
    quorum = spec["replicas"] // 2 + 1
    assert f"sentinel monitor bascule $primary $PORT {quorum}" in scripts["start-sentinel.sh"].splitlines()


def test_the_volume_of_redis_has_room_for_its_file_and_a_new_one(bundle: Bundle) -> None:
    workload = bundle.workloads.get("redis")
    if workload is None or bundle.name == "overlays/dev":
        return
    (claim,) = workload["spec"]["volumeClaimTemplates"]
    lines = bundle.config("redis-config")["redis.conf"].splitlines()
    (most,) = (line.split()[1] for line in lines if line.startswith("maxmemory "))
    assert bytes_of(claim["spec"]["resources"]["requests"]["storage"]) >= 3 * 2 * bytes_of(most)


def test_redis_forgets_nothing_but_in_the_overlay_for_trying(bundle: Bundle) -> None:
    workload = bundle.workloads.get("redis")
    if workload is None or bundle.name == "overlays/dev":
        return
    (claim,) = workload["spec"]["volumeClaimTemplates"]
    assert claim["metadata"]["name"] == "data"
    assert set(workload["spec"]["persistentVolumeClaimRetentionPolicy"].values()) == {"Retain"}


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
