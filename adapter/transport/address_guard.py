"""Which addresses may be dialled, judged at the moment of dialling.

aiohttp asks a resolver only for names, but its socket factory sees every address, literals and
mapped forms included, and a name that has changed since the last look.
Source: protocol specification, section 14, rule 3; quality targets, S1.
"""

import ipaddress
import socket
from collections.abc import Iterable
from typing import Any

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
IpNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network

_LOOPBACK: tuple[IpNetwork, ...] = (
    ipaddress.ip_network("127.0.0.0/8"),
    ipaddress.ip_network("::1/128"),
)
_GLOBAL_UNICAST = ipaddress.ip_network("2000::/3")
# Beside what `is_global` refuses: it is true for some of these, depending on the Python version.
_DENIED: tuple[IpNetwork, ...] = tuple(
    ipaddress.ip_network(text)
    for text in (
        "0.0.0.0/8",  # this network
        "100.64.0.0/10",  # carrier-grade NAT
        "192.0.0.0/24",  # IETF protocol assignments
        "192.88.99.0/24",  # 6to4 relays
        "198.18.0.0/15",  # benchmarking
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, broadcast
        "2001::/23",  # Teredo and other protocol assignments
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4, leads to an IPv4 address
        "3fff::/20",  # documentation
    )
)


class ForbiddenAddressError(OSError):
    """An address that this node does not dial."""

    def __init__(self) -> None:
        """Say the same for every address, so that aiohttp hands on this very exception."""
        super().__init__("the address is not a public one")


def is_allowed(
    address: str, *, allow_networks: Iterable[IpNetwork] = (), allow_loopback: bool = False
) -> bool:
    """Return whether an address may be dialled.

    Args:
        address: as a socket takes it, a zone allowed.
        allow_networks: networks that may be dialled although they are not public.
        allow_loopback: whether this machine may be dialled.
    """
    try:
        ip = _plain(ipaddress.ip_address(address.partition("%")[0]))
    except ValueError:
        return False
    allowed = (*allow_networks, *(_LOOPBACK if allow_loopback else ()))
    return any(ip in network for network in allowed) or _is_public(ip)


class AddressGuard:
    """The socket factory of a connector: makes a socket, or refuses the address."""

    def __init__(
        self, *, allow_networks: Iterable[IpNetwork] = (), allow_loopback: bool = False
    ) -> None:
        """Take what may be dialled beside public addresses."""
        self._allow_networks = tuple(allow_networks)
        self._allow_loopback = allow_loopback

    def __call__(self, address_info: tuple[Any, ...]) -> socket.socket:
        """Return a socket for an entry of getaddrinfo.

        Raises:
            ForbiddenAddressError: it may not be dialled; no socket was made.
        """
        family, kind, protocol, _, address = address_info
        if not is_allowed(
            str(address[0]),
            allow_networks=self._allow_networks,
            allow_loopback=self._allow_loopback,
        ):
            raise ForbiddenAddressError
        return socket.socket(family, kind, protocol)


def _plain(ip: IpAddress) -> IpAddress:
    """Return the IPv4 address behind ::ffff:a.b.c.d, which the system dials for it."""
    mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
    return ip if mapped is None else mapped


def _is_public(ip: IpAddress) -> bool:
    if any(ip in network for network in _DENIED) or not ip.is_global:
        return False
    return isinstance(ip, ipaddress.IPv4Address) or ip in _GLOBAL_UNICAST
