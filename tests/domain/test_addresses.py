"""The address table holds for every vector, and for what is said of whole blocks."""

import json
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.domain.addresses import REFUSED_IPV4, REFUSED_IPV6, TRANSLATED, AllowList, is_public

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "addresses.json").read_text())
IPV4 = st.integers(0, 2**32 - 1).map(IPv4Address)
IPV6 = st.integers(0, 2**128 - 1).map(IPv6Address)


def within(network: IPv6Network) -> st.SearchStrategy[IPv6Address]:
    """Any address of a block."""
    return st.integers(int(network[0]), int(network[-1])).map(IPv6Address)


@pytest.mark.parametrize("address", VECTORS["refuse_addresses"])
def test_a_special_address_is_refused(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", VECTORS["allow_addresses"])
def test_a_public_address_is_allowed(address: str) -> None:
    assert is_public(address)


@given(IPV4)
def test_a_translated_address_has_the_verdict_of_the_one_it_carries(address: IPv4Address) -> None:
    assert is_public(IPv6Address(int(TRANSLATED[0]) | int(address))) == is_public(address)


@given(within(IPv6Network("::/8")).filter(lambda address: address not in TRANSLATED))
def test_everything_else_below_the_first_byte_of_zeros_is_refused(address: IPv6Address) -> None:
    assert not is_public(address)


@given(within(IPv6Network("2002::/16")))
def test_everything_in_6to4_is_refused(address: IPv6Address) -> None:
    assert not is_public(address)


@given(IPV4)
def test_a_mapped_address_is_refused_whatever_it_maps(address: IPv4Address) -> None:
    assert not is_public(f"::ffff:{address}")


@given(IPV6)
def test_a_zone_makes_any_address_private(address: IPv6Address) -> None:
    assert not is_public(f"{address}%eth0")


@pytest.mark.parametrize("network", REFUSED_IPV4 + REFUSED_IPV6, ids=str)
def test_a_refused_block_is_refused_from_its_first_to_its_last_address(network: IPv4Network | IPv6Network) -> None:
    assert not is_public(network[0])
    assert not is_public(network[-1])


@given(st.one_of(IPV4, IPV6))
def test_an_address_and_its_text_have_one_verdict(address: IPv4Address | IPv6Address) -> None:
    assert is_public(address) == is_public(str(address))


@given(IPV4)
def test_what_the_standard_library_calls_private_or_multicast_is_never_public(address: IPv4Address) -> None:
    if is_public(address):
        assert not address.is_private
        assert not address.is_multicast


@pytest.mark.parametrize("text", ["", "example.com", "127.1", "0x7f.0.0.1", "1.2.3.4.5", "::g"])
def test_what_is_no_address_has_no_verdict(text: str) -> None:
    with pytest.raises(ValueError, match="address"):
        is_public(text)


def test_an_allow_list_covers_its_networks_and_single_addresses_only() -> None:
    allow = AllowList(["10.1.0.0/16", " 127.0.0.1 ", "fd00::/8"])
    covered = ["10.1.255.255", "127.0.0.1", "fd12::1"]
    assert [address for address in [*covered, "10.2.0.0", "127.0.0.2", "::1"] if allow.covers(address)] == covered


def test_an_allow_list_takes_a_network_whose_host_bits_are_set() -> None:
    assert AllowList(["10.0.0.7/8"]).covers("10.200.0.1")


def test_an_allow_list_never_covers_a_mapped_address_or_a_zone() -> None:
    allow = AllowList(["0.0.0.0/0", "::/0"])
    assert not allow.covers("::ffff:10.0.0.1")
    assert not allow.covers("fe80::1%eth0")


def test_an_empty_allow_list_is_false_and_covers_nothing() -> None:
    assert not AllowList([])
    assert not AllowList([]).covers("127.0.0.1")


def test_an_allow_list_names_the_entry_that_is_no_network() -> None:
    with pytest.raises(ValueError, match=r"10\.0\.0\.0/33"):
        AllowList(["10.0.0.0/8", "10.0.0.0/33"])
