"""`LocalCycles` starts, tells how to reach it, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from runcycles import AsyncCyclesClient, CyclesClient, CyclesConfig

from cycles_otel.local import Budget, InvalidParameter, Key, LocalCycles, Tenant
from tests.local.client import USD, Client

BUDGETS = {"tenant:acme": {USD: 1_000}, "tenant:globex": {"TOKENS": 50}}


def server_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "local-cycles"]


class TestLifecycle:
    def test_it_serves_while_the_block_runs_and_not_after(self) -> None:
        with LocalCycles(BUDGETS) as server:
            url = server.url
            assert httpx.get(f"{url}/actuator/health", trust_env=False).json() == {"status": "UP"}
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{url}/actuator/health", trust_env=False)

    def test_it_listens_on_loopback(self) -> None:
        with LocalCycles(BUDGETS) as server:
            assert server.url.startswith("http://127.0.0.1:")

    def test_no_thread_is_left_behind(self) -> None:
        before = server_threads()
        with LocalCycles(BUDGETS):
            assert len(server_threads()) == len(before) + 1
        assert server_threads() == before

    def test_an_open_connection_does_not_keep_it_from_stopping(self) -> None:
        server = LocalCycles(BUDGETS).start()
        with httpx.Client(base_url=server.url, trust_env=False) as client:
            client.get("/actuator/health")
            server.stop()
            assert server_threads() == []

    async def test_async_with_does_not_block_the_event_loop(self) -> None:
        beats = 0

        async def beat() -> None:
            nonlocal beats
            while True:
                await asyncio.sleep(0)
                beats += 1

        heart = asyncio.create_task(beat())
        async with LocalCycles(BUDGETS) as server:
            assert beats > 0
            async with AsyncCyclesClient(server.config()) as client:
                assert (await client.get_balances(tenant="acme")).status == 200
        heart.cancel()

    def test_start_and_stop_do_what_the_block_does(self) -> None:
        server = LocalCycles(BUDGETS).start()
        assert httpx.get(f"{server.url}/actuator/health", trust_env=False).status_code == 200
        server.stop()
        server.stop()
        assert server_threads() == []

    def test_it_cannot_be_started_twice(self) -> None:
        with LocalCycles(BUDGETS) as server, pytest.raises(RuntimeError, match="running already"):
            server.start()

    def test_many_run_in_one_process(self) -> None:
        with LocalCycles(BUDGETS) as one, LocalCycles(BUDGETS) as other:
            with Client(one) as client:
                client.reserved(10)
            assert one.ledger().budget("tenant:acme").reserved == 10
            assert other.ledger().budget("tenant:acme").reserved == 0

    def test_a_taken_port_is_an_error_and_leaves_no_thread(self) -> None:
        with LocalCycles(BUDGETS) as server:
            port = int(server.url.rpartition(":")[2])
            before = server_threads()
            with pytest.raises(OSError, match="in use"):
                LocalCycles(BUDGETS, port=port).start()
            assert server_threads() == before

    def test_it_says_that_it_is_not_for_production(self, caplog: pytest.LogCaptureFixture) -> None:
        with caplog.at_level(logging.INFO, logger="cycles_otel.local.server"), LocalCycles(BUDGETS):
            assert "development and tests" in caplog.text
            assert "cycles-server" in caplog.text

    def test_it_warns_where_the_network_can_reach_it(self, caplog: pytest.LogCaptureFixture) -> None:
        with LocalCycles(BUDGETS, host="0.0.0.0"):
            assert "0.0.0.0" in caplog.text

    def test_ledger_and_requests_can_be_read_after_it_stopped(self) -> None:
        with LocalCycles(BUDGETS) as server, Client(server) as client:
            client.reserved(10)
        assert server.ledger().budget("tenant:acme").reserved == 10
        assert [request.operation for request in server.requests] == ["reserve"]

    def test_what_needs_a_running_server_says_so(self) -> None:
        with pytest.raises(RuntimeError, match="with LocalCycles"):
            _ = LocalCycles(BUDGETS).url


class TestReachingIt:
    def test_config_is_all_that_a_client_needs(self) -> None:
        with LocalCycles(BUDGETS) as server, CyclesClient(server.config()) as client:
            assert client.get_balances(tenant="acme").status == 200

    def test_config_is_of_the_tenant_asked_for(self) -> None:
        with LocalCycles(BUDGETS) as server:
            config = server.config("globex")
            assert (config.tenant, config.api_key) == ("globex", server.api_key_for("globex"))

    def test_config_takes_overrides_and_has_no_journal_by_default(self) -> None:
        with LocalCycles(BUDGETS) as server:
            assert server.config().journal_enabled is False
            overridden = server.config(journal_enabled=True, agent="triage")
            assert (overridden.journal_enabled, overridden.agent) == (True, "triage")

    def test_environ_is_what_from_env_reads(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with LocalCycles(BUDGETS) as server:
            for name, value in server.environ("globex").items():
                monkeypatch.setenv(name, value)
            read, given = CyclesConfig.from_env(), server.config("globex")
        assert (read.base_url, read.api_key, read.tenant) == (given.base_url, given.api_key, given.tenant)
        assert read.journal_enabled is False

    def test_api_key_is_the_first_tenants(self) -> None:
        with LocalCycles(BUDGETS) as server:
            assert server.api_key == server.api_key_for("acme") != server.api_key_for("globex")

    def test_an_unknown_tenant_has_no_key_and_the_error_says_which_have(self) -> None:
        with LocalCycles(BUDGETS) as server, pytest.raises(InvalidParameter, match=r"'nobody'.*acme, globex"):
            server.api_key_for("nobody")

    def test_a_key_can_be_given(self) -> None:
        keys = [Key("mine", "acme", secret="cyc_test_0123456789")]
        with LocalCycles(BUDGETS, keys=keys) as server:
            assert server.api_key == "cyc_test_0123456789"
            assert [(key.name, key.tenant) for key in server.keys] == [("mine", "acme"), ("globex", "globex")]

    def test_no_key_shows_in_a_repr(self) -> None:
        assert "0123456789" not in repr(Key("mine", "acme", secret="cyc_test_0123456789"))


class TestBudgets:
    def test_budget_objects_carry_what_a_mapping_cannot(self) -> None:
        budgets = [Budget("tenant:acme", USD, 100, overdraft_limit=50, caps={"max_tokens": 5})]
        with LocalCycles(budgets) as server, Client(server) as client:
            assert client.reserve(10).json()["caps"] == {"max_tokens": 5}
            assert server.ledger().budget("tenant:acme").overdraft_limit == 50

    def test_a_mapping_can_hold_a_budgets_fields(self) -> None:
        with LocalCycles({"tenant:acme": {USD: {"allocated": 5, "status": "FROZEN"}}}) as server:
            assert server.ledger().budget("tenant:acme").status == "FROZEN"

    def test_a_tenants_settings_count(self) -> None:
        tenants = [Tenant("acme", max_reservation_ttl_ms=2_000)]
        with LocalCycles(BUDGETS, tenants=tenants) as server, Client(server) as client:
            assert client.reserve(1, ttl_ms=9_000).json()["remaining_ttl_ms"] <= 2_000


class TestBadInput:
    @pytest.mark.parametrize(
        ("budgets", "named"),
        [
            ({"tenant:acme": {"DOLLARS": 5}}, r"unit: got 'DOLLARS'.*USD_MICROCENTS, TOKENS"),
            ({"tenant:acme": {USD: -1}}, r"allocated: got -1.*whole number"),
            ({"tenant:acme": {USD: 1.5}}, r"allocated: got 1.5.*whole number"),
            ({"tenant:acme": {USD: True}}, r"allocated: got True.*whole number"),
            ({"tenant:acme": {USD: 2**63}}, r"allocated: got 9223372036854775808.*2\^63 - 1"),
            ({"tenant:acme": {USD: {"allocated": 1, "colour": 2}}}, r"colour: got 2.*overdraft_limit"),
            ({"tenant:acme": {USD: {"status": "ACTIVE"}}}, r"'allocated'"),
            ({"tenant:acme": {USD: {"allocated": 1, "status": "OPEN"}}}, r"status: got 'OPEN'.*FROZEN"),
            ({"tenant:acme": 5}, r"budgets\['tenant:acme'\]: got 5"),
            ({"acme": {USD: 5}}, r"scope: got 'acme'.*tenant:acme/agent:triage"),
            ({"tenant:Acme": {USD: 5}}, r"scope: got 'tenant:Acme'"),
            ({"agent:a/tenant:acme": {USD: 5}}, r"scope: got 'agent:a/tenant:acme'.*order"),
            ({"tenant:acme/": {USD: 5}}, r"scope: got 'tenant:acme/'"),
            ([("tenant:acme", USD, 5)], r"a Budget"),
            ("tenant:acme", r"budgets: got 'tenant:acme'"),
            (7, r"budgets: got 7"),
        ],
    )
    def test_a_budget_that_cannot_be_names_itself_and_what_is_accepted(self, budgets: Any, named: str) -> None:
        with pytest.raises(InvalidParameter, match=named):
            LocalCycles(budgets)

    def test_two_budgets_for_one_scope_and_unit_are_refused(self) -> None:
        with pytest.raises(InvalidParameter, match="one budget for each"):
            LocalCycles([Budget("tenant:acme", USD, 1), Budget("tenant:acme", USD, 2)])

    @pytest.mark.parametrize(
        ("parameters", "named"),
        [
            ({"tenants": {"acme": {"status": "GONE"}}}, "status: got 'GONE'.*SUSPENDED"),
            ({"tenants": {"acme": {"colour": 1}}}, "colour: got 1"),
            ({"tenants": {"acme": 5}}, r"tenants\['acme'\]: got 5"),
            ({"tenants": [Tenant("acme", default_commit_overage_policy="MAYBE")]}, "'MAYBE'.*REJECT"),
            ({"keys": [Key("a", "acme", status="LOST")]}, "status: got 'LOST'.*REVOKED"),
            ({"keys": ["secret"]}, "a Key"),
            ({"port": 70_000}, "port: got 70000"),
            ({"sweep_interval": 0}, "sweep_interval: got 0"),
        ],
    )
    def test_other_parameters_say_what_is_accepted(self, parameters: Any, named: str) -> None:
        with pytest.raises(InvalidParameter, match=named):
            LocalCycles(BUDGETS, **parameters)

    def test_keys_that_are_found_by_the_same_prefix_are_refused(self) -> None:
        keys = [Key("a", "acme", secret="cyc_test_acme-key-1"), Key("b", "acme", secret="cyc_test_acme-key-2")]
        with pytest.raises(InvalidParameter, match="first 14 characters"):
            LocalCycles(BUDGETS, keys=keys)

    def test_a_key_with_a_date_that_is_none_is_refused(self) -> None:
        with pytest.raises(InvalidParameter, match=r"'tomorrow'.*ISO 8601"):
            Key("a", "acme", expires_at="tomorrow")


class TestLedgerFile:
    def test_the_ledger_survives_a_restart_with_its_keys(self, tmp_path: Path) -> None:
        path = tmp_path / "ledger.db"
        with LocalCycles(BUDGETS, db=path) as server, Client(server) as client:
            key, reservation_id = server.api_key, client.reserved(30)
        with LocalCycles(BUDGETS, db=path) as server, Client(server) as client:
            assert server.api_key == key
            assert len(server.keys) == 2
            assert server.ledger().budget("tenant:acme").reserved == 30
            assert client.commit(reservation_id, 20).status_code == 200

    def test_an_idempotency_key_is_remembered_over_a_restart(self, tmp_path: Path) -> None:
        path = tmp_path / "ledger.db"
        for _ in range(2):
            with LocalCycles(BUDGETS, db=path) as server, Client(server) as client:
                client.event(5, idempotency_key="once")
                assert server.ledger().budget("tenant:acme").spent == 5

    def test_a_budget_that_is_new_in_the_parameters_is_added(self, tmp_path: Path) -> None:
        path = tmp_path / "ledger.db"
        LocalCycles(BUDGETS, db=path).start().stop()
        with LocalCycles({**BUDGETS, "tenant:initech": {USD: 7}}, db=path) as server:
            assert server.ledger().budget("tenant:initech").allocated == 7

    def test_nothing_but_the_file_is_left(self, tmp_path: Path) -> None:
        with LocalCycles(BUDGETS, db=tmp_path / "ledger.db") as server, Client(server) as client:
            client.reserved(30)
        assert [path.name for path in tmp_path.iterdir()] == ["ledger.db"]


class TestOperator:
    def test_set_budget_changes_what_is_left_with_what_is_allocated(self, server: LocalCycles, client: Client) -> None:
        client.reserved(100)
        after = server.set_budget("tenant:acme", allocated=2_000)
        assert (after.remaining, after.reserved) == (1_900, 100)

    def test_set_budget_freezes(self, server: LocalCycles, client: Client) -> None:
        server.set_budget("tenant:acme", status="FROZEN")
        assert client.reserve(1).json()["error"] == "BUDGET_FROZEN"

    def test_set_budget_refuses_what_does_not_exist(self, server: LocalCycles) -> None:
        with pytest.raises(InvalidParameter, match="tenant:acme in USD_MICROCENTS"):
            server.set_budget("tenant:nobody", allocated=1)
        with pytest.raises(InvalidParameter, match="allocated, remaining"):
            server.set_budget("tenant:acme", colour=1)
        with pytest.raises(InvalidParameter, match="ACTIVE, FROZEN, CLOSED"):
            server.set_budget("tenant:acme", status="OPEN")

    def test_fund_pays_the_debt_first_and_opens_the_budget_again(self, server: LocalCycles, client: Client) -> None:
        server.set_budget("tenant:acme", debt=300, is_over_limit=True)
        assert client.reserve(1).status_code == 409
        after = server.fund("tenant:acme", 1_000)
        assert (after.debt, after.remaining, after.is_over_limit) == (0, 1_700, False)
        assert after.remaining == after.allocated - after.spent - after.reserved - after.debt
        assert client.reserve(1).status_code == 200

    def test_a_suspended_tenant_gets_401_on_everything(self, server: LocalCycles, client: Client) -> None:
        reservation_id = client.reserved(10)
        server.set_tenant("acme", "SUSPENDED")
        assert client.commit(reservation_id).status_code == 401
        assert client.get("balances", tenant="acme").json()["message"] == "TENANT_SUSPENDED"
        server.set_tenant("acme", "ACTIVE")
        assert client.commit(reservation_id).status_code == 200

    def test_set_tenant_refuses_what_does_not_exist(self, server: LocalCycles) -> None:
        with pytest.raises(InvalidParameter, match="acme"):
            server.set_tenant("nobody", "CLOSED")
        with pytest.raises(InvalidParameter, match="ACTIVE, SUSPENDED, CLOSED"):
            server.set_tenant("acme", "GONE")


class TestSweeper:
    def test_it_runs_by_itself(self) -> None:
        with LocalCycles(BUDGETS, sweep_interval=0.01) as server, Client(server) as client:
            client.reserved(10, ttl_ms=1_000, grace_period_ms=0)
            deadline = time.monotonic() + 20
            while server.ledger().active and time.monotonic() < deadline:
                time.sleep(0.02)
            assert server.ledger().with_status("EXPIRED")
            assert server.ledger().budget("tenant:acme").remaining == 1_000
