"""Addresses: what a list holds, and whom a post came from."""

import string
from ipaddress import IPv4Address, IPv4Network, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.policy.addresses import (
    TRADINGVIEW,
    Address,
    AddressList,
    client_address,
    parse_address,
)

PROXIES = AddressList(["127.0.0.1", "10.0.0.0/8", "fd00::/8"])
PROXY = "10.1.2.3"
CLIENT = "203.0.113.9"

addresses: st.SearchStrategy[Address] = st.ip_addresses(v=4) | st.ip_addresses(v=6)
strangers = st.ip_addresses(v=4).filter(lambda address: not PROXIES.is_allowed(address)).map(str)
headers = st.lists(
    st.text(st.characters(max_codepoint=0xFF, exclude_characters="\r\n"))
    | st.text(string.digits + ".:,[] %"),
    max_size=4,
)


class TestAList:
    @pytest.mark.parametrize(
        ("entries", "address", "is_in"),
        [
            (["203.0.113.9"], "203.0.113.9", True),
            (["203.0.113.9"], "203.0.113.10", False),
            (["203.0.113.9", "198.51.100.1"], "198.51.100.1", True),
            (["203.0.113.0/24"], "203.0.113.255", True),
            (["203.0.113.0/24"], "203.0.114.0", False),
            (["203.0.113.9/32"], "203.0.113.9", True),
            (["0.0.0.0/0"], "203.0.113.9", True),
            (["0.0.0.0/0"], "2001:db8::1", False),
            (["::/0"], "2001:db8::1", True),
            (["::/0"], "203.0.113.9", False),
            (["::/0"], "::ffff:203.0.113.9", False),
            (["2001:DB8::1"], "2001:db8:0:0::1", True),
            (["2001:db8::/32"], "2001:db8:ffff::1", True),
            (["203.0.113.9"], "::ffff:203.0.113.9", True),
            (["::ffff:203.0.113.9"], "203.0.113.9", True),
            (["::ffff:203.0.113.0/120"], "203.0.113.77", True),
            (["::ffff:203.0.113.0/120"], "203.0.114.77", False),
            (["fe80::1"], "fe80::1%eth0", True),
            (["fe80::1%eth0"], "fe80::1", True),
            (["tradingview"], "52.89.214.238", True),
            (["tradingview"], "52.89.214.239", False),
            (["tradingview", "203.0.113.9"], "203.0.113.9", True),
            (["any"], "203.0.113.9", True),
            (["any", "203.0.113.9"], "2001:db8::1", True),
            ([], "127.0.0.1", False),
        ],
    )
    def test_it_holds_what_its_entries_name(self, entries: list[str], address: str, is_in: bool) -> None:
        assert AddressList(entries).is_allowed(parse_address(address)) is is_in

    def test_tradingview_is_the_published_four(self) -> None:
        assert TRADINGVIEW == ("52.89.214.238", "34.212.75.30", "54.218.53.128", "52.32.178.7")

    def test_a_named_set_can_be_given_other_addresses(self) -> None:
        listed = AddressList(["tradingview"], {"tradingview": ["198.51.100.0/24"]})

        assert listed.is_allowed(ip_address("198.51.100.7"))
        assert not listed.is_allowed(ip_address(TRADINGVIEW[0]))

    def test_an_address_that_is_not_known_is_only_in_any(self) -> None:
        assert not AddressList(["0.0.0.0/0", "::/0"]).is_allowed(None)
        assert not AddressList(()).is_allowed(None)
        assert AddressList(("any",)).is_allowed(None)

    @pytest.mark.parametrize(
        ("entry", "complaint"),
        [
            ("example.com", r'"example.com" is no address: expected .* tradingview, any'),
            ("203.0.113", '"203.0.113" is no address'),
            ("203.0.113.09", '"203.0.113.09" is no address'),
            ("203.0.113.9/33", '"203.0.113.9/33" is no address'),
            ("203.0.113.9:80", '"203.0.113.9:80" is no address'),
            ("", '"" is no address'),
            ("Any", '"Any" is no address'),
            ("203.0.113.9/24", '"203.0.113.9/24" has bits set beyond its prefix: expected 203.0.113.0/24'),
        ],
    )
    def test_what_is_no_address_is_refused_in_words(self, entry: str, complaint: str) -> None:
        with pytest.raises(ValueError, match=complaint):
            AddressList(["127.0.0.1", entry])

    @given(addresses, addresses)
    def test_a_list_of_one_holds_that_one_alone(self, listed: Address, other: Address) -> None:
        one, two = parse_address(str(listed)), parse_address(str(other))

        assert AddressList([str(listed)]).is_allowed(one)
        assert AddressList([str(listed)]).is_allowed(two) == (one == two)

    @given(st.ip_addresses(v=4), st.integers(0, 32), st.ip_addresses(v=4))
    def test_a_block_holds_what_shares_its_prefix_in_either_clothes(
        self, base: IPv4Address, prefix: int, address: IPv4Address
    ) -> None:
        block = IPv4Network((int(base), prefix), strict=False)
        shares = int(address) >> (32 - prefix) == int(base) >> (32 - prefix)
        dressed = IPv6Address(0xFFFF_0000_0000 | int(block.network_address))

        for text in (str(block), f"{dressed}/{prefix + 96}"):
            assert AddressList([text]).is_allowed(parse_address(str(address))) is shares
            assert AddressList([text]).is_allowed(parse_address(f"::ffff:{address}")) is shares


class TestTheClientOfARequest:
    @pytest.mark.parametrize(
        ("peer", "forwarded_for", "client"),
        [
            # Nobody forwards.
            (CLIENT, [], CLIENT),
            ("::ffff:203.0.113.9", [], CLIENT),
            (PROXY, [], PROXY),
            # A peer that is no proxy is not believed.
            (CLIENT, ["52.89.214.238"], CLIENT),
            (CLIENT, ["127.0.0.1"], CLIENT),
            # One proxy.
            (PROXY, [CLIENT], CLIENT),
            ("::ffff:10.1.2.3", [CLIENT], CLIENT),
            ("fd00::1", [CLIENT], CLIENT),
            (PROXY, ["::ffff:203.0.113.9"], CLIENT),
            (PROXY, ["2001:DB8::0001"], "2001:db8::1"),
            (PROXY, ["203.0.113.9:5678"], CLIENT),
            (PROXY, ["[2001:db8::1]:5678"], "2001:db8::1"),
            (PROXY, ["[2001:db8::1]"], "2001:db8::1"),
            # What stands left of the right-most stranger is hearsay.
            (PROXY, [f"52.89.214.238, {CLIENT}"], CLIENT),
            (PROXY, [f"52.89.214.238,{CLIENT}"], CLIENT),
            (PROXY, ["52.89.214.238", CLIENT], CLIENT),
            (PROXY, [f"127.0.0.1, {CLIENT}"], CLIENT),
            (PROXY, [f"<script>, {CLIENT}"], CLIENT),
            (PROXY, [f", {CLIENT}"], CLIENT),
            # A chain of proxies.
            (PROXY, [f"{CLIENT}, 10.9.9.9, 127.0.0.1"], CLIENT),
            (PROXY, [f"52.89.214.238, {CLIENT}, 10.9.9.9"], CLIENT),
            (PROXY, ["10.9.9.8, 10.9.9.9"], "10.9.9.8"),
            # A proxy that names no address leaves the client unknown; it is never the one further left.
            (PROXY, ["52.89.214.238, unknown"], None),
            (PROXY, ["52.89.214.238, unknown, 10.9.9.9"], None),
            (PROXY, ["52.89.214.238, "], None),
            (PROXY, [""], None),
            (PROXY, ["unix:"], None),
            (PROXY, ["203.0.113.9:"], None),
            (PROXY, ["203.0.113.9:http"], None),
            (PROXY, ["[2001:db8::1"], None),
            (PROXY, ["[2001:db8::1]x"], None),
            (PROXY, ["203.0.113.9 10.0.0.1"], None),
            ("", [], None),
            ("", [CLIENT], None),
            ("testclient", [CLIENT], None),
        ],
    )
    def test_it_is_the_one_its_sender_could_not_choose(
        self, peer: str, forwarded_for: list[str], client: str | None
    ) -> None:
        expected = None if client is None else ip_address(client)

        assert client_address(peer, forwarded_for, PROXIES) == expected

    @given(strangers, headers)
    def test_a_stranger_is_itself_whatever_it_sends(self, peer: str, sent: list[str]) -> None:
        assert client_address(peer, sent, PROXIES) == ip_address(peer)

    @given(strangers, headers, st.booleans())
    def test_behind_a_proxy_a_stranger_is_itself_whatever_it_sends(
        self, stranger: str, sent: list[str], is_own_line: bool
    ) -> None:
        seen = [*sent, stranger] if is_own_line else [", ".join([*sent, stranger])]

        assert client_address(PROXY, seen, PROXIES) == ip_address(stranger)

    @given(st.text(), headers)
    def test_no_garbage_raises_or_opens_a_list_of_others(self, peer: str, sent: list[str]) -> None:
        client = client_address(peer, sent, AddressList(()))

        assert client == parse_address(peer)

    @given(st.text(st.characters(max_codepoint=0xFF, exclude_characters=",")), headers)
    def test_a_hop_that_is_no_address_is_in_no_list(self, garbage: str, sent: list[str]) -> None:
        client = client_address(PROXY, [*sent, f"{garbage}!"], PROXIES)

        assert client is None


@given(st.text() | st.text(string.hexdigits + ".:%/[]"))
def test_any_text_is_an_address_or_none(text: str) -> None:
    address = parse_address(text)

    assert address is None or parse_address(str(address)) == address
