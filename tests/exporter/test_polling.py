"""What a poll asks for, and what of it is shown."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from runcycles import AsyncCyclesClient

from cycles_otel.exporter.keys import ApiKey, ApiKeyFile
from cycles_otel.exporter.poller import Poll, Poller
from cycles_otel.exporter.targets import Target
from cycles_otel.local import Fault, LocalCycles
from cycles_otel.telemetry import observe_client, semconv
from tests.exporter.watching import PACE, by_budget, exporting, is_up, polled, scopes, target, up
from tests.run.desk import until
from tests.telemetry import requests
from tests.telemetry.witness import Witness


def asked(server: LocalCycles, tenant: str = "acme") -> list[Mapping[str, str]]:
    """The queries of the requests for a tenant's balances."""
    return [each.query for each in server.requests if each.operation == "balances" and each.query["tenant"] == tenant]


async def poll_of(watched: Target, witness: Witness) -> Poll:
    """One poll."""
    poller = Poller(watched, witness.recorder, lambda _: None)
    try:
        return await poller.poll()
    finally:
        await poller.aclose()


class TestWhatIsShown:
    async def test_every_balance_of_the_tenant_is_as_in_the_ledger(self, server: LocalCycles, witness: Witness) -> None:
        server.set_budget("tenant:acme", spent=300, debt=20, overdraft_limit=50, is_over_limit=True)
        async with exporting(witness, target(server)):
            await is_up(witness)
        budgets = {key: budget for key, budget in server.ledger().budgets.items() if key[0] != "tenant:globex"}
        assert len(budgets) == 3
        for field in ("allocated", "remaining", "reserved", "spent"):
            expected = {key: getattr(budget, field) for key, budget in budgets.items()}
            gauge = semconv.BUDGETS[field]
            assert by_budget(witness.series(gauge)) == by_budget(witness.otel_series(gauge)) == expected, field
        owing = ("tenant:acme", "USD_MICROCENTS")
        assert by_budget(witness.series(semconv.BUDGETS["debt"])) == {owing: 20}
        assert by_budget(witness.series(semconv.BUDGETS["overdraft_limit"])) == {owing: 50}
        assert by_budget(witness.series(semconv.BUDGET_OVER_LIMIT)) == {owing: 1}

    async def test_what_changes_is_shown_by_a_later_poll(self, server: LocalCycles, witness: Witness) -> None:
        async with exporting(witness, target(server)):
            await is_up(witness)
            server.set_budget("tenant:acme", spent=400)
            spent, key = semconv.BUDGETS["spent"], ("tenant:acme", "USD_MICROCENTS")
            await until(lambda: by_budget(witness.series(spent))[key] == 400)

    async def test_the_labels_are_those_that_the_application_shows(self, server: LocalCycles, witness: Witness) -> None:
        application = Witness()
        async with AsyncCyclesClient(server.config()) as client:
            observe_client(client, application.recorder)
            await client.create_event(requests.event(5, unit="TOKENS"))
        async with exporting(witness, target(server)):
            await is_up(witness)
        for gauge in (semconv.BUDGETS["remaining"], semconv.BUDGET_OBSERVED):
            assert application.series(gauge)
            assert application.series(gauge).keys() <= witness.series(gauge).keys()
        application.close()

    async def test_all_pages_are_read(self, witness: Witness) -> None:
        budgets = {f"tenant:acme/agent:a{number}": {"TOKENS": number} for number in range(1, 450)}
        crowded = Witness(max_values=1_000)
        with LocalCycles(budgets={"tenant:acme": {"TOKENS": 1_000}, **budgets}) as server:
            async with exporting(crowded, target(server)):
                await is_up(crowded)
            assert scopes(crowded) == {"tenant:acme", *budgets}
            assert crowded.total(semconv.EXPORTER_BALANCES) == 450
            assert ["cursor" in query for query in asked(server)[:3]] == [False, True, True]
            assert {query["limit"] for query in asked(server)} == {"200"}
        crowded.close()

    async def test_levels_below_the_tenant_narrow_it_down(self, server: LocalCycles, witness: Witness) -> None:
        async with exporting(witness, target(server, levels={"tenant": "acme", "agent": "triage"})):
            await is_up(witness)
        assert scopes(witness) == {"tenant:acme/agent:triage"}

    async def test_the_tenant_of_a_key_is_found_out_where_none_is_given(
        self, server: LocalCycles, witness: Witness
    ) -> None:
        async with exporting(witness, target(server, "globex", name="mine", levels={})):
            await is_up(witness, name="mine")
            await polled(witness, "mine", times=2)
        assert scopes(witness) == {"tenant:globex"}
        assert [each.operation for each in server.requests].count("list") == 1

    async def test_each_request_has_a_span(self, server: LocalCycles, witness: Witness) -> None:
        async with exporting(witness, target(server)):
            await polled(witness, times=2)
        assert {span.name for span in witness.client_spans} == {"balances"}
        assert witness.total(semconv.OPERATION_DURATION, "_count", cycles_operation_name="balances") >= 2


class TestSeveralTargets:
    async def test_each_tenant_is_polled_with_its_own_key(self, server: LocalCycles, witness: Witness) -> None:
        async with exporting(witness, target(server), target(server, "globex")):
            await is_up(witness)
            await is_up(witness, name="globex")
        assert scopes(witness) == {"tenant:acme", "tenant:acme/agent:triage", "tenant:globex"}

    async def test_two_servers_are_polled_at_once(self, server: LocalCycles, witness: Witness) -> None:
        with LocalCycles(budgets={"tenant:initech": {"CREDITS": 5}}) as other:
            async with exporting(witness, target(server), target(other, "initech")):
                await is_up(witness)
                await is_up(witness, name="initech")
        assert scopes(witness) >= {"tenant:acme", "tenant:initech"}

    async def test_one_that_is_down_leaves_the_others_alone(self, server: LocalCycles, witness: Witness) -> None:
        wrong = target(server, "globex", key=ApiKey("key", "cyc_test_wrong"))
        async with exporting(witness, wrong, target(server)):
            await is_up(witness, 0, name="globex")
            await polled(witness, times=3)
            assert up(witness) == {"globex": 0, "acme": 1}
        assert scopes(witness) == {"tenant:acme", "tenant:acme/agent:triage"}

    async def test_a_server_that_hangs_has_one_request_of_a_target_and_holds_up_nobody(
        self, server: LocalCycles, witness: Witness
    ) -> None:
        with LocalCycles(budgets={"tenant:initech": {"CREDITS": 5}}) as hanging, hanging.hold("balances") as hold:
            async with exporting(witness, target(hanging, "initech"), target(server)):
                await hold.arrived()
                await polled(witness, times=10)
                assert len(hanging.requests) == 1
                hold.release()
                await is_up(witness, name="initech")


class TestFailures:
    @pytest.mark.parametrize(
        ("fault", "error_type"),
        [
            ({"status": 500}, "INTERNAL_ERROR"),
            ({"status": 503, "body": "<html>no healthy upstream</html>"}, "503"),
            ({"body": "<html>please log in</html>"}, "_OTHER"),
            ({"body": {"message": "hello"}}, "_OTHER"),
            ({"body": {"balances": "none"}}, "_OTHER"),
            ({"body": {"balances": [], "has_more": True, "next_cursor": None}}, "_OTHER"),
            ({"status": 401}, "UNAUTHORIZED"),
            ({"status": 429}, "LIMIT_EXCEEDED"),
            ({"status": 302, "headers": {"Location": "https://login.example"}, "body": "moved"}, "302"),
            ({"drop": "before"}, "connection_error"),
        ],
    )
    async def test_a_poll_that_fails_is_counted_by_its_error_and_the_target_is_down(
        self, server: LocalCycles, witness: Witness, fault: dict[str, Any], error_type: str
    ) -> None:
        server.inject(Fault(operation="balances", times=None, **fault))
        async with exporting(witness, target(server)):
            await polled(witness, times=2, error_type=error_type)
            assert up(witness) == {"acme": 0}
            assert not witness.series(semconv.EXPORTER_LAST_SUCCESS)
            server.clear_faults()
            await is_up(witness)

    async def test_an_answer_that_does_not_come_in_time_is_a_timeout(
        self, server: LocalCycles, witness: Witness
    ) -> None:
        impatient = target(server, pace=PACE.with_changes({"timeout": 0.1}, str))
        with server.hold("balances"):
            async with exporting(witness, impatient):
                await polled(witness, times=2, error_type="timeout")

    async def test_pages_that_go_round_in_a_circle_are_left(self, server: LocalCycles, witness: Witness) -> None:
        page = {"balances": [], "has_more": True, "next_cursor": "again"}
        server.inject(Fault(operation="balances", body=page, times=None))
        async with exporting(witness, target(server)):
            await polled(witness, error_type="_OTHER")

    async def test_pages_that_take_longer_than_their_values_count_are_given_up(self, witness: Witness) -> None:
        pace = PACE.with_changes({"interval": 0.1, "stale_after": 1}, str)
        budgets = {f"tenant:acme/agent:a{number}": {"TOKENS": 1} for number in range(650)}
        with LocalCycles(budgets=budgets) as server:
            server.inject(Fault(operation="balances", delay=0.2, times=None))
            poll = await poll_of(target(server, pace=pace), witness)
            assert poll == Poll(error_type="timeout", message="not all pages within 0.1 s")
            assert len(server.requests) == 1

    @pytest.mark.parametrize(
        ("fault", "refused", "retry_after"),
        [
            ({"status": 401}, True, None),
            ({"status": 400}, True, None),
            ({"status": 429, "headers": {"Retry-After": "7"}}, False, 7.0),
            ({"status": 503, "headers": {"Retry-After": "9"}}, False, 9.0),
            ({"body": "<html>"}, False, None),
            ({"drop": "before"}, False, None),
        ],
    )
    async def test_a_refusal_is_told_from_the_lack_of_an_answer(
        self, server: LocalCycles, witness: Witness, fault: dict[str, Any], refused: bool, retry_after: float | None
    ) -> None:
        server.inject(Fault(operation="balances", **fault))
        poll = await poll_of(target(server), witness)
        assert (poll.worked, poll.refused, poll.retry_after) == (False, refused, retry_after)

    async def test_a_page_that_came_before_one_that_failed_is_shown(self, witness: Witness) -> None:
        budgets = {f"tenant:acme/agent:a{number}": {"TOKENS": 1} for number in range(250)}
        crowded = Witness(max_values=1_000)
        with LocalCycles(budgets=budgets) as server:
            server.inject(Fault(operation="balances", status=500, after=1, times=None))
            async with exporting(crowded, target(server)):
                await is_up(crowded, 0)
            assert len(scopes(crowded)) == 200
        crowded.close()

    async def test_the_last_values_stay_while_they_are_not_stale(self, server: LocalCycles, witness: Witness) -> None:
        async with exporting(witness, target(server)):
            await is_up(witness)
            server.inject(Fault(operation="balances", status=503, times=None))
            await is_up(witness, 0)
            assert scopes(witness) == {"tenant:acme", "tenant:acme/agent:triage"}
            assert witness.total(semconv.EXPORTER_BALANCES) == 3

    async def test_a_server_that_asks_to_be_left_alone_is(self, server: LocalCycles, witness: Witness) -> None:
        with LocalCycles(budgets={"tenant:initech": {"CREDITS": 5}}) as busy:
            busy.inject(Fault(operation="balances", status=429, headers={"Retry-After": "60"}))
            async with exporting(witness, target(busy, "initech"), target(server)):
                await is_up(witness, 0, name="initech")
                await polled(witness, times=20)
                assert len(busy.requests) == 1

    async def test_a_fault_of_our_own_does_not_end_the_polling(self, server: LocalCycles, witness: Witness) -> None:
        class Lost(ApiKey):
            def read(self) -> str:
                raise RuntimeError("a defect")

        async with exporting(witness, target(server, "globex", key=Lost("key", "x")), target(server)):
            await polled(witness, "globex", times=2, error_type="_OTHER")
            await is_up(witness)


class TestLog:
    async def test_a_refused_key_is_named_once_with_what_to_look_at_and_never_shown(
        self, server: LocalCycles, witness: Witness, caplog: pytest.LogCaptureFixture
    ) -> None:
        key = "cyc_test_wrong_0123456789"
        with caplog.at_level(logging.DEBUG):
            async with exporting(witness, target(server, key=ApiKey("key", key))):
                await polled(witness, times=3, error_type="UNAUTHORIZED")
        warnings = [each.getMessage() for each in caplog.records if each.name == "cycles_otel"]
        assert len(warnings) == 1
        assert warnings[0].startswith(f"Target acme is down: UNAUTHORIZED from {server.url}")
        assert warnings[0].endswith("; look at the key and its tenant")
        assert key not in caplog.text

    async def test_a_server_that_says_the_key_does_not_get_it_into_the_log(
        self, server: LocalCycles, witness: Witness, caplog: pytest.LogCaptureFixture
    ) -> None:
        key = server.api_key_for("acme")
        body = {"error": "FORBIDDEN", "message": f"no such key:\n{key}"}
        server.inject(Fault(operation="balances", status=403, body=body, times=None))
        async with exporting(witness, target(server)):
            await is_up(witness, 0)
        assert "no such key: (the key)" in caplog.text
        assert key not in caplog.text

    async def test_each_change_is_said_once(
        self, server: LocalCycles, witness: Witness, caplog: pytest.LogCaptureFixture
    ) -> None:
        with caplog.at_level(logging.INFO, logger="cycles_otel"):
            async with exporting(witness, target(server)):
                await polled(witness, times=2)
                server.inject(Fault(operation="balances", status=503, times=None))
                await polled(witness, times=2, error_type="INTERNAL_ERROR")
                server.clear_faults()
                await is_up(witness)
                await polled(witness, times=2)
        said = [each.getMessage().split(" from ")[0] for each in caplog.records if each.name == "cycles_otel"]
        assert said == [
            "Target acme is up: 3 balances",
            "Target acme is down: INTERNAL_ERROR",
            "Target acme is up: 3 balances",
        ]

    async def test_more_budgets_than_are_shown_are_said_once(
        self, server: LocalCycles, caplog: pytest.LogCaptureFixture
    ) -> None:
        witness = Witness(max_values=1, max_series=1)
        async with exporting(witness, target(server), max_budgets=1):
            await polled(witness, times=3)
        assert caplog.text.count("There are more than 1 budgets: not all are shown") == 1
        assert len(witness.series(semconv.BUDGET_OBSERVED)) == 1
        witness.close()


class TestKeyInAFile:
    async def test_it_may_be_replaced_while_the_exporter_runs(
        self, server: LocalCycles, witness: Witness, tmp_path: Path
    ) -> None:
        file = tmp_path / "key"
        file.write_text("cyc_test_of_yesterday\n")
        async with exporting(witness, target(server, key=ApiKeyFile("key", str(file)))):
            await is_up(witness, 0)
            file.write_text(server.api_key_for("acme") + "\n")
            await is_up(witness)

    async def test_the_last_key_counts_while_the_file_is_gone_or_empty(self, tmp_path: Path) -> None:
        file = tmp_path / "key"
        file.write_text("cyc_test_first")
        key = ApiKeyFile("key", str(file))
        file.write_text("")
        assert key.read() == "cyc_test_first"
        file.unlink()
        assert key.read() == "cyc_test_first"
        file.write_text("cyc_test_second")
        assert key.read() == "cyc_test_second"
