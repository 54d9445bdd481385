"""Which network addresses may post, and which address a post came from."""

from collections.abc import Iterable, Mapping, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from types import MappingProxyType
from typing import Final

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

TRADINGVIEW: Final = ("52.89.214.238", "34.212.75.30", "54.218.53.128", "52.32.178.7")
"""What TradingView says it posts from (help article 43000529348). All of its users share them."""

NAMED_SETS: Final[Mapping[str, Sequence[str]]] = MappingProxyType({"tradingview": TRADINGVIEW})

ANY: Final = "any"
"""The entry that lets every address in, even one that is not known."""

_MAPPED_PREFIX_BITS: Final = 96  # ::ffff:0:0/96 holds the IPv4 addresses


class AddressList:
    """A set of addresses, written as exact addresses, CIDR blocks and names of sets."""

    __slots__ = ("_exact", "_is_any", "_networks", "_text")

    def __init__(self, entries: Iterable[str], named: Mapping[str, Sequence[str]] = NAMED_SETS) -> None:
        """Args:
            entries: Each an IPv4 or IPv6 address, a CIDR block, a name from `named`, or `any`. None: nobody.
            named: What a name stands for: addresses and CIDR blocks.

        Raises:
            ValueError: An entry is none of these; the text quotes it and says what was expected.
        """
        written = tuple(entries)
        networks: set[Network] = set()
        for entry in written:
            if entry == ANY:
                continue
            for text in named.get(entry, (entry,)):
                networks.add(_network(text, named))
        self._text = ", ".join(written)
        self._is_any = ANY in written
        self._exact = frozenset(
            network.network_address for network in networks if network.prefixlen == network.max_prefixlen
        )
        self._networks = tuple(network for network in networks if network.prefixlen != network.max_prefixlen)

    def is_allowed(self, address: Address | None) -> bool:
        """Return whether the list holds an address, as `parse_address` or `client_address` gave it.

        None, the address that is not known, is only in a list with `any`.
        """
        if self._is_any:
            return True
        if address is None:
            return False
        return address in self._exact or any(address in network for network in self._networks)

    def __repr__(self) -> str:
        return f"AddressList({self._text})"


def parse_address(text: str) -> Address | None:
    """Return the address that a text holds, None where it holds none.

    An IPv4 address in IPv6 clothes (`::ffff:1.2.3.4`, from a socket that listens on both) is the IPv4 address.
    A zone (`fe80::1%eth0`) is dropped: the sender chooses its text.
    """
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv4Address):
        return address
    return address.ipv4_mapped or IPv6Address(int(address))


def client_address(peer: str, forwarded_for: Sequence[str], trusted: AddressList) -> Address | None:
    """Return the address that a request came from: the only one that its sender could not choose.

    That is the socket's peer. Where the peer is a trusted proxy, it is the right-most hop of X-Forwarded-For that
    is not itself a trusted proxy: each proxy appends the peer it saw, so what stands further left is hearsay.

    Args:
        peer: The address at the other end of the socket.
        forwarded_for: The values of all X-Forwarded-For headers, in their order.
        trusted: The proxies whose word counts. A list with `any` would believe every sender.

    Returns:
        The address; None where it cannot be told, since a trusted proxy named something that is no address.
    """
    address = parse_address(peer)
    if not forwarded_for or not trusted.is_allowed(address):
        return address
    for hop in reversed(",".join(forwarded_for).split(",")):
        address = _hop_address(hop.strip())
        if address is None or not trusted.is_allowed(address):
            return address
    return address


def _hop_address(hop: str) -> Address | None:
    """Return the address of one hop; some proxies add the port: `1.2.3.4:5678`, `[2001:db8::1]:5678`."""
    if hop.startswith("["):
        host, bracket, port = hop[1:].partition("]")
        if not bracket or (port and not _is_port(port)):
            return None
        return parse_address(host)
    if hop.count(":") == 1:
        host, _, port = hop.partition(":")
        return parse_address(host) if _is_port(f":{port}") else None
    return parse_address(hop)


def _is_port(text: str) -> bool:
    return text[:1] == ":" and text[1:].isascii() and text[1:].isdigit()


def _network(text: str, named: Mapping[str, Sequence[str]]) -> Network:
    try:
        network = ip_network(text)
    except ValueError as error:
        raise ValueError(_complaint(text, named)) from error
    if isinstance(network, IPv4Network):
        return network
    mapped = network.network_address.ipv4_mapped
    if mapped is not None and network.prefixlen >= _MAPPED_PREFIX_BITS:
        return IPv4Network((mapped, network.prefixlen - _MAPPED_PREFIX_BITS))
    return IPv6Network((int(network.network_address), network.prefixlen))


def _complaint(text: str, named: Mapping[str, Sequence[str]]) -> str:
    try:
        meant = ip_network(text, strict=False)
    except ValueError:
        names = ", ".join([*sorted(named), ANY])
        return f'"{text}" is no address: expected an IP address, a CIDR block such as 10.0.0.0/8, or {names}'
    return f'"{text}" has bits set beyond its prefix: expected {meant}'
