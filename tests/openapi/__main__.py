"""Checks what the ingress answers against its own description: `python -m tests.openapi SCHEMATHESIS [EXAMPLES]`.

The tool comes with many packages of its own, so it lives in an environment of its own: `make check-openapi`.
"""

import asyncio
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from libs.common.wire.dialects.dialect import PLACEHOLDER
from tests.support.bridge import Bridge
from tests.support.redis_server import RedisServer
from tests.support.webhooks import made_webhook, make_webhooks, token_of

SEED: Final = 20_261_103
EXAMPLES: Final = 150
"""For each path and kind of body."""

LEFT_OUT: Final = {
    "negative_data_rejection": "a body's meaning is told by its dialect, not by a schema: readers are lenient on purpose",
    "positive_data_acceptance": "for the same reason a body that fits the schema may still be no alert",
    "missing_required_header": "no header is required",
    "ignored_auth": "credentials stand in the body and the URL, which no scheme of OpenAPI describes",
    "object_level_authorization": "nothing that is made at one path can be had at another",
    "use_after_free": "nothing can be deleted",
    "ensure_resource_availability": "nothing can be looked up that was made",
}

TARGETS: Final = {
    "a webhook whose URL is enough": f'[parameters]\n"path.token" = "{token_of("open")}"\n',
    "a webhook that demands a secret": f'[parameters]\n"path.token" = "{token_of("closed")}"\n',
    "any token": "",
}
"""What stands in the URLs, and how the tool is told."""


TRIED: Final = ("200", "400", "401", "404", "405", "422")
"""What a run meets: what was not tried was not shown."""


def main() -> int:
    """Check every path; exit 1 where an answer is not as described."""
    tool, examples = str(Path(sys.argv[1]).absolute()), int(sys.argv[2]) if len(sys.argv) > 2 else EXAMPLES
    with tempfile.TemporaryDirectory(prefix="bascule-openapi-") as name, RedisServer() as redis:
        directory = Path(name)
        # The examples of the description have this secret: the default webhook takes them.
        bridge = Bridge(
            directory,
            redis,
            workers=0,
            reapers=0,
            config={"ingress": {"deadline": "3s"}},
            environment={"WEBHOOK_SECRET": PLACEHOLDER},
        )
        try:
            bridge.start()
            webhooks = (made_webhook("open", demands=(), secrets=()), made_webhook("closed"))
            asyncio.run(make_webhooks(bridge, *webhooks))
            url = bridge.ingresses[0].url
            failed = [
                what
                for what, config in TARGETS.items()
                if not _conforms(tool, url, what, config, directory, examples)
            ]
            if untried := [status for status in TRIED if not _answered(bridge, status)]:
                failed.append(f"nothing was answered {', '.join(untried)}")
            if written := bridge.ingresses[0].errors():
                failed.append(written)
        finally:
            bridge.close()
    print(f"not as described: {', '.join(failed)}" if failed else "all answers are as described")
    return int(bool(failed))


def _answered(bridge: Bridge, status: str) -> bool:
    return bridge.ingresses[0].metric("bascule_posts_total", status=status) > 0


def _conforms(tool: str, url: str, what: str, config: str, directory: Path, examples: int) -> bool:
    print(f"== {what}", flush=True)
    (directory / "schemathesis.toml").write_text(config)
    arguments = [
        tool,
        "--config-file",
        str(directory / "schemathesis.toml"),
        "run",
        f"{url}/openapi.json",
        "--checks=all",
        f"--exclude-checks={','.join(LEFT_OUT)}",
        "--phases=examples,coverage,fuzzing",
        f"--max-examples={examples}",
        f"--seed={SEED}",
        "--suppress-health-check=all",
        "--warnings=off",
        "--continue-on-failure",
        "--request-timeout=10",
    ]
    return subprocess.run(arguments, cwd=directory).returncode == 0


if __name__ == "__main__":
    sys.exit(main())
