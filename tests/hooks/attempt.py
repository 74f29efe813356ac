"""One attempt at a governed step, whatever kind of step it is, and what came of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from agents import Agent, Runner
from agents.exceptions import AgentsException, InputGuardrailTripwireTriggered
from runcycles import CyclesError

from cycles_otel import CyclesRunHooks, cycles_budget_guardrail
from cycles_otel.local import LocalCycles, LoggedRequest
from tests.hooks.desk import DONE, CountingTool, PricedModel, after, agent, calling
from tests.telemetry.witness import Witness


@dataclass(frozen=True)
class Kind:
    """A kind of step: how it shows on the wire.

    Parameters
    ----------
    unit: what is asked for.
    operation: how it is asked for.
    action: the kind of action.
    """

    name: str
    unit: str
    operation: str
    action: str

    def __str__(self) -> str:
        return self.name


LLM = Kind("llm", "USD_MICROCENTS", "reserve", "llm.completion")
TOOL = Kind("tool", "RISK_POINTS", "reserve", "tool.invoke")
GUARDRAIL = Kind("guardrail", "USD_MICROCENTS", "decide", "agent.run")
KINDS = (LLM, TOOL, GUARDRAIL)

Arrange = Callable[[LocalCycles, Kind], object]


@dataclass(frozen=True)
class Outcome:
    """What came of an attempt.

    Parameters
    ----------
    ran: whether the model, or the tool, was called.
    error: what the run raised.
    asked: the requests in which the step was put to the server.
    before, after: what the ledger held of the step's unit when the step was asked for, and when all was settled.
    charged: what was charged by events, in the step's unit, since the step was asked for.
    """

    ran: bool
    error: Exception | None
    asked: list[LoggedRequest]
    before: tuple[object, ...]
    after: tuple[object, ...]
    charged: list[int]

    @property
    def tripped(self) -> dict[str, Any]:
        """What the guardrail said as it tripped."""
        assert isinstance(self.error, InputGuardrailTripwireTriggered)
        return dict(self.error.guardrail_result.output.output_info)


def nothing(server: LocalCycles, kind: Kind) -> None:
    """The server answers as it does."""


class Attempt:
    """Lets an agent of ``tenant`` make one step of a kind, just after ``arrange`` has set the server up for it."""

    def __init__(self, kind: Kind, server: LocalCycles, witness: Witness, arrange: Arrange = nothing) -> None:
        self.kind = kind
        self.server = server
        self.witness = witness
        self.tool = CountingTool()
        self._arrange = arrange
        self._before: tuple[object, ...] = ()
        self._asked_before = 0
        self._events_before = 0

    async def make(self, *, tenant: str = "acme", connection: dict[str, Any] | None = None, **options: Any) -> Outcome:
        """Make the attempt, with these ``options`` for the hooks or the guardrail."""
        config = self.server.config(tenant, retry_flush_timeout=0.2, **(connection or {}))
        settings = {"config": config, "recorder": self.witness.recorder, **options}
        if self.kind is GUARDRAIL:
            return await self._under_a_guardrail(settings)
        async with CyclesRunHooks(settle_timeout=0.2, **settings) as hooks:
            ran, error = await (self._tool_step(hooks) if self.kind is TOOL else self._llm_step(hooks))
        return self._outcome(ran, error)

    async def _llm_step(self, hooks: CyclesRunHooks) -> tuple[int, Exception | None]:
        self._set_up()
        model = PricedModel(DONE)
        error = await _error_of(agent(model), hooks)
        return len(model.calls), error

    async def _tool_step(self, hooks: CyclesRunHooks) -> tuple[int, Exception | None]:
        model = PricedModel(after(self._set_up, calling("lookup")))
        error = await _error_of(agent(model, self.tool, tool_use_behavior="stop_on_first_tool"), hooks)
        return self.tool.calls, error

    async def _under_a_guardrail(self, settings: dict[str, Any]) -> Outcome:
        self._set_up()
        model = PricedModel(DONE)
        guarded = agent(model, input_guardrails=[cycles_budget_guardrail(**settings)])
        error = await _error_of(guarded, None)
        return self._outcome(len(model.calls), error)

    def _set_up(self) -> None:
        self._arrange(self.server, self.kind)
        self._before = _held(self.server, self.kind)
        self._asked_before = len(self.server.requests)
        self._events_before = sum(each.unit == self.kind.unit for each in self.server.ledger().events)

    def _outcome(self, calls: int, error: Exception | None) -> Outcome:
        assert calls <= 1
        later = self.server.requests[self._asked_before :]
        asked = [each for each in later if self._asks(each)]
        events = [each for each in self.server.ledger().events if each.unit == self.kind.unit]
        charged = [each.charged for each in events[self._events_before :]]
        return Outcome(calls == 1, error, asked, self._before, _held(self.server, self.kind), charged)

    def _asks(self, request: LoggedRequest) -> bool:
        return request.operation == self.kind.operation and request.body["action"]["kind"] == self.kind.action


async def _error_of(starting: Agent[Any], hooks: CyclesRunHooks | None) -> Exception | None:
    try:
        await Runner.run(starting, "hello", hooks=hooks)
    except (AgentsException, CyclesError) as error:
        return error
    return None


def _held(server: LocalCycles, kind: Kind) -> tuple[object, ...]:
    ledger = server.ledger()
    budgets = [budget for (_, unit), budget in ledger.budgets.items() if unit == kind.unit]
    reservations = [each for each in ledger.reservations if each.unit == kind.unit]
    return (budgets, reservations, [each for each in ledger.events if each.unit == kind.unit])
