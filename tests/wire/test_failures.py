"""A model that refuses, breaks off, is slow or is left: nothing stays held, and what was used is charged once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest
from agents import ModelBehaviorError, ModelRetrySettings, ModelSettings, RunResultStreaming, retry_policies
from openai import AsyncOpenAI
from runcycles import BudgetExceededError

from cycles_otel.local import LocalCycles
from cycles_otel.telemetry import semconv
from tests.run.desk import cancelled, until
from tests.wire.answers import Answer, Refusal
from tests.wire.line import COST, ESTIMATE, OPENAI_KEY, USED, Line
from tests.wire.stub import Stub

WITH_USAGE = ModelSettings(include_usage=True)
RETRIED_BY_THE_SDK = ModelSettings(
    include_usage=True,
    retry=ModelRetrySettings(
        max_retries=2, policy=retry_policies.http_status([429, 500]), backoff={"initial_delay": 0.0}
    ),
)
REFUSALS = {
    400: openai.BadRequestError,
    401: openai.AuthenticationError,
    429: openai.RateLimitError,
    500: openai.InternalServerError,
}
CONNECTION_LOST, TIMED_OUT = r"(?i)connection|peer closed", r"(?i)timed? ?out"
"""What errors of the transport say; their classes differ by the HTTP library that the client uses."""


async def released_with(line: Line, reason: str) -> None:
    """See that the one LLM call was given back for a reason, and nothing charged."""
    assert await line.charged_microcents() == 0
    (call,) = line.llm_calls
    assert (call.status, call.release_reason) == ("RELEASED", reason)
    assert line.settled("released") == 1


class TestRefusals:
    @pytest.mark.parametrize("status", REFUSALS)
    async def test_an_error_of_the_api_reaches_the_caller_and_gives_the_reservation_back(
        self, line: Line, status: int
    ) -> None:
        line.stub.will(Refusal(status))
        with pytest.raises(REFUSALS[status]):
            await line.run(line.agent())
        await released_with(line, "run_failed")
        assert line.witness.total(semconv.RUNS, cycles_run_outcome="failed") == 1

    async def test_a_run_goes_on_to_be_charged_after_one_that_was_refused(self, line: Line) -> None:
        line.stub.will(Refusal(500), Answer(usage=USED))
        agent = line.agent(model_settings=WITH_USAGE)
        with pytest.raises(openai.InternalServerError):
            await line.run(agent)
        await line.run(agent)
        assert await line.charged_microcents() == COST
        assert [call.status for call in line.llm_calls] == ["RELEASED", "COMMITTED"]


class TestRetries:
    @pytest.fixture
    async def patient(self, stub: Stub) -> AsyncIterator[AsyncOpenAI]:
        """A client that asks again by itself."""
        async with AsyncOpenAI(base_url=stub.url, api_key=OPENAI_KEY, max_retries=2) as client:
            yield client

    @pytest.mark.parametrize("status", [429, 500])
    async def test_a_call_that_the_client_makes_again_is_reserved_and_charged_once(
        self, line: Line, patient: AsyncOpenAI, status: int
    ) -> None:
        line.stub.will(Refusal(status), Refusal(status), Answer(usage=USED))
        await line.run(line.agent(client=patient, model_settings=WITH_USAGE))
        assert await line.charged_microcents() == COST
        assert (len(line.stub.requests), len(line.llm_calls)) == (3, 1)
        assert line.settled("committed", "price") == 1

    async def test_a_call_that_the_sdk_makes_again_is_reserved_and_charged_once(self, line: Line) -> None:
        line.stub.will(Refusal(429), Refusal(500), Answer(usage=USED))
        await line.run(line.agent(model_settings=RETRIED_BY_THE_SDK))
        assert await line.charged_microcents() == COST
        assert (len(line.stub.requests), len(line.llm_calls)) == (3, 1)
        assert line.settled("committed", "price") == 1

    async def test_a_call_that_is_refused_to_the_end_is_given_back_once(self, line: Line, patient: AsyncOpenAI) -> None:
        line.stub.will(*[Refusal(429)] * 3)
        with pytest.raises(openai.RateLimitError):
            await line.run(line.agent(client=patient))
        await released_with(line, "run_failed")
        assert len(line.stub.requests) == 3


class TestBrokenOff:
    async def test_an_answer_that_breaks_off_half_way_gives_the_reservation_back(self, line: Line) -> None:
        line.stub.will(Answer("half of it is never heard", usage=USED, breaks=True))
        with pytest.raises(Exception, match=CONNECTION_LOST):
            await line.run(line.agent(model_settings=WITH_USAGE))
        await released_with(line, "run_failed")

    @pytest.mark.parametrize("streamed", ["streamed"], indirect=True)
    async def test_what_a_stream_said_before_it_broke_off_reaches_the_reader(self, line: Line) -> None:
        line.stub.will(Answer("half of it is never heard", usage=USED, breaks=True))
        seen = set()

        async def read() -> None:
            async for event in line.stream(line.agent(model_settings=WITH_USAGE)).stream_events():
                seen.add(event.type)

        with pytest.raises(Exception, match=CONNECTION_LOST):
            await read()
        assert "raw_response_event" in seen
        await released_with(line, "run_failed")

    @pytest.mark.parametrize("streamed", ["streamed"], indirect=True)
    async def test_a_stream_that_ends_in_an_error_gives_the_reservation_back(self, line: Line) -> None:
        line.stub.will(Answer("half of it is never heard", usage=USED, fails=True))
        with pytest.raises((openai.APIError, ModelBehaviorError), match=r"The stub fails"):
            await line.run(line.agent(model_settings=WITH_USAGE))
        await released_with(line, "run_failed")

    async def test_a_client_that_waits_no_longer_gives_the_reservation_back(self, line: Line) -> None:
        line.stub.will(Answer(held=True))
        impatient = line.client.with_options(timeout=0.2)
        with pytest.raises(Exception, match=TIMED_OUT):
            await line.run(line.agent(client=impatient))
        await released_with(line, "run_failed")


class TestCutShort:
    """An answer that comes to the most tokens that it may have: the provider charges it, and so is the tenant."""

    @pytest.mark.parametrize("unknown_spend", ["release", "commit_estimate"])
    async def test_it_is_charged_its_usage_or_where_the_sdk_drops_that_its_estimate(
        self, line: Line, unknown_spend: Any
    ) -> None:
        line.hooks.unknown_spend = unknown_spend
        line.stub.will(Answer(usage=USED, cut=True))
        try:
            await line.run(line.agent(model_settings=WITH_USAGE))
            charged = COST
        except ModelBehaviorError:
            charged = ESTIMATE
        assert await line.charged_microcents() == charged
        assert [call.status for call in line.llm_calls] == ["COMMITTED"]
        assert line.settled("committed", "price" if charged == COST else "estimate") == 1


class TestSlowAnswers:
    async def test_one_that_outlives_its_lease_is_kept_alive_and_charged(self, line: Line) -> None:
        line.stub.will(Answer(usage=USED, held=True))
        run = asyncio.ensure_future(line.run(line.agent(model_settings=WITH_USAGE)))
        await until(lambda: line.sent("extend") >= 2, seconds=10)
        line.stub.let_go.set()
        await run
        assert await line.charged_microcents() == COST
        assert line.settled("committed", "price") == 1


class TestLeft:
    @pytest.mark.parametrize(
        ("unknown_spend", "charged", "status"),
        [("release", 0, "RELEASED"), ("commit_estimate", ESTIMATE, "COMMITTED")],
        ids=["release", "commit_estimate"],
    )
    async def test_a_run_cancelled_half_way_costs_what_the_policy_says(
        self, line: Line, unknown_spend: Any, charged: int, status: str
    ) -> None:
        line.hooks.unknown_spend = unknown_spend
        await self._leave_half_way(line)
        assert await line.charged_microcents() == charged
        assert [call.status for call in line.llm_calls] == [status]
        assert line.witness.total(semconv.RUNS, cycles_run_outcome="cancelled") == 1

    async def _leave_half_way(self, line: Line) -> None:
        line.stub.will(Answer(usage=USED, held=True))
        if line.streamed:
            await self._leave_stream(line.stream(line.agent(model_settings=WITH_USAGE)))
        else:
            run = asyncio.ensure_future(line.run(line.agent(model_settings=WITH_USAGE)))
            await until(lambda: bool(line.stub.requests), seconds=10)
            await cancelled(run)

    async def _leave_stream(self, result: RunResultStreaming) -> None:
        """Read until the model's first event is here, then cancel."""
        async for event in result.stream_events():
            if event.type == "raw_response_event":
                result.cancel()

    @pytest.mark.parametrize("streamed", ["streamed"], indirect=True)
    async def test_a_stream_cancelled_after_its_turn_is_charged_its_usage(self, line: Line) -> None:
        line.stub.will(Answer(usage=USED))
        result = line.stream(line.agent(model_settings=WITH_USAGE))
        async for _ in result.stream_events():
            result.cancel(mode="after_turn")
        assert await line.charged_microcents() == COST

    @pytest.mark.parametrize("streamed", ["streamed"], indirect=True)
    async def test_a_stream_that_nobody_reads_is_charged_its_usage(self, line: Line) -> None:
        line.stub.will(Answer(usage=USED))
        result = line.stream(line.agent(model_settings=WITH_USAGE))
        assert result.run_loop_task is not None
        await result.run_loop_task
        assert await line.charged_microcents() == COST


class TestDenied:
    async def test_a_call_that_the_budget_does_not_allow_never_reaches_the_provider(
        self, line: Line, server: LocalCycles
    ) -> None:
        server.set_budget("tenant:acme", "USD_MICROCENTS", allocated=ESTIMATE - 1)
        with pytest.raises(BudgetExceededError):
            await line.run(line.agent())
        assert line.stub.requests == []
        assert await line.charged_microcents() == 0
