"""What the doctor finds, by the names of its checks."""

from __future__ import annotations

import socket
from typing import Any

from cycles_otel.doctor.examination import examine
from cycles_otel.doctor.finding import Finding, Status
from cycles_otel.doctor.setup import Asked


def found(**asked: Any) -> dict[str, Finding]:
    """The worst finding of each check."""
    worst: dict[str, Finding] = {}
    for finding in examine(Asked(**{"levels": {}, **asked})):
        if finding.check not in worst or finding.status is not Status.WELL:
            worst[finding.check] = finding
    return worst


def wrong(**asked: Any) -> dict[str, Finding]:
    return {check: finding for check, finding in found(**asked).items() if finding.status is Status.WRONG}


def unused_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
