"""Holds objects against the schemas of Kubernetes: a program of the environment .venv/k8s.

Reads `{"versions": ["1.30"], "objects": [...]}` on standard input and writes a list of what is wrong. What it has no schema
for, custom resources, it passes over.
"""

import functools
import json
import sys

from kubernetes_validate import utils


def main() -> None:
    """Check what comes in."""
    # One reading of a schema serves all objects.
    utils.schema_contents = functools.cache(utils.schema_contents)
    asked = json.load(sys.stdin)
    wrong = []
    for version in asked["versions"]:
        for one in asked["objects"]:
            try:
                used = utils.validate(one, version, strict=True)
                if used != version:
                    wrong.append(f"there is no schema of {version}")
            except utils.SchemaNotFoundError:
                continue
            except utils.ValidationError as error:
                path = ".".join(str(part) for part in error.path)
                wrong.append(f"{version}: {one['kind']} {one['metadata']['name']}: {path}: {error.message}")
    json.dump(wrong, sys.stdout)


if __name__ == "__main__":
    main()
