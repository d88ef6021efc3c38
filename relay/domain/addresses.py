"""Which addresses are public, by a table of our own: the standard library's answers were not made to be a guard."""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address

# From the IANA registries of special-purpose addresses, and the RFC named beside each.
REFUSED_IPV4 = tuple(
    IPv4Network(block)
    for block in (
        "0.0.0.0/8",  # this network, RFC 791
        "10.0.0.0/8",  # private, RFC 1918
        "100.64.0.0/10",  # shared by carriers, RFC 6598; one cloud's metadata service lives there
        "127.0.0.0/8",  # loopback, RFC 1122
        "168.63.129.16/32",  # another cloud's metadata service, on an address that looks public
        "169.254.0.0/16",  # link-local, RFC 3927; the usual metadata service
        "172.16.0.0/12",  # private, RFC 1918
        "192.0.0.0/24",  # protocol assignments, RFC 6890
        "192.0.2.0/24",  # documentation, RFC 5737
        "192.88.99.0/24",  # 6to4 relays, RFC 7526
        "192.168.0.0/16",  # private, RFC 1918
        "198.18.0.0/15",  # benchmarks, RFC 2544
        "198.51.100.0/24",  # documentation, RFC 5737
        "203.0.113.0/24",  # documentation, RFC 5737
        "224.0.0.0/4",  # multicast, RFC 5771
        "240.0.0.0/4",  # reserved, RFC 1112, and broadcast
    )
)

# What is not yet given out (RFC 4291) is refused too: nobody's server is there, but a private network may be.
REFUSED_IPV6 = tuple(
    IPv6Network(block)
    for block in (
        "::/8",  # unspecified, loopback, and every way to wrap an IPv4 address but the one below
        "100::/64",  # discarded, RFC 6666
        "200::/7",  # once for OSI, RFC 4048
        "400::/6",
        "800::/5",
        "1000::/4",
        "2001::/23",  # protocol assignments, RFC 2928: Teredo, benchmarks, ORCHID
        "2001:db8::/32",  # documentation, RFC 3849
        "2002::/16",  # 6to4, RFC 3056: wraps an IPv4 address
        "3fff::/20",  # documentation, RFC 9637
        "4000::/2",  # not given out, but 5f00::/16, which is segment routing, RFC 9602
        "8000::/1",  # not given out, then unique local, link-local, site-local and multicast at its end
    )
)

# RFC 6052: what a translator sends on to the IPv4 address in the last 32 bits, so that address decides.
TRANSLATED = IPv6Network("64:ff9b::/96")


def is_public(address: str | Address) -> bool:
    """True when the address may be dialled without leave; ValueError when it is no address."""
    parsed = _parse(address)
    if isinstance(parsed, IPv4Address):
        return not any(parsed in network for network in REFUSED_IPV4)
    if parsed.scope_id is not None:  # a zone belongs to one machine's own links
        return False
    if parsed in TRANSLATED:
        return is_public(IPv4Address(int(parsed) & 0xFFFF_FFFF))
    return not any(parsed in network for network in REFUSED_IPV6)


class AllowList:
    """Networks that may be reached although they are not public; `cidrs` as `10.0.0.0/8` or single addresses."""

    def __init__(self, cidrs: Sequence[str]) -> None:
        """ValueError, naming the entry, when one is no network."""
        self._networks = tuple(ip_network(cidr.strip(), strict=False) for cidr in cidrs)

    def __bool__(self) -> bool:
        return bool(self._networks)

    def covers(self, address: str | Address) -> bool:
        """True when the address is in one of the networks; ValueError when it is no address."""
        parsed = _parse(address)
        if isinstance(parsed, IPv6Address) and (parsed.scope_id is not None or parsed.ipv4_mapped is not None):
            return False  # a second spelling of an IPv4 address is never needed, and never allowed
        return any(parsed in network for network in self._networks)


def _parse(address: str | Address) -> Address:
    return ip_address(address) if isinstance(address, str) else address
