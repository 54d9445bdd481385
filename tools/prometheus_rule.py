"""Wraps the rules of Prometheus for its operator: `python -m tools.prometheus_rule`.

The operator reads rules from an object of its own, which cannot include a file. So it is made from the one file of rules; a
test holds the two against each other.
"""

from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
RULES: Final = ROOT / "monitoring" / "prometheus" / "rules.yaml"
WRAPPED: Final = ROOT / "k8s" / "components" / "monitoring" / "rules.yaml"

_HEAD: Final = """\
# Made from monitoring/prometheus/rules.yaml by `make rules`: change it there.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: bascule
  labels: {release: prometheus}
spec:
"""


def wrapped() -> str:
    """Return the object with the rules in it."""
    lines = RULES.read_text(encoding="utf-8").splitlines()
    return _HEAD + "".join(f"  {line}\n" if line else "\n" for line in lines)


if __name__ == "__main__":
    WRAPPED.write_text(wrapped(), encoding="utf-8")
