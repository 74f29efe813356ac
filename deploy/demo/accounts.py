"""Opens the desk's tenants on a real Cycles server, and gives them fresh money: ``python -m deploy.demo.accounts``.

What it asks the admin server for is in github.com/runcycles/cycles-protocol, cycles-governance-admin-v0.1.25.yaml.
The embedded server has no admin API, so no test of this repository runs this against a server.
"""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx

from cycles_otel.cli.demo.tenants import TENANTS, budgets
from deploy.demo import keys

CUSTOMERS = 80
"""What the budgets are made for: how many customers come between one refill and the next, more or less."""
REFILL_SECONDS = 60.0
PERMISSIONS = (
    "reservations:create",
    "reservations:commit",
    "reservations:release",
    "reservations:extend",
    "reservations:list",
    "balances:read",
)
_THERE_ALREADY = 409


class Admin:
    """The admin API of a Cycles server.

    Parameters
    ----------
    http: a client for the address of the admin server.
    key: the operator's key.
    """

    def __init__(self, http: httpx.Client, key: str) -> None:
        self._http = http
        self._headers = {"X-Admin-API-Key": key}

    def open_tenant(self, tenant: str) -> None:
        """Create a tenant, unless it is there."""
        self._post("/v1/admin/tenants", {"tenant_id": tenant, "name": tenant.capitalize()})

    def new_key(self, tenant: str) -> str:
        """A new key of a tenant; the server tells it this once."""
        body = {"tenant_id": tenant, "name": "cycles-otel demo", "permissions": list(PERMISSIONS)}
        return str(self._post("/v1/admin/api-keys", body)["key_secret"])

    def open_budget(self, scope: str, amount: int, unit: str) -> None:
        """Create a budget with this allocation, unless it is there."""
        allocated = {"amount": amount, "unit": unit}
        body = {"tenant_id": tenant_of(scope), "scope": scope, "unit": unit, "allocated": allocated}
        self._post("/v1/admin/budgets", body)

    def fund(self, scope: str, amount: int, unit: str) -> None:
        """Allocate so much more."""
        body = {
            "operation": "CREDIT",
            "amount": {"amount": amount, "unit": unit},
            "idempotency_key": str(uuid.uuid4()),
            "reason": "fresh money for the demo",
        }
        self._post("/v1/admin/budgets/fund", body, {"scope": scope, "unit": unit, "tenant_id": tenant_of(scope)})

    def _post(self, path: str, body: dict[str, Any], query: dict[str, str] | None = None) -> dict[str, Any]:
        reply = self._http.post(path, json=body, params=query, headers=self._headers)
        if reply.status_code == _THERE_ALREADY:
            return {}
        reply.raise_for_status()
        answer: dict[str, Any] = reply.json()
        return answer


def tenant_of(scope: str) -> str:
    """The tenant at the head of a scope."""
    return scope.split("/", 1)[0].removeprefix("tenant:")


def allocations() -> Iterator[tuple[str, int, str]]:
    """Scope, amount and unit of each budget."""
    for scope, units in budgets(CUSTOMERS).items():
        for unit, amount in units.items():
            yield scope, amount, unit


def is_accepted(server_url: str, tenant: str, key: str) -> bool:
    """Whether the server knows a key: one that was kept may be of a ledger that is gone."""
    reply = httpx.get(f"{server_url}/v1/balances", params={"tenant": tenant}, headers={"X-Cycles-API-Key": key})
    return reply.status_code == httpx.codes.OK


def open_accounts(admin: Admin, server_url: str, place: Path) -> None:
    """Tenants, budgets, and a key in the folder for each tenant; what is there already stays."""
    (place / keys.READY).unlink(missing_ok=True)
    kept = keys.read_keys(place, [tenant.name for tenant in TENANTS])
    for tenant in TENANTS:
        admin.open_tenant(tenant.name)
        if not is_accepted(server_url, tenant.name, kept.get(tenant.name, "none")):
            keys.write_key(place, tenant.name, admin.new_key(tenant.name))
    for allocation in allocations():
        admin.open_budget(*allocation)
    (place / keys.READY).touch()


def main() -> None:
    """Open the accounts, then refill them until the end."""
    with httpx.Client(base_url=os.environ["CYCLES_ADMIN_URL"], timeout=10) as http:
        admin = Admin(http, os.environ["ADMIN_API_KEY"])
        open_accounts(admin, os.environ["CYCLES_BASE_URL"], keys.folder())
        while True:
            time.sleep(REFILL_SECONDS)
            for allocation in allocations():
                admin.fund(*allocation)


if __name__ == "__main__":
    main()
