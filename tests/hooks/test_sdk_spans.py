"""Reservations in the SDK's own traces: asked for, or not there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import agents
import pytest
from agents import Agent, RunConfig, Runner, function_tool
from agents.testing import ScriptedModel, assistant_message, function_call
from agents.tracing import Span, Trace, TracingProcessor
from opentelemetry import context, trace
from opentelemetry.context import Context
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags
from runcycles import BudgetExceededError

from cycles_otel import CyclesUnavailableError
from cycles_otel.local import Fault, LocalCycles
from tests.hooks.conftest import MakeHooks
from tests.telemetry.witness import Witness

SECRET = "a word of the conversation"


class Collected(TracingProcessor):
    """Keeps the spans of the SDK, each exported when it ends."""

    def __init__(self) -> None:
        self.started: list[Span[Any]] = []
        self.ended: list[dict[str, Any]] = []

    def on_trace_start(self, trace: Trace) -> None: ...

    def on_trace_end(self, trace: Trace) -> None: ...

    def on_span_start(self, span: Span[Any]) -> None:
        self.started.append(span)

    def on_span_end(self, span: Span[Any]) -> None:
        self.ended.append(span.export() or {})

    def shutdown(self) -> None: ...

    def force_flush(self) -> None: ...

    @property
    def ours(self) -> list[dict[str, Any]]:
        """The custom spans of reservations."""
        return [each for each in self.ended if each["span_data"]["type"] == "custom" and "cycles" in str(each)]

    def parent_of(self, span: dict[str, Any]) -> dict[str, Any]:
        """What the parent of a span says."""
        (parent,) = (each["span_data"] for each in self.ended if each["id"] == span["parent_id"])
        return dict(parent)


class Attaching(Collected):
    """Makes a span current in OpenTelemetry from its start to its end, as instrumentations do."""

    def __init__(self) -> None:
        super().__init__()
        self._tokens: dict[str, Any] = {}

    def on_span_start(self, span: Span[Any]) -> None:
        super().on_span_start(span)
        shown = SpanContext(1, len(self.started), is_remote=False, trace_flags=TraceFlags(1))
        self._tokens[span.span_id] = context.attach(trace.set_span_in_context(NonRecordingSpan(shown), Context()))

    def on_span_end(self, span: Span[Any]) -> None:
        super().on_span_end(span)
        context.detach(self._tokens.pop(span.span_id))


def installed(processor: Collected) -> Iterator[Collected]:
    agents.set_trace_processors([processor])
    yield processor
    agents.set_trace_processors([])


@pytest.fixture
def collected() -> Iterator[Collected]:
    yield from installed(Collected())


@pytest.fixture
def attaching() -> Iterator[Collected]:
    yield from installed(Attaching())


@function_tool
def look_up(topic: str) -> str:
    """Look something up."""
    return f"{SECRET} about {topic}"


def clerk() -> Agent[Any]:
    steps = [[function_call("look_up", {"topic": SECRET}, call_id="c1")], [assistant_message(SECRET)]]
    return Agent(name="clerk", model=ScriptedModel(steps), tools=[look_up], instructions=SECRET)


class TestAskedFor:
    async def test_a_reservation_is_a_custom_span_below_the_step_that_it_pays_for(
        self, make_hooks: MakeHooks, collected: Collected
    ) -> None:
        hooks = make_hooks(sdk_spans=True)
        await Runner.run(clerk(), SECRET, hooks=hooks)
        await hooks.aclose()
        shown = {each["span_data"]["name"]: each for each in collected.ours}
        assert sorted(shown) == ["cycles.reservation llm.completion", "cycles.reservation tool.invoke"]
        tool = shown["cycles.reservation tool.invoke"]
        assert tool["span_data"]["data"] == {
            "cycles.action.kind": "tool.invoke",
            "cycles.action.name": "look_up",
            "cycles.unit": "RISK_POINTS",
            "cycles.amount.estimated": 1,
            "cycles.reservation.outcome": "committed",
            "cycles.amount.charged": 1,
        }
        parent = collected.parent_of(tool)
        assert (parent["type"], parent["name"]) == ("function", "look_up")
        assert SECRET not in str(collected.ours)

    async def test_a_denial_says_its_reason_and_is_no_error(self, make_hooks: MakeHooks, collected: Collected) -> None:
        hooks = make_hooks(sdk_spans=True, llm_estimate=10**12)
        with pytest.raises(BudgetExceededError):
            await Runner.run(clerk(), "hello", hooks=hooks)
        (denied,) = collected.ours
        said = denied["span_data"]["data"]
        assert (said["cycles.reservation.outcome"], said["cycles.reason_code"]) == ("denied", "BUDGET_EXCEEDED")
        assert denied["error"] is None

    async def test_a_step_that_is_stopped_for_lack_of_an_answer_is_an_error(
        self, make_hooks: MakeHooks, collected: Collected, server: LocalCycles
    ) -> None:
        server.inject(Fault(operation="reserve", status=503, times=9))
        with pytest.raises(CyclesUnavailableError):
            await Runner.run(clerk(), "hello", hooks=make_hooks(sdk_spans=True, fail_open=False))
        (failed,) = collected.ours
        assert failed["error"]["message"] == "INTERNAL_ERROR"

    async def test_every_one_that_starts_ends_once(self, make_hooks: MakeHooks, collected: Collected) -> None:
        hooks = make_hooks(sdk_spans=True)
        async for _ in Runner.run_streamed(clerk(), "hello", hooks=hooks).stream_events():
            pass
        await hooks.aclose()
        assert sorted(each.span_id for each in collected.started) == sorted(each["id"] for each in collected.ended)

    async def test_what_a_processor_makes_current_is_so_no_longer_than_before(
        self, make_hooks: MakeHooks, attaching: Collected, witness: Witness, caplog: pytest.LogCaptureFixture
    ) -> None:
        hooks = make_hooks(sdk_spans=True)
        await Runner.run(clerk(), "hello", hooks=hooks)
        await hooks.aclose()
        custom = {number for number, each in enumerate(attaching.started, 1) if each.span_data.type == "custom"}
        lives = [span for span in witness.spans if span.name.startswith("cycles.reservation")]
        assert len(lives) == 3
        assert not custom & {span.parent.span_id for span in lives if span.parent is not None}
        assert not [record for record in caplog.records if record.name.startswith("opentelemetry")]

    async def test_a_processor_that_fails_does_not_reach_the_run(
        self, make_hooks: MakeHooks, collected: Collected, monkeypatch: pytest.MonkeyPatch, server: LocalCycles
    ) -> None:
        def broken(span: Span[Any]) -> None:
            if span.span_data.type == "custom":
                raise RuntimeError("no")

        monkeypatch.setattr(collected, "on_span_start", broken)
        monkeypatch.setattr(collected, "on_span_end", broken)
        hooks = make_hooks(sdk_spans=True)
        await Runner.run(clerk(), "hello", hooks=hooks)
        await hooks.aclose()
        assert len(server.ledger().committed) == 3


class TestNotThere:
    async def test_by_default_the_sdk_is_shown_nothing(self, make_hooks: MakeHooks, collected: Collected) -> None:
        hooks = make_hooks()
        await Runner.run(clerk(), "hello", hooks=hooks)
        await hooks.aclose()
        assert collected.ended
        assert not collected.ours

    async def test_where_the_sdk_traces_nothing_there_is_none(
        self, make_hooks: MakeHooks, collected: Collected, caplog: pytest.LogCaptureFixture
    ) -> None:
        hooks = make_hooks(sdk_spans=True)
        await Runner.run(clerk(), "hello", hooks=hooks, run_config=RunConfig(tracing_disabled=True))
        await hooks.aclose()
        assert not collected.ended
        assert not [record for record in caplog.records if record.name == "openai.agents"]
