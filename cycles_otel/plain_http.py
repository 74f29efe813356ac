"""A key that leaves this machine in plain text is worth a warning."""

from __future__ import annotations

import functools
import ipaddress
import logging
from urllib.parse import urlsplit

logger = logging.getLogger("cycles_otel")


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
