from pathlib import Path

import pytest
import yaml

from libs.common.runtime.config_file import read_document
from libs.common.runtime.load_settings import load_settings
from tests.support.bridge import Bridge


@pytest.mark.parametrize("broker", ["paper", "log"])
def test_the_configuration_a_bridge_writes_is_valid(tmp_path: Path, broker: str):
    bridge = Bridge(tmp_path, "unix:///tmp/none.sock", broker=broker, ingresses=2, workers=2)
    for service in bridge.services:
        service.config_path.write_text(yaml.safe_dump(service.config))
        settings = load_settings(service.config_path, {"BASCULE_OPS_PORT": str(service.ops_port)})
        assert settings.limits.symbol.rate.is_off
        assert read_document(service.config_path)["redis"]["url"] == "unix:///tmp/none.sock"
    assert len({ingress.url for ingress in bridge.ingresses}) == 2
