"""The whole tree of spans of a run, where nothing else makes spans. Beside instrumentations: ``tests/beside``."""

from __future__ import annotations

import pytest
from agents import Runner
from agents.testing import ModelCall, ModelStep
from inline_snapshot import snapshot
from runcycles import BudgetExceededError

from cycles_otel.local import Fault, LocalCycles
from tests.run.desk import AMPLE, agent, hooks_of, says, until
from tests.telemetry.scenarios import Scenario, concurrent, guarded, play, streamed_team, team, within_a_span
from tests.telemetry.span_tree import tree
from tests.telemetry.witness import Witness


async def tree_of(scenario: Scenario, witness: Witness) -> str:
    await play(scenario, witness.recorder, witness.provider.get_tracer("program"))
    return tree(witness.spans)


class TestAlone:
    @pytest.mark.parametrize("scenario", [team, streamed_team])
    async def test_nested_agents_parallel_tools_and_handoffs_are_below_the_run(
        self, witness: Witness, scenario: Scenario
    ) -> None:
        assert await tree_of(scenario, witness) == snapshot("""\
cycles.run desk agent=desk outcome=completed
  cycles.reservation llm.completion agent=closer outcome=committed
    commit llm.completion CLIENT
    reserve llm.completion CLIENT decision=ALLOW
  cycles.reservation llm.completion agent=desk outcome=committed
    commit llm.completion CLIENT
    reserve llm.completion CLIENT decision=ALLOW
  cycles.reservation llm.completion agent=desk outcome=committed
    commit llm.completion CLIENT
    reserve llm.completion CLIENT decision=ALLOW
  cycles.reservation llm.completion agent=helper outcome=committed
    commit llm.completion CLIENT
    reserve llm.completion CLIENT decision=ALLOW
  cycles.reservation llm.completion agent=helper outcome=committed
    commit llm.completion CLIENT
    reserve llm.completion CLIENT decision=ALLOW
  cycles.reservation tool.invoke agent=desk tool=ask_helper outcome=committed
    commit tool.invoke CLIENT
    reserve tool.invoke CLIENT decision=ALLOW
  cycles.reservation tool.invoke agent=desk tool=look_up outcome=committed
    commit tool.invoke CLIENT
    reserve tool.invoke CLIENT decision=ALLOW
  cycles.reservation tool.invoke agent=desk tool=look_up outcome=committed
    commit tool.invoke CLIENT
    reserve tool.invoke CLIENT decision=ALLOW
  cycles.reservation tool.invoke agent=helper tool=look_up outcome=committed
    commit tool.invoke CLIENT
    reserve tool.invoke CLIENT decision=ALLOW
  event agent.handoff CLIENT\
""")

    async def test_runs_at_once_have_a_trace_each(self, witness: Witness) -> None:
        assert await tree_of(concurrent, witness) == snapshot("""\
cycles.run left agent=left outcome=completed
  cycles.reservation llm.completion agent=left outcome=committed
    commit llm.completion CLIENT
    reserve llm.completion CLIENT decision=ALLOW
  cycles.reservation llm.completion agent=left outcome=committed
    commit llm.completion CLIENT
    reserve llm.completion CLIENT decision=ALLOW
  cycles.reservation tool.invoke agent=left tool=look_up outcome=committed
    commit tool.invoke CLIENT
    reserve tool.invoke CLIENT decision=ALLOW
cycles.run right agent=right outcome=completed
  cycles.reservation llm.completion agent=right outcome=committed
    commit llm.completion CLIENT
    reserve llm.completion CLIENT decision=ALLOW
  cycles.reservation llm.completion agent=right outcome=committed
    commit llm.completion CLIENT
    reserve llm.completion CLIENT decision=ALLOW
  cycles.reservation tool.invoke agent=right tool=look_up outcome=committed
    commit tool.invoke CLIENT
    reserve tool.invoke CLIENT decision=ALLOW\
""")

    async def test_a_guardrail_asks_within_the_run(self, witness: Witness) -> None:
        assert await tree_of(guarded, witness) == snapshot("""\
cycles.run guarded agent=guarded outcome=completed
  cycles.reservation llm.completion agent=guarded outcome=committed
    commit llm.completion CLIENT
    reserve llm.completion CLIENT decision=ALLOW
  decide agent.run CLIENT decision=ALLOW\
""")

    async def test_inside_of_a_span_of_the_program_a_run_has_none_of_its_own(self, witness: Witness) -> None:
        assert await tree_of(within_a_span, witness) == snapshot("""\
request
  afterwards
  cycles.reservation llm.completion agent=first outcome=committed
    commit llm.completion CLIENT
    reserve llm.completion CLIENT decision=ALLOW
  cycles.reservation llm.completion agent=first outcome=committed
    commit llm.completion CLIENT
    reserve llm.completion CLIENT decision=ALLOW
  cycles.reservation llm.completion agent=second outcome=committed
    commit llm.completion CLIENT
    reserve llm.completion CLIENT decision=ALLOW
  cycles.reservation llm.completion agent=second outcome=committed
    commit llm.completion CLIENT
    reserve llm.completion CLIENT decision=ALLOW
  cycles.reservation tool.invoke agent=first tool=look_up outcome=committed
    commit tool.invoke CLIENT
    reserve tool.invoke CLIENT decision=ALLOW
  cycles.reservation tool.invoke agent=second tool=look_up outcome=committed
    commit tool.invoke CLIENT
    reserve tool.invoke CLIENT decision=ALLOW\
""")


class TestLifeOfAReservation:
    async def test_heartbeats_and_every_try_are_below_it(self, witness: Witness) -> None:
        with LocalCycles(budgets={"tenant:acme": AMPLE}) as server:
            server.inject(Fault(operation="extend", status=503, times=1))
            server.inject(Fault(operation="commit", status=503, times=1))

            async def answer(_: ModelCall) -> ModelStep:
                await until(lambda: sum(each.operation == "extend" for each in server.requests) == 2)
                return says(10)

            async with hooks_of(server, recorder=witness.recorder, ttl_ms=2_000) as hooks:
                await Runner.run(agent(ModelStep.respond(answer)), "hello", hooks=hooks)
        assert tree(witness.spans) == snapshot("""\
cycles.run clerk agent=clerk outcome=completed
  cycles.reservation llm.completion agent=clerk outcome=committed !cycles.heartbeat_failed !cycles.retry
    commit llm.completion CLIENT error=INTERNAL_ERROR
    commit llm.completion CLIENT resent=1
    extend llm.completion CLIENT error=INTERNAL_ERROR
    extend llm.completion CLIENT resent=1
    reserve llm.completion CLIENT decision=ALLOW\
""")

    async def test_a_denial_is_an_event_of_it(self, witness: Witness) -> None:
        with LocalCycles(budgets={"tenant:acme": {"TOKENS": 5, "RISK_POINTS": 5}}) as server:
            async with hooks_of(server, recorder=witness.recorder) as hooks:
                with pytest.raises(BudgetExceededError):
                    await Runner.run(agent(says(10)), "hello", hooks=hooks)
        assert tree(witness.spans) == snapshot("""\
cycles.run clerk agent=clerk outcome=denied
  cycles.reservation llm.completion agent=clerk outcome=denied !cycles.denied
    reserve llm.completion CLIENT decision=DENY\
""")

    async def test_a_step_that_goes_without_an_answer_says_so(self, witness: Witness) -> None:
        with LocalCycles(budgets={"tenant:acme": AMPLE}) as server:
            server.inject(Fault(operation="reserve", status=503, times=9))
            async with hooks_of(server, recorder=witness.recorder) as hooks:
                await Runner.run(agent(says(10)), "hello", hooks=hooks)
        assert tree(witness.spans) == snapshot("""\
cycles.run clerk agent=clerk outcome=completed
  cycles.reservation llm.completion agent=clerk outcome=unenforced !cycles.retry !cycles.unenforced
    event llm.completion CLIENT
    reserve llm.completion CLIENT error=INTERNAL_ERROR
    reserve llm.completion CLIENT resent=1 error=INTERNAL_ERROR\
""")
