"""The embedded Cycles server, for development and tests: `LocalCycles` and what goes with it.

Nothing is imported before a name is used, so that the pytest plugin costs nothing where it is not.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from cycles_otel.local.extra import explain_missing

if TYPE_CHECKING:
    from cycles_otel.local.clock import ManualClock
    from cycles_otel.local.errors import InvalidParameter
    from cycles_otel.local.faults import Fault, Hold
    from cycles_otel.local.request_log import LoggedRequest
    from cycles_otel.local.seed import Budget
    from cycles_otel.local.server import LocalCycles
    from cycles_otel.local.snapshot import BudgetState, EventState, LedgerSnapshot, ReservationState
    from cycles_otel.local.tenants import Key, Tenant

__all__ = [
    "Budget",
    "BudgetState",
    "EventState",
    "Fault",
    "Hold",
    "InvalidParameter",
    "Key",
    "LedgerSnapshot",
    "LocalCycles",
    "LoggedRequest",
    "ManualClock",
    "ReservationState",
    "Tenant",
]

_HOMES = {
    "Budget": "seed",
    "BudgetState": "snapshot",
    "EventState": "snapshot",
    "Fault": "faults",
    "Hold": "faults",
    "InvalidParameter": "errors",
    "Key": "tenants",
    "LedgerSnapshot": "snapshot",
    "LocalCycles": "server",
    "LoggedRequest": "request_log",
    "ManualClock": "clock",
    "ReservationState": "snapshot",
    "Tenant": "tenants",
}


# A type checker would take it for a module that has every name.
if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        try:
            home = importlib.import_module(f"{__name__}.{_HOMES[name]}")
        except ModuleNotFoundError as error:
            explain_missing(error)
        return getattr(home, name)
