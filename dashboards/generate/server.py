"""The Cycles server's own metrics, as it serves them at ``/actuator/prometheus``: what our series are compared with."""

from __future__ import annotations

from dashboards.generate.promql import WINDOW, Clock, aggregate

TENANT, DECISION, REASON = "tenant", "decision", "reason"
MAINTENANCE_RUNS = "cycles_maintenance_runs_total"

COUNTERS = {
    "reserve": ("cycles_reservations_reserve_total", (TENANT, DECISION, REASON)),
    "commit": ("cycles_reservations_commit_total", (TENANT, DECISION)),
    "release": ("cycles_reservations_release_total", (TENANT, DECISION)),
    "extend": ("cycles_reservations_extend_total", (TENANT, DECISION)),
    "expired": ("cycles_reservations_expired_total", (TENANT,)),
    "event": ("cycles_events_total", (TENANT, DECISION)),
    "overdraft": ("cycles_overdraft_incurred_total", (TENANT,)),
}
"""What each counter counts, its name, and the labels that are kept of it. A server may be set to have no ``tenant``."""


def recorded_by_server(what: str) -> str:
    """The name under which the rate of a counter is recorded."""
    return f"cycles:server_{what}:rate5m"


def server_rates(clock: Clock) -> dict[str, str]:
    """The expressions to record, by name: rates over the same window as our own, so that they can be compared."""
    window = clock.duration(WINDOW)
    return {
        recorded_by_server(what): aggregate("sum", labels, f"rate({name}[{window}])")
        for what, (name, labels) in COUNTERS.items()
    }
