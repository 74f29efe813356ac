"""A value that is known no longer disappears, rather than lies."""

from __future__ import annotations

from pathlib import Path

from cycles_otel.exporter.freshness import Freshness
from cycles_otel.local import Fault, Key, LocalCycles
from cycles_otel.telemetry import semconv
from tests.exporter.conftest import BUDGETS
from tests.exporter.watching import PACE, delete_budgets, exporting, is_up, polled, scopes, target, up
from tests.run.desk import until
from tests.telemetry.witness import Witness

SOON_STALE = PACE.with_changes({"stale_after": 10}, str)
ACME = {"tenant:acme", "tenant:acme/agent:triage"}
TOKENS = ("tenant:acme", "TOKENS")


class TestBudgets:
    async def test_one_that_was_deleted_disappears_from_every_gauge_and_the_others_stay(
        self, server: LocalCycles, witness: Witness, db: Path
    ) -> None:
        async with exporting(witness, target(server, pace=SOON_STALE)):
            await until(lambda: scopes(witness) == ACME)
            delete_budgets(db, ["tenant:acme/agent:triage"])
            await until(lambda: scopes(witness) == {"tenant:acme"})
            await polled(witness, times=10)
            assert up(witness) == {"acme": 1}
            for gauge in (*semconv.BUDGETS.values(), semconv.BUDGET_OBSERVED):
                assert scopes(witness, gauge) <= {"tenant:acme"}, gauge.name
            sent = {dict(labels)["cycles_scope_path"] for labels in witness.otel_series(semconv.BUDGET_OBSERVED)}
            assert sent <= {"tenant:acme"}
            assert witness.total(semconv.EXPORTER_EXPIRED) >= 1
            assert witness.total(semconv.EXPORTER_BALANCES) == 2

    async def test_those_of_a_server_that_is_down_disappear_and_come_back_with_it(self, witness: Witness) -> None:
        keys = [Key("mine", "acme", secret="cyc_test_0123456789abcdef")]
        with LocalCycles(budgets=BUDGETS, keys=keys) as first:
            port, watched = int(first.url.rpartition(":")[2]), target(first, pace=SOON_STALE)
            async with exporting(witness, watched):
                await until(lambda: scopes(witness) == ACME)
                seen = witness.total(semconv.EXPORTER_LAST_SUCCESS)
                first.stop()
                await is_up(witness, 0)
                await until(lambda: not scopes(witness))
                assert witness.total(semconv.EXPORTER_LAST_SUCCESS) >= seen > 0
                with LocalCycles(budgets=BUDGETS, keys=keys, port=port):
                    await is_up(witness)
                    await until(lambda: scopes(witness) == ACME)

    async def test_those_of_another_target_stay(self, server: LocalCycles, witness: Witness) -> None:
        with LocalCycles(budgets={"tenant:initech": {"CREDITS": 5}}) as other:
            async with exporting(witness, target(server, pace=SOON_STALE), target(other, "initech", pace=SOON_STALE)):
                await until(lambda: scopes(witness) == {*ACME, "tenant:initech"})
                server.inject(Fault(operation="balances", status=500, times=None))
                await until(lambda: scopes(witness) == {"tenant:initech"})
                await polled(witness, "initech", times=10)
                assert not scopes(witness) & ACME

    async def test_scopes_that_come_and_go_do_not_use_the_guard_up(self, db: Path) -> None:
        witness = Witness(max_values=2, max_series=4)
        budgets = {"tenant:acme": {"TOKENS": 1}, "tenant:acme/agent:old": {"TOKENS": 1}}
        with LocalCycles(budgets=budgets, db=db) as server:
            async with exporting(witness, target(server, pace=SOON_STALE)):
                await until(lambda: len(scopes(witness)) == 2)
                delete_budgets(db, budgets)
                await until(lambda: not scopes(witness))
        with LocalCycles(budgets={"tenant:acme/agent:new": {"TOKENS": 1}}) as server:
            async with exporting(witness, target(server)):
                await until(lambda: scopes(witness) == {"tenant:acme/agent:new"})
        assert witness.total(semconv.TELEMETRY_DROPPED) == 0
        witness.close()


class TestFreshness:
    def test_a_budget_counts_until_its_time_is_over_and_is_told_once(self) -> None:
        freshness = Freshness()
        freshness.seen([TOKENS], until=10.0)
        assert freshness.expired(9.9) == []
        assert TOKENS in freshness
        assert freshness.expired(10.0) == [TOKENS]
        assert freshness.expired(11.0) == []
        assert TOKENS not in freshness

    def test_seeing_it_again_makes_it_count_for_longer(self) -> None:
        freshness = Freshness()
        freshness.seen([TOKENS], until=10.0)
        freshness.seen([TOKENS], until=20.0)
        assert freshness.expired(15.0) == []

    def test_of_two_targets_that_see_it_the_more_patient_one_counts(self) -> None:
        freshness = Freshness()
        freshness.seen([TOKENS], until=20.0)
        freshness.seen([TOKENS], until=10.0)
        assert freshness.expired(15.0) == []

    def test_it_says_when_the_next_one_is_over(self) -> None:
        freshness = Freshness()
        assert freshness.next_expiry() is None
        freshness.seen([TOKENS], until=20.0)
        freshness.seen([("tenant:b", "TOKENS")], until=10.0)
        assert freshness.next_expiry() == 10.0
