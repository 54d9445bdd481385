"""Where a request came from."""

from starlette.types import Scope

from libs.common.policy.addresses import Address, AddressList, client_address


def request_address(scope: Scope, trusted: AddressList) -> Address | None:
    """Return the address of a request's sender; `trusted` are the proxies whose X-Forwarded-For counts."""
    client = scope.get("client")
    peer = client[0] if client else ""
    forwarded_for = [
        value.decode("latin-1") for name, value in scope["headers"] if name == b"x-forwarded-for"
    ]
    return client_address(peer, forwarded_for, trusted)
