"""Credentials of webhooks: new ones, and secrets that users have already."""

import re
import secrets
import string
import sys
from typing import Final

from cli.output import Failure

LENGTH: Final = 40
"""Of those that we make: 238 bits, so that nobody guesses one and hashes of it need no stretching."""
SHORTEST: Final = 8
"""Of a user's own."""
LONGEST: Final = 256

# No dialect breaks on these, whether it is JSON, CSV or a form.
_ALPHABET: Final = string.ascii_letters + string.digits

_PLACEHOLDER: Final = re.compile(r".*\{\{.*|.*\}\}.*|<.*>|\[.*\]|\$\{?\w+\}?|(.)\1*", re.DOTALL)
_EXAMPLES: Final = frozenset(
    {
        "changeme",
        "changethis",
        "licenseid",
        "mypassphrase",
        "mypassword",
        "mysecret",
        "passphrase",
        "password",
        "replaceme",
        "secretkey",
        "webhooksecret",
        "yourapikey",
        "yourlicenseid",
        "yourpassphrase",
        "yourpassword",
        "yoursecret",
        "yoursecretkey",
        "yourtoken",
    }
)


def new_credential() -> str:
    """Return a token or a secret: letters and digits, never made before."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(LENGTH))


def read_own_secret() -> str:
    """Return the secret in the first line of stdin; asked for without an echo where people type it.

    Raises:
        Failure: It is none that could protect anything, or that an alert could hold.
    """
    if sys.stdin.isatty():
        import getpass

        line = getpass.getpass("Secret (not shown): ", stream=sys.stderr)
    else:
        try:
            line = sys.stdin.readline()
        except UnicodeDecodeError as error:
            raise Failure("--secret-stdin: the secret is not UTF-8") from error
    secret = line.rstrip("\r\n")
    problem = find_problem(secret)
    if problem is not None:
        raise Failure(f"--secret-stdin: {problem}")
    return secret


def refuse_unfit(secret: str, dialect: object) -> None:
    """Refuse a secret that alerts of a dialect cannot carry, since it holds what separates their parts.

    Args:
        secret: A user's own.
        dialect: The only one that its webhook takes; None where it takes any.

    Raises:
        Failure: They cannot.
    """
    from libs.common.domain.errors import AdmissionError
    from libs.common.wire.dialects.catalogue import BY_NAME
    from libs.common.wire.dialects.recognition import recognise
    from libs.common.wire.dialects.sample import Sample, sample_body

    found = BY_NAME.get(dialect) if isinstance(dialect, str) else None
    if found is None:
        return
    sample = Sample(symbol="BTCUSDT", action="buy", price="1", quantity="1", order_id="a", at_ms=0)
    body = sample_body(found, sample, secret)
    try:
        carried = recognise(body.encode(), pinned=found.name).credential
    except AdmissionError:
        carried = ""
    if carried != secret:
        raise Failure(
            f"--secret-stdin: {found.name} alerts cannot carry this secret: it holds what separates their parts"
        )


def find_problem(secret: str) -> str | None:
    """Return in words why a user's own secret is refused, without the secret; None where it is not."""
    if not SHORTEST <= len(secret) <= LONGEST:
        return f"the secret has {len(secret)} characters, expected {SHORTEST} to {LONGEST}"
    if not secret.isprintable():
        return "the secret holds a control character or another that is not printable"
    if secret != secret.strip():
        return "the secret begins or ends with a space"
    letters = re.sub(r"[^a-z]", "", secret.casefold())
    if _PLACEHOLDER.fullmatch(secret) is not None or letters in _EXAMPLES:
        return "the secret is a placeholder or an example, which anybody guesses"
    return None
