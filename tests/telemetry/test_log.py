"""Log records: one for what needs attention, with the trace that it belongs to; none for what goes well."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest
from agents import function_tool
from runcycles import BudgetExceededError

from cycles_otel.local import Fault, LocalCycles
from tests.run.desk import AMPLE, Desk, agent, calls, hooks_of, says
from tests.telemetry.witness import Witness, span_id

EXTRA = {"event", "reason", "trace_id", "span_id", "action_kind", "action_name", "agent", "tenant", "run_id"}
REFUSED = {"error": "INVALID_REQUEST", "message": "no", "request_id": "r"}
NORMAL = 5


@pytest.fixture
async def desk(witness: Witness) -> AsyncIterator[Desk]:
    with LocalCycles(budgets={"tenant:acme": AMPLE}) as server:
        async with hooks_of(server, recorder=witness.recorder) as hooks:
            yield Desk(server, hooks)


@pytest.fixture(autouse=True)
def _everything_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "cycles_otel")


def told(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    """What the records of the package above DEBUG hold beside their messages."""
    mine = [each for each in caplog.records if each.name == "cycles_otel" and each.levelno > logging.DEBUG]
    return [{name: vars(record)[name] for name in EXTRA if name in vars(record)} for record in mine]


async def mixed_workload(desk: Desk) -> None:
    """Runs that go well, of an agent whose model calls tools, then one each of what does not."""
    for number in range(NORMAL):
        await desk.run(agent(calls(10 + number, "note"), says(20), tools=[note()]))
    await desk.all_settled()
    desk.server.inject(Fault("reserve", status=503, times=2))
    await desk.run(agent(says(30), name="unguarded"))
    await desk.all_settled()
    desk.server.inject(Fault("commit", status=400, body=REFUSED))
    desk.server.inject(Fault("event", status=400, body=REFUSED))
    await desk.run(agent(says(40), name="refused"))
    desk.server.set_budget("tenant:acme", "TOKENS", allocated=1)
    for _ in range(2):
        with pytest.raises(BudgetExceededError):
            await desk.run(agent(says(50), name="poor"))


def note() -> Any:

    return function_tool(lambda: "noted", name_override="note", description_override="Note.")


class TestRecords:
    async def test_each_step_that_needs_attention_has_one_and_no_other_step_has_any(
        self, desk: Desk, caplog: pytest.LogCaptureFixture
    ) -> None:
        await mixed_workload(desk)
        assert Counter((each["event"], each["reason"], each["agent"]) for each in told(caplog)) == {
            ("denied", "BUDGET_EXCEEDED", "poor"): 2,
            ("unenforced", "INTERNAL_ERROR", "unguarded"): 1,
            ("settlement_failed", "lost", "refused"): 1,
        }

    async def test_each_names_its_step_its_run_and_the_span_that_tells_more(
        self, desk: Desk, witness: Witness, caplog: pytest.LogCaptureFixture
    ) -> None:
        await mixed_workload(desk)
        spans = {f"{span_id(span):016x}": span for span in witness.spans}
        assert len(told(caplog)) == 4
        for each in told(caplog):
            assert set(each) == EXTRA
            assert (each["action_kind"], each["tenant"]) == ("llm.completion", "acme")
            assert each["run_id"]
            span = spans[each["span_id"]]
            assert span.name == "cycles.reservation llm.completion"
            context = span.get_span_context()
            assert context is not None
            assert f"{context.trace_id:032x}" == each["trace_id"]

    async def test_the_package_installs_no_handler(self, desk: Desk) -> None:
        await mixed_workload(desk)
        assert logging.getLogger("cycles_otel").handlers == []
