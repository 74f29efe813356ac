"""The tables: what is written together holds together."""

from __future__ import annotations

from pathlib import Path

import pytest

from cycles_otel.local import Budget, Tenant
from cycles_otel.local.store import Store


@pytest.fixture
def store() -> Store:
    return Store()


def write_and_fail(store: Store, tenant: Tenant) -> None:
    with store.transaction():
        store.tenants.put(tenant)
        raise RuntimeError("half way")


class TestTransaction:
    def test_an_exception_undoes_what_was_written(self, store: Store) -> None:
        with pytest.raises(RuntimeError, match="half way"):
            write_and_fail(store, Tenant("acme"))
        assert store.tenants.all() == []

    def test_what_was_written_before_stays(self, store: Store) -> None:
        with store.transaction():
            store.tenants.put(Tenant("acme"))
        with pytest.raises(RuntimeError, match="half way"):
            write_and_fail(store, Tenant("acme", status="CLOSED"))
        assert store.tenants.all() == [Tenant("acme")]


class TestTable:
    def test_put_writes_over_the_row_with_the_same_key_and_add_does_not(self, store: Store) -> None:
        store.tenants.put(Tenant("acme"))
        store.tenants.add(Tenant("acme", status="CLOSED"))
        assert store.tenants.first(name="acme") == Tenant("acme")
        store.tenants.put(Tenant("acme", status="CLOSED"))
        assert store.tenants.all() == [Tenant("acme", status="CLOSED")]

    def test_a_row_is_read_as_it_was_written(self, store: Store) -> None:
        budget = Budget("tenant:acme", "TOKENS", 2**63 - 1, caps={"tool_denylist": ["shell"]}, is_over_limit=True)
        store.budgets.put(budget.state())
        assert store.budgets.first(scope="tenant:acme", unit="TOKENS") == budget.state()

    def test_a_file_is_kept_in_wal_mode(self, tmp_path: Path) -> None:
        store = Store(tmp_path / "ledger.db")
        store.tenants.put(Tenant("acme"))
        assert (tmp_path / "ledger.db-wal").exists()
        store.close()
