"""The address by which wrong passwords are counted."""

from __future__ import annotations

import ipaddress

from django.conf import settings
from django.http import HttpRequest
from rest_framework.request import Request

IPV6_PREFIX_BITS = 64
"""The network of one household: counted by address, each would allow ten more guesses."""


def client_address(request: HttpRequest | Request) -> str:
    """The peer's address; behind a proxy on this machine the last one in X-Forwarded-For, which the proxy wrote.

    From other peers, and without PORTAL_HTTPS, which announces a proxy, that header is ignored.
    """
    peer = parsed_address(request.META.get("REMOTE_ADDR", ""))
    if settings.PORTAL_HTTPS and peer is not None and peer.is_loopback:
        peer = parsed_address(request.META.get("HTTP_X_FORWARDED_FOR", "").rpartition(",")[2].strip()) or peer
    if isinstance(peer, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((peer, IPV6_PREFIX_BITS), strict=False))
    return str(peer or "")


def parsed_address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """None for what is no address. A socket of both families gives an IPv4 address as ::ffff:127.0.0.1."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
