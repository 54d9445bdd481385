"""Headers of a request, found without decoding the others."""

from starlette.types import Scope


def header(scope: Scope, name: bytes) -> str | None:
    """Return the first header of this name, lower case; None where there is none."""
    for key, value in scope["headers"]:
        if key == name:
            return str(value, "latin-1")
    return None


def headers(scope: Scope, name: bytes) -> list[str]:
    """Return all headers of this name, lower case, in the order they came."""
    return [str(value, "latin-1") for key, value in scope["headers"] if key == name]
