"""Each example runs with nothing, and for real; the figures that it prints are those of the ledger."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from cycles_otel.local import LocalCycles
from tests.examples.playing import EXAMPLES, ROOT, Figures, Played, play
from tests.wire.answers import Answer, Call, Tokens
from tests.wire.line import cost
from tests.wire.stub import Stub

TENANT = "tenant:acme"


@pytest.fixture
def stub() -> Iterator[Stub]:
    with Stub() as stub:
        yield stub


class TestWithNothing:
    """The budgets are in the example's own process: what they must be follows from its script, by hand."""

    def test_basic_budget_denies_the_fourth_question(self, stub: Stub) -> None:
        played = play("basic_budget", stub)
        assert played.output.count("tokens]") == 3
        assert "And if somebody spends all the same?\n  DENIED before the model was called" in played.output
        assert "1000 TOKENS" in played.output
        assert played.budgets == {(TENANT, "TOKENS"): Figures(3_000, 755 + 893 + 1_052, 300)}
        assert stub.requests == []

    def test_tool_governance_denies_the_third_e_mail_but_not_the_cheaper_tools(self, stub: Stub) -> None:
        played = play("tool_governance", stub)
        assert played.output.count("update_crm:") == 3
        assert played.output.count("send_email:") == 2
        assert "DENIED before the tool ran: The tool call 'send_email'" in played.output
        llm = 3 * (11_700 + 13_500 + 16_350) + 2 * 15_300
        assert played.budgets == {
            (TENANT, "RISK_POINTS"): Figures(130, 2 * 60 + 10, 0),
            (TENANT, "USD_MICROCENTS"): Figures(10_000_000, llm, 10_000_000 - llm),
        }
        assert stub.requests == []

    def test_multi_agent_denies_the_third_ticket_before_any_agent_begins(self, stub: Stub) -> None:
        played = play("multi_agent", stub)
        assert "DENIED before any agent began: BUDGET_EXCEEDED" in played.output
        assert agents_of(played) == {"triage": 29_190 + 29_370, "billing": 59_250, "technical": 82_860}
        spent = sum(agents_of(played).values())
        assert played.budgets == {
            (TENANT, "RISK_POINTS"): Figures(100, 0, 100),
            (TENANT, "USD_MICROCENTS"): Figures(400_000, spent, 400_000 - spent),
        }
        assert stub.requests == []


class TestForReal:
    """OpenAI is the stub, and Cycles a server outside of the example's process, whose ledger can be read."""

    def test_basic_budget_prints_what_the_ledger_holds(self, stub: Stub) -> None:
        used = [Tokens(1_200, 333), Tokens(900, 77)]
        stub.will(*(Answer(f"Answer {number}.", usage=each) for number, each in enumerate(used)))
        with LocalCycles(budgets={TENANT: {"TOKENS": 3_400}}) as server:
            played = play("basic_budget", stub, server)
            assert "Answer 0.  [1,533 tokens]" in played.output
            assert "Who grants it?\n  Answer 1.  [977 tokens]" in played.output
            assert "used up?\n  DENIED before the model was called" in played.output
            assert server.ledger().budget(TENANT, "TOKENS").spent == 1_533 + 977
            prints_the_ledger(played, server)
        assert {each.body["model"] for each in stub.requests} == {"gpt-4o-mini"}
        assert len(stub.requests) == 2

    def test_tool_governance_prints_what_the_ledger_holds(self, stub: Stub) -> None:
        used = Tokens(1_111, 45, cached=641)
        update = Call("update_crm", {"customer": "Ada", "note": "refund granted"})
        send = Call("send_email", {"customer": "Ada", "text": "It is on its way."})
        stub.will(Answer(calls=(update,), usage=used), Answer(calls=(send,), usage=used))
        with LocalCycles(budgets={TENANT: {"RISK_POINTS": 59, "USD_MICROCENTS": 5_000_000}}) as server:
            played = play("tool_governance", stub, server)
            assert "update_crm: refund granted (Ada)" in played.output
            assert "send_email:" not in played.output
            assert "DENIED before the tool ran: The tool call 'send_email'" in played.output
            assert server.ledger().budget(TENANT, "RISK_POINTS").spent == 10
            assert server.ledger().budget(TENANT, "USD_MICROCENTS").spent == 2 * cost(used)
            prints_the_ledger(played, server)

    def test_multi_agent_prints_what_the_ledger_holds_and_what_each_agent_spent(self, stub: Stub) -> None:
        triage, billing, technical = Tokens(1_000, 20), Tokens(2_000, 301), Tokens(3_003, 400, cached=1_025)
        stub.will(*(answer for _ in range(3) for answer in handing_over("billing", triage, billing)))
        stub.script[2:4] = handing_over("technical", triage, technical)
        with LocalCycles(budgets={TENANT: {"RISK_POINTS": 5, "USD_MICROCENTS": 10_000_000}}) as server:
            played = play("multi_agent", stub, server)
            assert "DENIED" not in played.output
            spent = {"triage": 3 * cost(triage), "billing": 2 * cost(billing), "technical": cost(technical)}
            assert agents_of(played) == spent
            assert server.ledger().budget(TENANT, "USD_MICROCENTS").spent == sum(spent.values())
            handoffs = [event.action["name"] for event in server.ledger().events]
            assert sorted(handoffs) == ["billing", "billing", "technical"]
            prints_the_ledger(played, server)

    def test_multi_agent_ends_half_way_where_the_budget_does(self, stub: Stub) -> None:
        triage = Tokens(13_000, 20)
        stub.will(*handing_over("billing", triage, Tokens(1, 1)))
        with LocalCycles(budgets={TENANT: {"RISK_POINTS": 5, "USD_MICROCENTS": 260_000}}) as server:
            played = played_step_by_step("multi_agent", stub, server)
            assert "charged twice.\n  DENIED half way: The LLM call 'gpt-4o-mini'" in played.output
            assert agents_of(played) == {"triage": cost(triage)}
            prints_the_ledger(played, server)


class TestTheFolder:
    def test_every_example_is_tested_listed_and_run_by_make(self) -> None:
        there = {path.stem for path in (ROOT / "examples").glob("*.py")} - {"stage"}
        readme = (ROOT / "examples" / "README.md").read_text(encoding="utf-8")
        makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
        assert there == set(EXAMPLES)
        assert all(f"({example}.py)" in readme for example in EXAMPLES)
        assert " ".join(EXAMPLES) in makefile


def played_step_by_step(example: str, stub: Stub, server: LocalCycles) -> Played:
    """Run an example whose second reserve finds the first one settled, however slow the machine is."""
    with ThreadPoolExecutor(1) as pool, ExitStack() as second:
        with server.hold("reserve") as first:
            playing = pool.submit(play, example, stub, server)
            first.wait(timeout=60)
            second.enter_context(server.hold("reserve"))
        while not server.ledger().committed and not playing.done():
            time.sleep(0.01)
        second.close()
        return playing.result()


def handing_over(to: str, triage: Tokens, specialist: Tokens) -> list[Answer]:
    """What the agents answer to one ticket."""
    return [Answer(calls=(Call(f"transfer_to_{to}"),), usage=triage), Answer("It is mended.", usage=specialist)]


def prints_the_ledger(played: Played, server: LocalCycles) -> None:
    """See that every budget was printed as the ledger holds it."""
    budgets = server.ledger().budgets
    held = {key: Figures(budget.allocated, budget.spent, budget.remaining) for key, budget in budgets.items()}
    assert played.budgets == held


def agents_of(played: Played) -> Mapping[str, int]:
    """What each agent spent, in microcents, as it was printed."""
    lines = re.findall(r"^(\w+): ([\d,]+) USD_MICROCENTS spent$", played.output, re.MULTILINE)
    return {agent: int(amount.replace(",", "")) for agent, amount in lines}
