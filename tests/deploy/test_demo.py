"""The programs of ``deploy/demo``: the desk on an embedded server, and what ``accounts`` knows without a server."""

from __future__ import annotations

from pathlib import Path

from cycles_otel.cli.demo.tenants import TENANTS, budgets
from cycles_otel.local import LocalCycles
from deploy.demo import keys
from deploy.demo.accounts import allocations, tenant_of
from deploy.demo.desk import open_account, serve_round


class TestDesk:
    async def test_serves_round_after_round_and_holds_nothing_between_them(self) -> None:
        async with LocalCycles(budgets=budgets(8)) as server:
            accounts = {each.name: open_account(each, server.url, server.api_key_for(each.name)) for each in TENANTS}
            for number in range(2):
                log = await serve_round(accounts, number, customers=8)
                assert log.served == 8
                assert not server.ledger().active


class TestAccounts:
    def test_fund_the_budgets_of_the_desk_and_no_others(self) -> None:
        assert {tenant_of(scope) for scope, _, _ in allocations()} == {tenant.name for tenant in TENANTS}

    def test_take_the_tenant_from_the_head_of_a_scope(self) -> None:
        assert tenant_of("tenant:hooli/agent:billing/toolset:send_email") == "hooli"


class TestKeys:
    def test_are_read_as_they_were_written(self, tmp_path: Path) -> None:
        keys.write_key(tmp_path, "acme", "first")
        keys.write_key(tmp_path, "acme", "second")
        assert keys.read_keys(tmp_path, ["acme", "globex"]) == {"acme": "second"}
        assert [path.name for path in tmp_path.iterdir()] == ["acme"]
