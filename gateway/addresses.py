"""Where a connection may come from and go to.

Parsing is strict, because lax forms of an address (``127.1``, ``0x7f000001``,
``2130706433``, ``::ffff:127.0.0.1``) are how checks of addresses are evaded.
What is refused by a written address is checked again on the address that a
name resolved to, and the connection is made to that very address (``dialable``).
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Iterable
from typing import NamedTuple, TypeAlias

IP: TypeAlias = "ipaddress.IPv4Address | ipaddress.IPv6Address"
Network: TypeAlias = "ipaddress.IPv4Network | ipaddress.IPv6Network"

_FORM = re.compile(r"(?:\[([0-9A-Fa-f:.]{2,45})\]|([^\[\]:/@\s]{1,253})):([0-9]{1,5})")
_LABEL = r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)"
_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*\.?")
_NUMERIC = re.compile(r"(?:.*\.)?(?:[0-9]+|0[xX][0-9A-Fa-f]*)\.?")

_METADATA = tuple(
    ipaddress.ip_network(n)
    for n in (
        "169.254.0.0/16",  # link-local: the metadata service of most clouds
        "fe80::/10",
        "fd00:ec2::254/128",  # AWS over IPv6
        "100.100.100.200/32",  # Alibaba
        "168.63.129.16/32",  # Azure's wire server
        "192.0.0.192/32",  # Oracle
    )
)
_METADATA_NAMES = frozenset({"metadata.google.internal", "metadata", "instance-data"})


class Address(NamedTuple):
    """``host:port``; the host is a name or an IP address without brackets."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(text: str, *, zero_port: bool = False) -> Address:
    """``host:port`` or ``[IPv6]:port``; ValueError says what is wrong with it.
    Port 0 (any free one) is for listeners only."""
    match = _FORM.fullmatch(text)
    if match is None:
        raise ValueError("is not host:port (IPv6 as [address]:port)")
    port = int(match[3])
    if port > 65535 or (port == 0 and not zero_port):
        raise ValueError(f"has the port {port}, which is not in 1 to 65535")
    if match[1] is not None:
        try:
            return Address(str(ipaddress.IPv6Address(match[1])), port)
        except ValueError:
            raise ValueError("has no IPv6 address between the brackets") from None
    host = match[2]
    if _NUMERIC.fullmatch(host):
        # A last label of digits or 0x is an IPv4 address to every resolver.
        try:
            return Address(str(ipaddress.IPv4Address(host)), port)
        except ValueError:
            raise ValueError("has a malformed IPv4 address; write all four numbers") from None
    if _NAME.fullmatch(host) is None:
        raise ValueError("has a malformed host name")
    return Address(host.removesuffix(".").lower(), port)


def ip_of(host: str) -> IP | None:
    """The address that ``host`` is written as, IPv6-mapped IPv4 unwrapped;
    None for a name."""
    try:
        ip = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None
    mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
    return mapped or ip


def is_loopback(host: str) -> bool:
    """True for loopback addresses and the name ``localhost``."""
    ip = ip_of(host)
    return ip.is_loopback if ip is not None else host == "localhost"


def why_refused(host: str, allowed: Iterable[Network] = ()) -> str:
    """Why nothing may be dialled at ``host`` (a literal address or a name), or
    "" when nothing speaks against it. ``allowed`` are networks that the
    configuration names explicitly."""
    ip = ip_of(host)
    if ip is None:
        if host.removesuffix(".").lower() in _METADATA_NAMES:
            return f"{host} is a cloud metadata service"
        return ""
    if any(ip in network for network in allowed):
        return ""
    if any(ip in network for network in _METADATA):
        return f"{ip} is a link-local or cloud metadata address"
    if ip.is_unspecified or ip.is_multicast:
        return f"{ip} is not the address of one machine"
    if isinstance(ip, ipaddress.IPv4Address):
        if int(ip) == 0xFFFFFFFF or ip in ipaddress.ip_network("0.0.0.0/8"):
            return f"{ip} is not the address of one machine"
    elif ip in ipaddress.ip_network("64:ff9b::/96") or ip.sixtofour or ip.teredo:
        return f"{ip} carries an IPv4 address inside; write that address"
    return ""


def dialable(
    asked: str,
    resolved: str,
    port: int,
    own: Iterable[Address],
    allowed: Iterable[Network] = (),
) -> str:
    """Check the address ``resolved`` that the name ``asked`` resolved to, just
    before it is dialled: "" or the reason why not. ``own`` are our listeners.

    A name that turns out to be loopback is refused (DNS rebinding); a target
    on this machine is written as such.
    """
    allowed = tuple(allowed)
    if reason := why_refused(resolved, allowed):
        return reason
    ip = ip_of(resolved)
    if (
        is_loopback(resolved)
        and not is_loopback(asked)
        and (ip is None or not any(ip in network for network in allowed))
    ):
        return f"{asked} resolves to the loopback address {resolved}"
    if reaches(Address(resolved, port), own):
        return f"{resolved} port {port} is a listener of this gateway"
    return ""


def reaches(upstream: Address, listeners: Iterable[Address]) -> bool:
    """True when ``upstream`` is one of our own ``listeners``: a session would
    dial itself without end."""
    ip = ip_of(upstream.host)
    for listener in listeners:
        if listener.port != upstream.port:
            continue
        other = ip_of(listener.host)
        if upstream.host == listener.host or (ip is not None and ip == other):
            return True
        if is_loopback(upstream.host) and is_loopback(listener.host):
            # localhost against 127.0.0.1 or ::1; errs towards refusing.
            if ip is None or other is None:
                return True
        elif (
            other is not None
            and other.is_unspecified
            and (is_loopback(upstream.host) or (ip is not None and is_own(ip)))
        ):
            return True
    return False


def is_own(ip: IP) -> bool:
    """True when ``ip`` belongs to this machine (it can be bound)."""
    family = socket.AF_INET if ip.version == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((str(ip), 0))
    except OSError:
        return False
    return True


def neighbourhood(peer: str) -> str:
    """What counts as the same place when a token is bound to it: an IPv4
    address, or the /64 of an IPv6 one (hosts change addresses within it). A
    port after it does not count."""
    ip = ip_of(peer)
    if ip is None and (match := _FORM.fullmatch(peer)):
        ip = ip_of(match[1] or match[2])
    if isinstance(ip, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((int(ip) >> 64 << 64, 64)))
    return str(ip) if ip is not None else peer
