"""What a URL says, read strictly: a form that two readers could take for two different hosts is refused."""

import re
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from urllib.parse import quote

import httpx

from relay.domain.addresses import Address

URL_CHARS_MAX = 2048
NAME_CHARS_MAX = 253  # RFC 1035
PORT_MAX = 65535
PORTS = {"https": 443, "http": 80}

SHAPE = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://([^/?#]*)([^#]*)(?:#.*)?")
AUTHORITY = re.compile(r"(\[[^\]]*\]|[^:\[\]]*)(?::([0-9]{1,5}))?")
# The last label decides whether a host is an IPv4 address (https://url.spec.whatwg.org/#ends-in-a-number-checker).
NUMERIC = re.compile(r"[0-9]+|0x[0-9a-f]*")
LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
NAME = re.compile(rf"{LABEL}(?:\.{LABEL})*\.?")
PRINTABLE_ASCII = "".join(map(chr, range(0x21, 0x7F)))

NO_NAME = "the URL's host is neither a valid name nor a valid address"
NOT_PLAIN = "an address in the URL must be written plainly: four decimal numbers, or the short form of IPv6"


@dataclass(frozen=True, slots=True)
class Target:
    """
    Where a request goes. `host` is a lower-case ASCII name, or the text of `literal` without brackets; `path` is all
    that goes on the request line, as it was given but for non-ASCII characters.
    """

    scheme: str
    host: str
    port: int
    path: str
    literal: Address | None

    @property
    def origin(self) -> str:
        """Scheme, host and port, the last only when it is not the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}" + ("" if self.port == PORTS[self.scheme] else f":{self.port}")


class BadForm(ValueError):
    """The URL's form is refused; the message is a sentence that a tenant may read."""


def read_url(url: str) -> Target:
    """Where the URL points; BadForm when that cannot be said for certain, or is nothing the relay speaks to."""
    if len(url) > URL_CHARS_MAX:
        raise BadForm(f"the URL is longer than {URL_CHARS_MAX} characters")
    if not url.isprintable() or " " in url or "\\" in url:
        raise BadForm("the URL must not contain spaces, control characters or backslashes")
    shape = SHAPE.fullmatch(url)
    if shape is None:
        raise BadForm("the URL must be whole: scheme, host and path, such as https://example.com/hook")
    scheme, authority, path = shape[1].lower(), shape[2], shape[3]
    if scheme not in PORTS:
        raise BadForm("the URL's scheme must be https")
    if "@" in authority:
        raise BadForm("the URL must not carry a user name or password")
    parts = AUTHORITY.fullmatch(authority)
    if parts is None:
        raise BadForm("the URL's host and port cannot be read")
    port = int(parts[2]) if parts[2] else PORTS[scheme]
    if not 1 <= port <= PORT_MAX:
        raise BadForm(f"the URL's port must lie between 1 and {PORT_MAX}")
    host, literal = _read_host(parts[1])
    return Target(scheme, host, port, _request_path(path), literal)


def _request_path(path: str) -> str:
    path = path if path.isascii() else quote(path, safe=PRINTABLE_ASCII)
    return path if path.startswith("/") else f"/{path}"


def _read_host(host: str) -> tuple[str, Address | None]:
    """The host in lower-case ASCII, and its address when it is one."""
    if not host:
        raise BadForm("the URL needs a host")
    if host.startswith("["):
        return _read_ipv6(host[1:-1].lower())
    name = _as_ascii(host)
    if NUMERIC.fullmatch(name.rstrip(".").rpartition(".")[2]):
        return _read_ipv4(name, written=host)
    if not NAME.fullmatch(name) or len(name.rstrip(".")) > NAME_CHARS_MAX:
        raise BadForm(NO_NAME)
    return name, None


def _as_ascii(host: str) -> str:
    if host.isascii():
        return host.lower()
    try:
        return httpx.URL(scheme="https", host=host).raw_host.decode("ascii").lower()
    except httpx.InvalidURL:
        raise BadForm(NO_NAME) from None


def _read_ipv4(name: str, written: str) -> tuple[str, Address]:
    """`written` is compared, too, because full-width digits and dots have become plain ones in `name`."""
    try:
        address = IPv4Address(name)  # knows neither octal, hexadecimal nor short forms
    except AddressValueError:
        raise BadForm(NOT_PLAIN) from None
    if str(address) != written:
        raise BadForm(NOT_PLAIN)
    return name, address


def _read_ipv6(text: str) -> tuple[str, Address]:
    if "%" in text:
        raise BadForm("the URL's address must not name a zone")
    try:
        address = IPv6Address(text)
    except AddressValueError:
        raise BadForm(NO_NAME) from None
    if str(address) != text:
        raise BadForm(NOT_PLAIN)
    return text, address
