"""What a server starts with: budgets, tenants and keys, from Python values or from a file's, checked."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, TypeVar

from cycles_otel.local.bodies import OVERAGE_POLICIES
from cycles_otel.local.errors import InvalidParameter
from cycles_otel.local.fields import INT64_MAX
from cycles_otel.local.scopes import LEVELS, UNITS
from cycles_otel.local.snapshot import BudgetState
from cycles_otel.local.store import Store
from cycles_otel.local.tenants import PREFIX_LENGTH, Key, Tenant

BUDGET_STATUSES = ("ACTIVE", "FROZEN", "CLOSED")
TENANT_STATUSES = ("ACTIVE", "SUSPENDED", "CLOSED")
KEY_STATUSES = ("ACTIVE", "REVOKED", "EXPIRED")

_SCOPE = re.compile("/".join(f"(?:{level}:[a-z0-9_.-]{{1,128}}/)?" for level in LEVELS).replace("?/", "?"))
_SCOPE_FORM = f"levels in the order {'/'.join(LEVELS)}, as in 'tenant:acme/agent:triage', values of a-z 0-9 _ . -"


@dataclass(frozen=True)
class Budget:
    """A budget at one scope in one unit.

    Parameters
    ----------
    scope: where it stands, for example `tenant:acme/agent:triage`, in lower case.
    unit: USD_MICROCENTS, TOKENS, CREDITS or RISK_POINTS; all amounts are in it.
    allocated: what there is to spend.
    overdraft_limit: how much debt commits may make.
    status: ACTIVE, FROZEN or CLOSED.
    caps: what is returned with ALLOW_WITH_CAPS, for example `{"max_tokens": 500}`.
    spent: spent already.
    reserved: held already.
    debt: owed already.
    is_over_limit: whether new reservations are refused until an operator clears it.
    remaining: what is left, by default what the other amounts leave.

    Raises
    ------
    InvalidParameter: a value is not allowed.
    """

    scope: str
    unit: str
    allocated: int
    overdraft_limit: int = 0
    status: str = "ACTIVE"
    caps: dict[str, Any] | None = None
    spent: int = 0
    reserved: int = 0
    debt: int = 0
    is_over_limit: bool = False
    remaining: int | None = None

    def __post_init__(self) -> None:
        where = f"budget {self.scope}"
        if not isinstance(self.scope, str) or not self.scope or not _SCOPE.fullmatch(f"{self.scope}/"):
            raise InvalidParameter("scope", self.scope, _SCOPE_FORM)
        check_choice(f"{where}: unit", self.unit, UNITS)
        check_choice(f"{where}: status", self.status, BUDGET_STATUSES)
        for name in ("allocated", "overdraft_limit", "spent", "reserved", "debt"):
            check_amount(f"{where}: {name}", getattr(self, name))
        if self.caps is not None and not isinstance(self.caps, dict):
            raise InvalidParameter(f"{where}: caps", self.caps, "a mapping or None")

    def state(self) -> BudgetState:
        """The budget as the ledger keeps it."""
        left = self.allocated - self.spent - self.reserved - self.debt
        return BudgetState(
            scope=self.scope,
            unit=self.unit,
            allocated=self.allocated,
            remaining=left if self.remaining is None else self.remaining,
            reserved=self.reserved,
            spent=self.spent,
            debt=self.debt,
            overdraft_limit=self.overdraft_limit,
            is_over_limit=self.is_over_limit,
            status=self.status,
            caps=self.caps,
        )


Budgets = Mapping[str, Mapping[str, int | Mapping[str, Any]]] | Iterable[Budget]
"""A sequence of `Budget`, or scope -> unit -> the allocated amount or a mapping of a `Budget`'s fields."""
Tenants = Mapping[str, Mapping[str, Any]] | Iterable[Tenant | str]
"""A sequence of `Tenant` or names, or name -> a mapping of a `Tenant`'s fields."""


@dataclass(frozen=True)
class Seed:
    """Everything that a server starts with."""

    budgets: Sequence[Budget]
    tenants: Sequence[Tenant]
    keys: Sequence[Key]

    @staticmethod
    def of(budgets: Budgets, tenants: Tenants = (), keys: Iterable[Key] = ()) -> Seed:
        """Check what was given; tenants are added for all scopes.

        Raises
        ------
        InvalidParameter: something is not allowed; it says what, and what is.
        """
        read_budgets = read_budgets_of(budgets)
        read_tenants = {tenant.name: tenant for tenant in read_tenants_of(tenants)}
        for budget in read_budgets:
            name = tenant_of(budget.scope)
            if name is not None:
                read_tenants.setdefault(name, Tenant(name))
        return Seed(read_budgets, list(read_tenants.values()), _read_keys(keys))

    def write_to(self, store: Store) -> None:
        """Add what the store does not have yet, and a key for each tenant without one; what it has stays as it is."""
        with store.transaction():
            for budget in self.budgets:
                store.budgets.add(budget.state())
            for key in self.keys:
                store.keys.add(key)
            for tenant in self.tenants:
                store.tenants.add(tenant)
                if store.keys.first(tenant=tenant.name) is None:
                    store.keys.add(Key(tenant.name, tenant.name))


def _read_keys(keys: Iterable[Key]) -> list[Key]:
    read = list(keys)
    for key in read:
        if not isinstance(key, Key):
            raise InvalidParameter("keys", key, "a Key")
        check_choice(f"key {key.name}: status", key.status, KEY_STATUSES)
    prefixes = [key.prefix for key in read]
    for key in read:
        if prefixes.count(key.prefix) > 1 or not key.prefix:
            accepted = f"secrets that differ in their first {PREFIX_LENGTH} characters, by which keys are found"
            raise InvalidParameter("keys", key.name, accepted)
    return read


def read_budgets_of(budgets: Budgets) -> list[Budget]:
    """The budgets in either of the accepted forms, one at most for a scope and unit."""
    if isinstance(budgets, Mapping):
        read = [budget for scope, units in budgets.items() for budget in _budgets_at(scope, units)]
    elif isinstance(budgets, Iterable) and not isinstance(budgets, str | bytes):
        read = list(budgets)
    else:
        raise InvalidParameter("budgets", budgets, "a mapping of scopes or a sequence of Budget")
    for budget in read:
        if not isinstance(budget, Budget):
            raise InvalidParameter("budgets", budget, "a Budget")
    seen = [(budget.scope, budget.unit) for budget in read]
    for pair in seen:
        if seen.count(pair) > 1:
            raise InvalidParameter("budgets", pair, "one budget for each scope and unit")
    return read


def _budgets_at(scope: str, units: object) -> Iterable[Budget]:
    if not isinstance(units, Mapping):
        raise InvalidParameter(f"budgets[{scope!r}]", units, "a mapping of units, as in {'TOKENS': 1000}")
    for unit, given in units.items():
        values = given if isinstance(given, Mapping) else {"allocated": given}
        if "allocated" not in values:
            raise InvalidParameter(f"budgets[{scope!r}][{unit!r}]", given, "an amount, or a mapping with 'allocated'")
        yield make(Budget, f"budgets[{scope!r}][{unit!r}]", {**values, "scope": scope, "unit": unit})


def read_tenants_of(tenants: Tenants) -> list[Tenant]:
    """The tenants in any of the accepted forms."""
    if isinstance(tenants, Mapping):
        read = [_tenant(name, values) for name, values in tenants.items()]
    else:
        read = [Tenant(each) if isinstance(each, str) else each for each in tenants]
    for tenant in read:
        _check_tenant(tenant)
    return read


def _tenant(name: str, values: object) -> Tenant:
    if values is not None and not isinstance(values, Mapping):
        raise InvalidParameter(f"tenants[{name!r}]", values, "a mapping of the fields of Tenant")
    return make(Tenant, f"tenants[{name!r}]", {**(values or {}), "name": name})


def _check_tenant(tenant: Tenant) -> None:
    where = f"tenant {tenant.name}"
    check_choice(f"{where}: status", tenant.status, TENANT_STATUSES)
    if tenant.default_commit_overage_policy is not None:
        check_choice(f"{where}: overage policy", tenant.default_commit_overage_policy, OVERAGE_POLICIES)
    for name in ("default_reservation_ttl_ms", "max_reservation_ttl_ms", "max_reservation_extensions"):
        if getattr(tenant, name) is not None:
            check_amount(f"{where}: {name}", getattr(tenant, name))


Made = TypeVar("Made", Budget, Tenant, Key)


def make(kind: type[Made], where: str, values: Mapping[str, Any]) -> Made:
    """A `kind` from a mapping of its fields.

    Raises
    ------
    InvalidParameter: a field is unknown, or one that is needed is missing.
    """
    known = [field.name for field in fields(kind) if field.name != "prefix"]
    for name in values:
        if name not in known:
            raise InvalidParameter(f"{where}: {name}", values[name], "one of the fields " + ", ".join(known))
    try:
        return kind(**values)
    except TypeError as error:
        raise InvalidParameter(where, dict(values), f"a complete {kind.__name__} ({error})") from None


def tenant_of(scope: str) -> str | None:
    """The tenant that a scope belongs to, if it names one."""
    level, _, name = scope.partition("/")[0].partition(":")
    return name if level == "tenant" else None


def check_choice(parameter: str, value: object, accepted: Sequence[str]) -> None:
    """Refuse a value that is none of the accepted."""
    if value not in accepted:
        raise InvalidParameter(parameter, value, ", ".join(accepted))


def check_amount(parameter: str, value: object) -> None:
    """Refuse what is no whole amount that 64 bits hold."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= INT64_MAX:
        raise InvalidParameter(parameter, value, "a whole number from 0 to 2^63 - 1")
