"""Addresses of servers: what can be one, what of it may be shown, and whether it keeps what is sent there private."""

from __future__ import annotations

import functools
import ipaddress
import logging
from typing import TypeGuard
from urllib.parse import urlsplit

logger = logging.getLogger("cycles_otel")


def is_http_address(value: object) -> TypeGuard[str]:
    """Whether requests can be sent to a value."""
    # The parser passes over a blank at the begin, with which no request can be sent.
    if not isinstance(value, str) or value != value.strip():
        return False
    try:
        address = urlsplit(value)
        return address.scheme in ("http", "https") and bool(address.hostname) and address.port != 0
    except ValueError:
        return False


def without_login(address: str) -> str:
    """An address as it may be shown: without the user and the password that may stand in it."""
    parts = urlsplit(address)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def warn_of_plain_http(base_url: str) -> None:
    """Warn, once for each host, where the address of a server is neither https nor on this machine."""
    if is_plain_over_a_network(base_url):
        _warn_once(urlsplit(base_url).hostname or "")


def is_plain_over_a_network(base_url: str) -> bool:
    """Whether the address of a server is neither https nor on this machine."""
    address = urlsplit(base_url)
    return address.scheme == "http" and not _is_loopback(address.hostname or "")


@functools.cache
def _warn_once(host: str) -> None:
    logger.warning("Requests to %s are not encrypted: whoever is on the way can read the key. Use https", host)


def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
