"""What leaves the process by telemetry: the model asked for, each request's trace, and no word of what was said."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable

import openai
import pytest
from agents import Agent, Model, ModelSettings, MultiProvider, OpenAIProvider, RunConfig, function_tool
from opentelemetry.trace import SpanKind
from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics import exposition

from cycles_otel.telemetry import semconv
from tests.run.desk import until
from tests.telemetry.witness import attributes, span_id
from tests.wire.answers import Answer, Call, Refusal, Tokens
from tests.wire.line import COST, MODEL, OPENAI_KEY, USED, Line

SAID = {
    "instructions": "marked-instructions-7f3a",
    "question": "marked-question-91bc",
    "argument": "marked-argument-c04d",
    "result of the tool": "marked-result-5e22",
    "failure of the tool": "marked-failure-aa17",
    "answer": "marked-answer-3d90",
    "error of the API": "marked-error-68ef",
}

open_metrics: Callable[[CollectorRegistry], bytes] = exposition.generate_latest
"""The page ``/metrics`` with its exemplars."""


@function_tool
def look_up(topic: str) -> str:
    """Look something up."""
    return f"all about {topic}: {SAID['result of the tool']}"


@function_tool(failure_error_function=None)
def explode(topic: str) -> str:
    """Fail, and let the run fail with it."""
    raise RuntimeError(f"{topic}: {SAID['failure of the tool']}")


class TestSecrecy:
    async def test_nothing_that_was_said_and_no_key_is_exported_logged_or_sent_to_cycles(
        self, line: Line, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG, logger="cycles_otel")
        await self._say_everything(line)
        assert all(word in str([each.body for each in line.stub.requests]) for word in list(SAID.values())[:4])
        told = self._told(line) + caplog.text
        assert "cycles.reservation llm.completion" in told
        assert "cycles_client_runs_total" in told
        assert [what for what, word in {**SAID, "key": OPENAI_KEY}.items() if word in told] == []

    async def _say_everything(self, line: Line) -> None:
        """A run that goes well, one whose tool fails, one that is refused, one that breaks off, one that is left."""
        tools = (look_up, explode)
        agent = line.agent(*tools, instructions=SAID["instructions"])
        asking = Answer(calls=(Call("look_up", {"topic": SAID["argument"]}),), usage=USED)
        failing = Answer(calls=(Call("explode", {"topic": SAID["argument"]}),), usage=USED)
        refusing = Refusal(401, f"{SAID['error of the API']}: Incorrect API key provided: {OPENAI_KEY}")
        line.stub.will(*(asking, Answer(SAID["answer"])), failing, refusing, Answer(SAID["answer"] * 2, breaks=True))
        await line.run(agent, SAID["question"])
        for _ in range(3):
            with pytest.raises(Exception, match=r"(?i)marked|connect|peer"):
                await line.run(agent, SAID["question"])
        line.stub.will(Answer(SAID["answer"], held=True))
        run = asyncio.ensure_future(line.run(agent, SAID["question"]))
        await until(lambda: len(line.stub.requests) == 6, seconds=10)
        run.cancel()
        await asyncio.wait([run])
        await line.all_settled()

    def _told(self, line: Line) -> str:
        """Everything that left by spans, by metrics on both ways, and to the Cycles server."""
        witness = line.witness
        metrics = witness.reader.get_metrics_data()
        assert metrics is not None
        return "\n".join(
            [
                *(span.to_json() for span in witness.spans),
                open_metrics(witness.registry).decode(),
                metrics.to_json(),
                *(json.dumps([dict(each.headers), each.body]) for each in line.server.requests),
                json.dumps([vars(each) for each in line.ledger.reservations]),
            ]
        )


class TestModelName:
    """However the model is chosen, its name on the wire is the one that is reserved for, and recorded."""

    @pytest.mark.parametrize("chosen", ["model object", "name", "name in the run's config"])
    async def test_the_model_asked_for_is_the_model_recorded(self, line: Line, chosen: str) -> None:
        line.stub.will(Answer(usage=USED))
        provider = OpenAIProvider(openai_client=line.client, use_responses=line.api == "responses")
        model: Model | str = line.agent().model if chosen == "model object" else MODEL
        override = MODEL if chosen == "name in the run's config" else None
        agent = Agent(name="clerk", model="gpt-4.1" if override else model)
        await line.run(agent, run_config=RunConfig(model=override, model_provider=provider))
        await line.all_settled()
        assert [each.body["model"] for each in line.stub.requests] == [MODEL]
        assert [each.action["name"] for each in line.llm_calls] == [MODEL]
        on_spans = {attributes(span).get("gen_ai.request.model") for span in line.witness.client_spans}
        assert on_spans == {MODEL}

    async def test_an_agent_without_a_model_is_recorded_under_the_one_that_the_sdk_asks_for(self, line: Line) -> None:
        line.stub.will(Answer(usage=USED))
        provider = OpenAIProvider(openai_client=line.client, use_responses=line.api == "responses")
        await line.run(Agent(name="clerk"), run_config=RunConfig(model_provider=provider))
        await line.all_settled()
        assert [each.action["name"] for each in line.llm_calls] == [line.stub.requests[0].body["model"]]

    async def test_a_name_with_its_provider_s_prefix_is_priced_as_the_model_that_is_asked_for(self, line: Line) -> None:
        line.stub.will(Answer(usage=USED))
        provider = MultiProvider(openai_client=line.client, openai_use_responses=line.api == "responses")
        settings = ModelSettings(include_usage=True)
        agent = Agent(name="clerk", model=f"openai/{MODEL}", model_settings=settings)
        await line.run(agent, run_config=RunConfig(model_provider=provider))
        assert await line.charged_microcents() == COST
        assert line.stub.requests[0].body["model"] == MODEL
        assert [each.action["name"] for each in line.llm_calls] == [f"openai/{MODEL}"]

    async def test_each_api_is_asked_at_its_own_address(self, line: Line) -> None:
        line.stub.will(Answer())
        await line.run(line.agent())
        (asked,) = line.stub.requests
        assert asked.path == {"responses": "/v1/responses", "chat": "/v1/chat/completions"}[line.api]
        assert asked.body.get("stream", False) is line.streamed
        assert asked.headers["authorization"] == f"Bearer {OPENAI_KEY}"


class TestTraces:
    async def test_every_request_to_cycles_carries_the_trace_of_its_span(self, line: Line) -> None:
        line.stub.will(Answer(calls=(Call("look_up", {"topic": "x"}),), usage=USED), Answer(usage=Tokens(9, 9)))
        await line.run(line.agent(look_up))
        await line.all_settled()
        sent = [request.headers["traceparent"].split("-") for request in line.server.requests]
        spans = {f"{span_id(span):016x}": span for span in line.witness.client_spans}
        assert sorted(parent for _, _, parent, _ in sent) == sorted(spans)
        (run,) = [span for span in line.witness.spans if span.name == "cycles.run clerk"]
        assert run.context is not None
        assert {trace for _, trace, _, _ in sent} == {f"{run.context.trace_id:032x}"}

    async def test_requests_to_the_provider_carry_nothing_of_ours(self, line: Line) -> None:
        line.stub.will(Answer())
        await line.run(line.agent())
        (asked,) = line.stub.requests
        assert [name for name in asked.headers if name.startswith(("x-cycles", "traceparent", "tracestate"))] == []

    async def test_a_refusal_by_the_provider_is_no_error_of_a_cycles_request(self, line: Line) -> None:
        line.stub.will(Refusal(500))
        with pytest.raises(openai.InternalServerError):
            await line.run(line.agent())
        await line.all_settled()
        assert [span.name for span in line.witness.client_spans if not span.status.is_unset] == []
        (life,) = [span for span in line.witness.spans if span.name.startswith("cycles.reservation")]
        assert life.kind is SpanKind.INTERNAL
        assert attributes(life)[semconv.RESERVATION_OUTCOME] == "released"
