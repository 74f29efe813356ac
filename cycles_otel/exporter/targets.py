"""What is polled: the balances that one key may see, on one server."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from cycles_otel.addresses import is_http_address
from cycles_otel.budget.subject import FIELDS, is_subject_value
from cycles_otel.exporter.keys import ApiKey, Key
from cycles_otel.exporter.pace import Pace
from cycles_otel.telemetry.errors import TelemetrySetupError

_BASE_URL, _API_KEY = "CYCLES_BASE_URL", "CYCLES_API_KEY"
_LEVEL = "1 to 128 of a-z A-Z 0-9 _ . -, as the server has it"


@dataclass(frozen=True)
class Target:
    """One target of the exporter.

    Parameters
    ----------
    name: what it is called in metrics and in the log.
    levels: the levels of the subject that a budget must have to be polled, the tenant among them; where there are
        none, all budgets of the key's tenant are polled.
    """

    name: str
    base_url: str
    key: Key = field(repr=False)
    levels: Mapping[str, str]
    pace: Pace


def from_environment(pace: Pace) -> Target:
    """The target that ``CYCLES_BASE_URL`` and ``CYCLES_API_KEY`` lead to, with the levels of ``CYCLES_TENANT`` etc.

    Raises
    ------
    TelemetrySetupError: a variable is missing, or has a value that is not accepted.
    """
    base_url = checked_address(_BASE_URL, _required(_BASE_URL))
    key = ApiKey(_API_KEY, _required(_API_KEY))
    given = {level: (f"CYCLES_{level.upper()}", os.environ.get(f"CYCLES_{level.upper()}")) for level in FIELDS}
    levels = {level: checked_level(variable, value) for level, (variable, value) in given.items() if value}
    return Target(levels.get("tenant") or urlsplit(base_url).netloc, base_url, key, levels, pace)


def checked_address(parameter: str, value: object) -> str:
    """``value`` if it is the address of a server."""
    if not is_http_address(value) or "@" in value:
        # A login in an address would be shown in messages, and Cycles has none.
        shown = type(value) if isinstance(value, str) and "@" in value else value
        raise TelemetrySetupError(parameter, shown, "an address such as http://localhost:7878")
    return value


def checked_level(parameter: str, value: object) -> str:
    """``value`` if the protocol accepts it as the name of a tenant, an agent and so on."""
    if not isinstance(value, str) or not is_subject_value(value):
        raise TelemetrySetupError(parameter, value, _LEVEL)
    return value


def _required(variable: str) -> str:
    value = os.environ.get(variable, "")
    if not value:
        accepted = "an address such as http://localhost:7878" if variable == _BASE_URL else "the key of a tenant"
        raise TelemetrySetupError(variable, value, f"{accepted}; or give the targets in a file, with --config")
    return value
