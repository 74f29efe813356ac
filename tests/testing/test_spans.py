"""What a test reads from ``cycles_spans``: whose steps, in which order, and what became of each."""

from __future__ import annotations

import re

import pytest
from agents import Agent, InputGuardrailTripwireTriggered, Runner, function_tool
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from runcycles import AsyncCyclesClient

from cycles_otel import CyclesRunHooks, Disable, Recorder, cycles_budget_guardrail, governed_tool
from cycles_otel.local import Fault, LocalCycles
from cycles_otel.telemetry import observe_client
from cycles_otel.testing import CyclesSpans
from tests.hooks.desk import CountingTool
from tests.run.desk import agent, calls, hooks_of, model, says
from tests.testing.desk import email_budget, send_emails

TENANT, CAPPED = "tenant:acme", "tenant:acme/agent:helper"


class TestSteps:
    @email_budget
    async def test_they_come_in_the_order_in_which_they_began(
        self, local_cycles: LocalCycles, cycles_spans: CyclesSpans
    ) -> None:
        await send_emails(local_cycles, 5)
        assert [step.outcome for step in cycles_spans.of(agent="helper").tool_calls] == [
            *("committed", "committed", "denied")
        ]
        assert [step.tool or step.kind for step in cycles_spans.steps] == ["llm.completion", "send_email"] * 3

    @email_budget
    async def test_each_says_what_was_asked_for_and_what_was_charged(
        self, local_cycles: LocalCycles, cycles_spans: CyclesSpans
    ) -> None:
        await send_emails(local_cycles, 5)
        first, _, third = cycles_spans.tool_calls
        assert (first.decision, first.unit, first.estimated, first.charged) == ("ALLOW", "RISK_POINTS", 50, 50)
        assert (third.decision, third.reason, third.charged) == ("DENY", "BUDGET_EXCEEDED", None)
        assert third.denied
        assert not first.denied

    @email_budget
    async def test_they_are_chosen_by_any_of_their_fields(
        self, local_cycles: LocalCycles, cycles_spans: CyclesSpans
    ) -> None:
        await send_emails(local_cycles, 2, agent="one")
        await send_emails(local_cycles, 1, agent="two")
        assert len(cycles_spans.of(agent="one", tool="send_email")) == 2
        assert len(cycles_spans.of(agent="two").llm_calls) == 1
        assert [step.agent for step in cycles_spans.of(decision="DENY")] == ["two"]
        assert list(cycles_spans.of(reason="BUDGET_EXCEEDED")) == list(cycles_spans.steps.denied)
        assert not cycles_spans.of(kind="tool.other")
        assert cycles_spans.tool_calls[:2].of(outcome="committed")[1].agent == "one"

    @email_budget
    async def test_one_that_is_not_there_shows_those_that_are(
        self, local_cycles: LocalCycles, cycles_spans: CyclesSpans
    ) -> None:
        await send_emails(local_cycles, 1)
        message = re.escape("[2] of 1 tool calls of agent='helper'. What happened:\nrun helper: completed\n  llm ")
        with pytest.raises(IndexError, match=message):
            cycles_spans.of(agent="helper").tool_calls[2]

    async def test_one_in_flight_is_open(self, local_cycles: LocalCycles, cycles_spans: CyclesSpans) -> None:
        seen: list[str] = []

        @function_tool
        def look() -> None:
            seen.extend(step.outcome for step in cycles_spans.tool_calls)

        async with hooks_of(local_cycles) as hooks:
            await Runner.run(agent(calls(10, "look"), says(20), tools=[look]), "hello", hooks=hooks)
        assert seen == ["open"]
        assert cycles_spans.tool_calls[0].outcome == "committed"

    @email_budget
    async def test_a_step_that_another_way_was_found_for_was_denied_too(
        self, local_cycles: LocalCycles, cycles_spans: CyclesSpans
    ) -> None:
        tool = governed_tool(CountingTool("send_email").tool)
        async with hooks_of(local_cycles, tool_risk={"send_email": 500}, on_tool_denied=Disable()) as hooks:
            await Runner.run(agent(calls(10, "send_email"), says(20), tools=[tool]), "hello", hooks=hooks)
        assert cycles_spans.tool_calls[0].denied
        assert "denied (BUDGET_EXCEEDED), 500 RISK_POINTS !cycles.degraded" in cycles_spans.tree()

    @pytest.mark.local_cycles(budgets={TENANT: {"TOKENS": 10_000, "RISK_POINTS": 10}, CAPPED: {"TOKENS": 10_000}})
    async def test_a_denial_by_the_caps_of_another_step_is_a_denial(
        self, local_cycles: LocalCycles, cycles_spans: CyclesSpans
    ) -> None:
        local_cycles.set_budget(CAPPED, "TOKENS", caps={"tool_denylist": ["send_email"]})
        await send_emails(local_cycles, 1)
        (step,) = cycles_spans.tool_calls
        assert (step.decision, step.denied) == ("DENY", True)
        assert cycles_spans.llm_calls[0].decision == "ALLOW_WITH_CAPS"

    async def test_the_question_of_a_guardrail_is_one(
        self, local_cycles: LocalCycles, cycles_spans: CyclesSpans
    ) -> None:
        guard = cycles_budget_guardrail(config=local_cycles.config(), estimate=10**15)
        with pytest.raises(InputGuardrailTripwireTriggered):
            await Runner.run(Agent(name="helper", model=model(says(10)), input_guardrails=[guard]), "hello")
        (asked,) = cycles_spans.of(kind="agent.run")
        assert (asked.agent, asked.decision, asked.denied) == ("helper", "DENY", True)
        assert not cycles_spans.llm_calls

    async def test_without_an_answer_there_is_no_decision(
        self, local_cycles: LocalCycles, cycles_spans: CyclesSpans
    ) -> None:
        local_cycles.inject(Fault("reserve", status=503, times=None))
        async with hooks_of(local_cycles) as hooks:
            await Runner.run(agent(says(10)), "hello", hooks=hooks)
        (step,) = cycles_spans.llm_calls
        assert (step.outcome, step.decision, step.denied) == ("unenforced", None, False)

    async def test_a_dry_run_would_have_denied(self, local_cycles: LocalCycles, cycles_spans: CyclesSpans) -> None:
        local_cycles.set_budget("tenant:acme", "TOKENS", allocated=0)
        async with hooks_of(local_cycles, dry_run=True) as hooks:
            await Runner.run(agent(says(10)), "hello", hooks=hooks)
        (step,) = cycles_spans.of(decision="DENY")
        assert (step.outcome, step.denied) == ("would_deny", False)

    @pytest.mark.parametrize("ending", ["commit", "release"])
    async def test_a_client_by_itself_takes_steps_too(
        self, local_cycles: LocalCycles, cycles_spans: CyclesSpans, ending: str
    ) -> None:
        async with AsyncCyclesClient(local_cycles.config()) as bare:
            client = observe_client(bare, Recorder())
            body = {
                "idempotency_key": "k1",
                "subject": {"tenant": "acme", "agent": "clerk"},
                "action": {"kind": "llm.completion", "name": "gpt-4o"},
                "estimate": {"unit": "TOKENS", "amount": 10},
                "ttl_ms": 60_000,
            }
            reserved = await client.create_reservation(body)
            assert cycles_spans.steps[0].outcome == "open"
            reservation = str(reserved.get_body_attribute("reservation_id"))
            with TracerProvider().get_tracer("program").start_as_current_span("elsewhere"):
                if ending == "commit":
                    actual = {"unit": "TOKENS", "amount": 7}
                    await client.commit_reservation(reservation, {"idempotency_key": "k2", "actual": actual})
                else:
                    await client.release_reservation(reservation, {"idempotency_key": "k2"})
        (step,) = cycles_spans.of(agent="clerk")
        expected = {"commit": ("committed", 7), "release": ("released", None)}[ending]
        assert (step.outcome, step.charged) == expected
        assert cycles_spans.tree().count("\n") == 0


class TestTree:
    @email_budget
    async def test_it_tells_what_happened(self, local_cycles: LocalCycles, cycles_spans: CyclesSpans) -> None:
        await send_emails(local_cycles, 2)
        local_cycles.set_budget("tenant:acme", "TOKENS", allocated=0)
        await send_emails(local_cycles, 1, agent="poor")
        assert str(cycles_spans) == (
            "run helper: completed\n"
            "  llm ScriptedModel by helper: committed, 1 of 1,000 TOKENS\n"
            "  tool send_email by helper: committed, 50 of 50 RISK_POINTS\n"
            "  llm ScriptedModel by helper: committed, 2 of 1,000 TOKENS\n"
            "  tool send_email by helper: committed, 50 of 50 RISK_POINTS\n"
            "  llm ScriptedModel by helper: committed, 3 of 1,000 TOKENS\n"
            "run poor: denied\n"
            "  llm ScriptedModel by poor: denied (BUDGET_EXCEEDED), 1,000 TOKENS"
        )

    def test_nothing_is_said_in_words(self, cycles_spans: CyclesSpans) -> None:
        assert cycles_spans.tree() == "nothing asked for budget"


class TestProviders:
    """Whatever the program records with, its steps are seen, and nothing is sent."""

    async def test_one_of_the_recorders_own(self, local_cycles: LocalCycles, cycles_spans: CyclesSpans) -> None:
        exporter, provider = InMemorySpanExporter(), TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(exporter))
        async with hooks_of(local_cycles, recorder=Recorder(tracer_provider=provider)) as hooks:
            await Runner.run(agent(says(10)), "hello", hooks=hooks)
        assert len(cycles_spans.llm_calls) == 1
        assert exporter.get_finished_spans() == ()

    async def test_hooks_that_were_made_before_and_live_on(self, local_cycles: LocalCycles) -> None:
        exporter, provider = InMemorySpanExporter(), TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(exporter))
        async with hooks_of(local_cycles, recorder=Recorder(tracer_provider=provider)) as hooks:
            with CyclesSpans().watching() as spans:
                await Runner.run(agent(says(10)), "hello", hooks=hooks)
            assert len(spans.llm_calls) == 1
            await Runner.run(agent(says(10)), "hello", hooks=hooks)
        assert len(spans.llm_calls) == 1
        assert [span.name for span in exporter.get_finished_spans()].count("cycles.reservation llm.completion") == 1

    @pytest.mark.parametrize(
        ("variable", "value"), [("OTEL_SDK_DISABLED", "true"), ("OTEL_TRACES_SAMPLER", "always_off")]
    )
    async def test_a_suite_that_switches_tracing_off(
        self, local_cycles: LocalCycles, monkeypatch: pytest.MonkeyPatch, variable: str, value: str
    ) -> None:
        monkeypatch.setenv(variable, value)
        with CyclesSpans().watching() as spans:
            async with hooks_of(local_cycles) as hooks:
                await Runner.run(agent(says(10)), "hello", hooks=hooks)
        assert len(spans.llm_calls) == 1

    async def test_spans_of_the_program_stay_its_own(
        self, local_cycles: LocalCycles, cycles_spans: CyclesSpans
    ) -> None:
        tracer = TracerProvider().get_tracer("program")
        async with hooks_of(local_cycles) as hooks:
            with tracer.start_as_current_span("request") as request:
                await Runner.run(agent(says(10)), "hello", hooks=hooks)
        context = cycles_spans.llm_calls[0].span.parent
        assert context is not None
        assert context.span_id == request.get_span_context().span_id
        assert "request" not in cycles_spans.tree()

    def test_nobody_set_a_global_provider_for_it(self, cycles_spans: CyclesSpans) -> None:
        before = trace.get_tracer_provider()
        with CyclesSpans().watching():
            assert trace.get_tracer_provider() is before

    async def test_one_that_watches_inside_of_another_gives_back(self, local_cycles: LocalCycles) -> None:
        async with CyclesRunHooks(config=local_cycles.config(), llm_unit="TOKENS") as hooks:
            with CyclesSpans().watching() as outer:
                with CyclesSpans().watching() as inner:
                    await Runner.run(agent(says(10)), "hello", hooks=hooks)
                await Runner.run(agent(says(10)), "hello", hooks=hooks)
        assert (len(outer.llm_calls), len(inner.llm_calls)) == (1, 1)
