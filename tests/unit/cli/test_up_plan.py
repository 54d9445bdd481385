import json
import subprocess
from pathlib import Path

import pytest

from cli.up_plan import Plan, claim_directory, make_plan, sample_curl, service_programs
from libs.common.domain.errors import ConfigError

CONFIG = """\
ingress: {{port: 18080, host: "{host}", public_url: "https://hooks.example.com/"}}
webhooks: {{default: {{secret: WEBHOOK_SECRET, accounts: [paper]}}}}
accounts: {{paper: {{broker: paper}}}}
"""


@pytest.fixture
def plan(tmp_path):
    def plan_of(environ=None, host="127.0.0.1", workers=2) -> Plan:
        (tmp_path / "config").mkdir(exist_ok=True)
        (tmp_path / "var").mkdir(exist_ok=True)
        (tmp_path / "config" / "demo.yaml").write_text(CONFIG.format(host=host))
        return make_plan(tmp_path, environ or {}, workers)

    return plan_of


def body_of(curl, environ):
    """Return the JSON that a shell makes of the command's last argument."""
    done = subprocess.run(
        ["sh", "-c", curl.replace("curl -sS", "printf '%s\\n'", 1)],
        capture_output=True,
        text=True,
        env=environ,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def test_the_sample_posts_the_secret_wherever_it_comes_from(plan, tmp_path):
    path = {"PATH": "/usr/bin:/bin"}
    (tmp_path / "my key").write_text("filed\n")
    generated = plan()
    assert body_of(sample_curl(generated), path)["secret"] == generated.environ["WEBHOOK_SECRET"]
    of_user = plan({"WEBHOOK_SECRET": 'se"cret'.replace('"', "'")})
    assert "se'cret" not in sample_curl(of_user)
    assert body_of(sample_curl(of_user), {**path, "WEBHOOK_SECRET": "se'cret"})["secret"] == "se'cret"
    filed = plan({"WEBHOOK_SECRET_FILE": str(tmp_path / "my key")})
    body = body_of(sample_curl(filed), path)
    assert body["secret"] == "filed"
    assert set(body) == {"secret", "id", "symbol", "action"}


def test_a_redis_of_our_own_has_no_replicas_to_wait_for(plan, monkeypatch):
    monkeypatch.setitem(globals(), "CONFIG", CONFIG + "redis: {{replicas: 1}}\n")
    with pytest.raises(ConfigError, match=r"redis\.replicas: got 1, and a Redis of our own has none"):
        plan()
    assert plan({"REDIS_URL": "redis://elsewhere"}).settings.redis.replicas == 1


def test_the_ingress_is_reached_by_an_address_that_works(plan):
    assert plan(host="0.0.0.0").ingress_url == "http://127.0.0.1:18080"
    assert plan(host="::").ingress_url == "http://[::1]:18080"
    assert plan(host="localhost").ingress_url == "http://localhost:18080"


def test_tradingview_reaches_the_ingress_by_its_public_address(plan):
    assert plan().public_url == "https://hooks.example.com/webhook"


def test_processes_get_their_own_ops_port_and_the_shared_rest(plan):
    programs = service_programs(plan({"HOME": "/h", "BASCULE_OPS_PORT": "5"}), "unix:///r.sock")
    assert [program.name for program in programs] == ["ingress", "worker-1", "worker-2", "reaper"]
    assert [program.environment["BASCULE_OPS_PORT"] for program in programs] == [
        "9101",
        "9111",
        "9112",
        "9103",
    ]
    for program in programs:
        assert program.environment["REDIS_URL"] == "unix:///r.sock"
        assert program.environment["HOME"] == "/h"
        assert Path(program.environment["BASCULE_CONFIG"]).is_absolute()
    # Drain time of the settings, and some.
    assert programs[1].patience_s == 25.0
    assert programs[1].command[1:] == ("-m", "services.worker")


def test_a_secret_file_is_enough(plan, tmp_path):
    (tmp_path / "key").write_text("filed\n")
    made = plan({"WEBHOOK_SECRET_FILE": str(tmp_path / "key")})
    assert "WEBHOOK_SECRET" not in made.environ
    assert not (tmp_path / "var" / "webhook-secret").exists()


def test_a_directory_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "var").write_text("a file")
    with pytest.raises(ConfigError, match=r"var: cannot be used: is no directory; .* or move it away"):
        claim_directory(tmp_path / "var")


def test_every_process_is_told_where_spans_go(plan):
    told = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318", "OTEL_TRACES_SAMPLER": "always_off"}
    for program in service_programs(plan(told), "unix:///r"):
        assert told.items() <= dict(program.environment).items()


def test_a_wrong_word_about_tracing_is_refused_before_anything_starts(plan):
    with pytest.raises(ConfigError, match="OTEL_TRACES_SAMPLER"):
        plan({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318", "OTEL_TRACES_SAMPLER": "some"})
