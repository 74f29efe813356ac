"""Serving the customers: what each run comes to, and that a seed repeats it."""

from __future__ import annotations

import asyncio

from cycles_otel.cli.demo.cases import Case, cases
from cycles_otel.cli.demo.workload import serve_customer
from tests.cli.desk import CUSTOMERS, SEED, Desk, open_desk

FEW = 32
"""Of so many customers four are of initech, whose money is enough for less than one."""


def of(tenant: str, customers: int = FEW, seed: int = SEED) -> list[Case]:
    return [case for case in cases(customers, seed) if case.tenant.name == tenant]


async def exhausted() -> tuple[list[str], int]:
    """Serve the customers of the tenant whose money runs out: the denials, and what was spent."""
    async with open_desk(FEW) as desk:
        await desk.serve(of("initech"))
        return desk.log.stories, desk.server.ledger().charged("USD_MICROCENTS")


class TestCases:
    def test_the_same_seed_asks_and_answers_the_same(self) -> None:
        first, second = cases(8, seed=3), cases(8, seed=3)
        assert first == second
        assert [[turn.usage for turn in turns] for case in first for turns in case.script().values()] == [
            [turn.usage for turn in turns] for case in second for turns in case.script().values()
        ]

    def test_another_seed_asks_something_else(self) -> None:
        assert [case.topic for case in cases(16, seed=3)] != [case.topic for case in cases(16, seed=4)]

    def test_a_later_round_goes_on_with_the_numbers(self) -> None:
        assert [case.number for case in cases(3, seed=1, first=9)] == [9, 10, 11]


class TestWorkload:
    def test_every_customer_is_served_whatever_becomes_of_the_others(self, worked: Desk) -> None:
        log = worked.log
        assert (log.came, log.answers, log.stops, log.refusals) == (CUSTOMERS, 2, 1, 1)
        assert log.served == CUSTOMERS

    def test_nothing_is_held_at_the_end(self, worked: Desk) -> None:
        assert worked.server.ledger().active == ()

    def test_a_tenant_that_runs_out_of_money_is_stopped_in_a_run_and_then_at_the_door(self) -> None:
        stories, spent = asyncio.run(exhausted())
        assert "denied an LLM call, would have cost about $0.0070 (BUDGET_EXCEEDED)" in stories[0]
        assert stories[1:] == [
            f"initech #{number}: turned away, would have cost about $0.0070 (BUDGET_EXCEEDED)"
            for number in (10, 18, 26)
        ]
        assert spent > 1_200_000 - 700_000
        assert asyncio.run(exhausted()) == (stories, spent)

    async def test_a_tenant_in_step_starts_no_llm_call_before_the_last_is_settled(self) -> None:
        (case, *_) = of("initech")
        async with open_desk(customers=8 * FEW) as desk:
            with desk.server.hold("commit") as commits:
                run = asyncio.create_task(serve_customer(case, desk.accounts["initech"], desk.log))
                await commits.arrived()
                await asyncio.wait([run], timeout=1.0)
                assert [each.operation for each in desk.server.requests].count("reserve") == 1
            await run
            assert desk.log.answers == 1
