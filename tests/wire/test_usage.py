"""What the real models report as used, by either API, streamed or not, is what is charged: to the microcent."""

from __future__ import annotations

from typing import Any

import pytest
from agents import ModelSettings, RunConfig, function_tool

from cycles_otel.local import LocalCycles
from cycles_otel.telemetry import semconv
from tests.run.desk import hooks_of
from tests.wire.answers import Answer, Call, Tokens
from tests.wire.line import COST, ESTIMATE, USED, Line, cost

WITH_USAGE = ModelSettings(include_usage=True)
"""Chat completions report the usage of a stream only where that is asked for; the Responses API always does."""


@function_tool
def look_up(topic: str) -> str:
    """Look something up."""
    return f"all about {topic}"


class TestOneCall:
    async def test_it_is_charged_what_its_usage_costs_rounded_up(self, line: Line) -> None:
        line.stub.will(Answer("hello", usage=USED))
        result = await line.run(line.agent(model_settings=WITH_USAGE))
        assert result.final_output == "hello"
        assert await line.charged_microcents() == COST == cost(USED)
        assert line.settled("committed", "price") == 1

    async def test_each_type_of_token_is_counted(self, line: Line) -> None:
        line.stub.will(Answer(usage=USED))
        await line.run(line.agent(model_settings=WITH_USAGE))
        await line.all_settled()
        counted = {kind: line.tokens(kind) for kind in ("input", "output", "cached", "reasoning")}
        assert counted == {"input": 1_501, "output": 127, "cached": 1_025, "reasoning": 64}

    async def test_its_usage_stands_in_the_ledger(self, line: Line) -> None:
        line.stub.will(Answer(usage=USED))
        await line.run(line.agent(model_settings=WITH_USAGE))
        await line.all_settled()
        (call,) = line.llm_calls
        assert call.commit_metrics is not None
        assert call.commit_metrics.items() >= {"tokens_input": 1_501, "tokens_output": 127}.items()

    async def test_in_tokens_it_is_charged_input_and_output(self, line: Line, server: LocalCycles) -> None:
        line.stub.will(Answer(usage=USED))
        async with hooks_of(server) as line.hooks:
            await line.run(line.agent(model_settings=WITH_USAGE))
            assert await line.charged() == (USED.total, 0)


class TestToolLoop:
    async def test_each_call_is_charged_its_own_usage_and_the_tool_its_points(self, line: Line) -> None:
        first, second = Tokens(700, 31, cached=129), Tokens(1_900, 77, cached=641, reasoning=13)
        line.stub.will(Answer(calls=(Call("look_up", {"topic": "whales"}),), usage=first), Answer(usage=second))
        await line.run(line.agent(look_up, model_settings=WITH_USAGE))
        await line.all_settled()
        assert [each.charged for each in line.llm_calls] == [cost(first), cost(second)]
        assert line.ledger.charged("RISK_POINTS") == 1
        assert "all about whales" in str(line.stub.requests[1].body)

    async def test_tools_called_in_one_turn_are_charged_each(self, line: Line) -> None:
        calls = tuple(Call("look_up", {"topic": topic}) for topic in ("whales", "gulls", "seals"))
        line.stub.will(Answer(calls=calls, usage=USED), Answer(usage=USED))
        await line.run(line.agent(look_up, model_settings=WITH_USAGE))
        assert await line.charged_microcents() == 2 * COST
        assert line.ledger.charged("RISK_POINTS") == 3


class TestNoUsage:
    async def test_an_answer_that_reports_none_is_charged_the_estimate_and_counted_so(self, line: Line) -> None:
        line.stub.will(Answer(usage=None))
        await line.run(line.agent(model_settings=WITH_USAGE))
        assert await line.charged_microcents() == ESTIMATE
        assert line.settled("committed", "estimate") == 1
        assert line.tokens("input") == line.tokens("output") == 0

    async def test_it_is_not_taken_for_a_model_without_a_price(self, line: Line) -> None:
        line.stub.will(Answer(usage=None))
        await line.run(line.agent(model_settings=WITH_USAGE))
        await line.all_settled()
        assert line.witness.total(semconv.PRICE_UNKNOWN) == 0


@pytest.mark.parametrize("api", ["chat"], indirect=True)
@pytest.mark.parametrize("streamed", ["streamed"], indirect=True)
class TestIncludeUsage:
    """Chat completions in a stream, which is where a program can forget to ask for the usage."""

    @pytest.mark.parametrize("setting", [{}, {"include_usage": False}], ids=["unset", "off"])
    async def test_without_it_the_estimate_is_charged(self, line: Line, setting: dict[str, Any]) -> None:
        line.stub.will(Answer(usage=USED))
        await line.run(line.agent(model_settings=ModelSettings(**setting)))
        assert await line.charged_microcents() == ESTIMATE
        assert line.settled("committed", "estimate") == 1

    async def test_set_for_the_run_the_price_is_charged(self, line: Line) -> None:
        line.stub.will(Answer(usage=USED))
        await line.run(line.agent(), run_config=RunConfig(model_settings=WITH_USAGE))
        assert line.stub.requests[0].body["stream_options"] == {"include_usage": True}
        assert await line.charged_microcents() == COST
        assert line.settled("committed", "price") == 1


class TestUnpriced:
    async def test_a_model_without_a_price_is_charged_the_estimate_and_shouts(self, line: Line) -> None:
        line.stub.will(Answer(usage=USED))
        await line.run(line.agent(model="in-house-1", model_settings=WITH_USAGE))
        assert await line.charged_microcents() == ESTIMATE
        assert line.witness.total(semconv.PRICE_UNKNOWN, gen_ai_request_model="in-house-1") == 1
        assert line.tokens("input") == USED.input
