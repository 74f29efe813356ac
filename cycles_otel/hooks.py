"""CyclesRunHooks: each callback of the Agents SDK becomes one call on the governor."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, Literal

from agents import Agent, RunContextWrapper, Tool
from agents.items import ModelResponse, TResponseInputItem
from runcycles import AsyncCyclesClient, CommitOveragePolicy, CyclesConfig, Unit

from cycles_otel import caps as limits
from cycles_otel.addresses import without_login
from cycles_otel.assembly import observed_governor
from cycles_otel.bracketing import BRACKETING
from cycles_otel.budget.policy import Policy, Unbudgeted, UnknownSpend
from cycles_otel.budget.requests import Spend
from cycles_otel.budget.reservation import Admitted
from cycles_otel.budget.step import Step
from cycles_otel.budget.subject import Subject
from cycles_otel.chain import once_in_a_callback
from cycles_otel.degradation.admission import Decided, admit
from cycles_otel.degradation.answers import Answers
from cycles_otel.degradation.choice import Degradation, Place
from cycles_otel.degradation.order import ModelOrder
from cycles_otel.degradation.policies import RAISE, Disable, Downgrade, OnLlmDenied, OnToolDenied
from cycles_otel.errors import InvalidParameterError
from cycles_otel.parameters import (
    MAX_TTL_MS,
    MIN_TTL_MS,
    choice,
    connection_config,
    flag,
    known_levels,
    member,
    seconds,
    subject_levels,
    whole_number,
)
from cycles_otel.pricing import (
    DEFAULT_ESTIMATE,
    LlmEstimate,
    PriceFunction,
    PriceTable,
    Pricing,
)
from cycles_otel.pricing.estimate import estimates
from cycles_otel.refusal import denial
from cycles_otel.run import GoverningHooks, LlmCall, RunScope, ToolCall, current_scope
from cycles_otel.sdk_spans import shown_in_sdk
from cycles_otel.spending import LlmSpending
from cycles_otel.steps import Steps, SubjectOf, model_of, subject_function
from cycles_otel.telemetry import Recorder
from cycles_otel.tools import ToolRiskConfig, ToolRiskMap, tool_risk_map


class CyclesRunHooks(GoverningHooks):
    """Asks a Cycles server for budget before each LLM call and tool call of a run, and settles after it.

    Give it to ``Runner.run``, ``run_sync`` or ``run_streamed`` as ``hooks``. One object serves any number of runs,
    one after the other or at once, in any number of event loops and threads.

    Parameters
    ----------
    client: its config is used; by default one is made from ``config``, or from the ``CYCLES_*`` environment.
    config: address, key and defaults of the subject.
    tenant, workspace, app, workflow: the levels of the subject; where one is not given, the config's counts.
    agent: the level for a step whose agent has no name; the real agent's name stands before it.
    tool_risk: RISK_POINTS of a call, by the tool's name; 0 makes no call to the server.
    default_tool_risk: RISK_POINTS of a tool that is not in ``tool_risk``.
    llm_estimate: what is reserved for an LLM call, in ``llm_unit``: an amount, a function of the ``PlannedCall``,
        ``"priced"`` (the input's tokens and the most output, times the price) or ``"adaptive"`` (what nine of ten
        calls of this agent and model cost at most).
    llm_unit: the unit of LLM calls; USD_MICROCENTS commits the price of the usage, TOKENS input + output, CREDITS and
        RISK_POINTS what the function ``price`` says, without it the estimate.
    fail_open: let steps go, unenforced, while the server gives no answer; an answer always counts.
    ttl_ms: how long a reservation holds unless the heartbeat extends it, in ms, from 1 s to 24 h.
    overage_policy: what the server does when a step costs more than was reserved.
    dry_run: a shadow: ask, record what would have been denied, stop nothing, persist nothing.
    price: the caller's own prices: a function from a ``PricedCall`` to whole ``llm_unit``s (None for unknown), or a
        dict of models, each ``{"input": …, "output": …}`` in dollars for a million tokens.
    price_multiplier: what each price is multiplied with, above 0; 0.85 for a discount of 15 %.
    unbudgeted: ``"allow"`` lets steps go for whose scope or unit no budget exists; they are counted.
    unknown_spend: what becomes of an LLM call that was cut off half way, ``"release"`` or ``"commit_estimate"``.
    settle_timeout: how long the end of a run waits for its settlements, in s.
    max_cooldown: the longest cooldown of caps that is waited for, in s; a longer one is a denial.
    on_llm_denied: what becomes of an LLM call that is denied: ``Raise()``, ``Downgrade(model)``, ``Defer(timeout)``,
        a list of these (each is tried once, then the denial raises), or a function from a ``Denial`` to either.
    on_tool_denied: the same for a tool call: ``Raise()``, ``Disable()``, ``Defer(timeout)``.
    subject: a function from the run's context to levels of the subject, for a service with many customers.
    recorder: where spans and metrics go; by default to the global tracer provider and Prometheus registry.
    sdk_spans: show reservations in the SDK's own traces too, as custom spans; these go wherever the SDK sends them.

    Raises
    ------
    InvalidParameterError: a value is not accepted; ``ValueError``: a ``CYCLES_*`` variable is missing.
    """

    def __init__(
        self,
        client: AsyncCyclesClient | None = None,
        *,
        config: CyclesConfig | None = None,
        tenant: str | None = None,
        workspace: str | None = None,
        app: str | None = None,
        workflow: str | None = None,
        agent: str | None = None,
        tool_risk: Mapping[str, int | ToolRiskConfig] | ToolRiskMap | None = None,
        default_tool_risk: int = 1,
        llm_estimate: LlmEstimate = DEFAULT_ESTIMATE,
        llm_unit: Unit | str = Unit.USD_MICROCENTS,
        fail_open: bool = True,
        ttl_ms: int = 60_000,
        overage_policy: CommitOveragePolicy | str = CommitOveragePolicy.ALLOW_IF_AVAILABLE,
        dry_run: bool = False,
        price: PriceFunction | PriceTable | None = None,
        price_multiplier: float | Decimal = 1,
        unbudgeted: Unbudgeted = "raise",
        unknown_spend: UnknownSpend = "release",
        settle_timeout: float = 2.0,
        max_cooldown: float = 10.0,
        on_llm_denied: OnLlmDenied = RAISE,
        on_tool_denied: OnToolDenied = RAISE,
        subject: SubjectOf | None = None,
        recorder: Recorder | None = None,
        sdk_spans: bool = False,
    ) -> None:
        connection = connection_config(client, config)
        levels = subject_levels(connection, tenant=tenant, workspace=workspace, app=app, workflow=workflow, agent=agent)
        payer = Subject().with_levels(**levels)
        subject_of = subject_function(subject)
        if payer.tenant is None and subject is None:
            raise InvalidParameterError("tenant", None, "a tenant, as a parameter, in the config or as CYCLES_TENANT")
        risk = tool_risk_map(tool_risk, default_tool_risk)
        pricing = Pricing(member("llm_unit", llm_unit, Unit), price, price_multiplier)
        estimated = estimates(llm_estimate, pricing)
        self.unknown_spend: UnknownSpend = choice("unknown_spend", unknown_spend, "release", "commit_estimate")
        self._degradation = Degradation(on_llm_denied, on_tool_denied)
        policy = Policy(
            fail_open=flag("fail_open", fail_open),
            dry_run=flag("dry_run", dry_run),
            ttl_ms=whole_number("ttl_ms", ttl_ms, minimum=MIN_TTL_MS, maximum=MAX_TTL_MS),
            overage_policy=member("overage_policy", overage_policy, CommitOveragePolicy),
            unbudgeted=choice("unbudgeted", unbudgeted, "raise", "allow"),
            settle_timeout=seconds("settle_timeout", settle_timeout),
            max_cooldown=seconds("max_cooldown", max_cooldown),
        )
        self.settle_timeout = policy.settle_timeout
        self._base_url = without_login(connection.base_url)
        mirror = shown_in_sdk if flag("sdk_spans", sdk_spans) else None
        self._governor = observed_governor(connection, policy, recorder, tenant=payer.tenant, mirror=mirror)
        self._steps = Steps(payer, subject_of, pricing, estimated, risk)
        self._spending = LlmSpending(self._governor, pricing, estimated, risk)
        self.observer = self._governor.observer
        self._unbracketed = _scope_outside_of_runs(self)
        self.observer.configured(
            fail_open=policy.fail_open, dry_run=policy.dry_run, run_bracketing=BRACKETING.install()
        )

    def bind(self, **levels: str) -> CyclesRunHooks:
        """The same hooks for another subject: a cheap view on the same client, for one customer or one run.

        Parameters
        ----------
        levels: any of ``tenant``, ``workspace``, ``app``, ``workflow``, ``agent``; the others stay as they are.
        """
        given = known_levels("bind", levels)
        view = copy.copy(self)
        view._steps = self._steps.bound(given)
        view._unbracketed = _scope_outside_of_runs(view)
        return view

    async def release_pending(self, reason: str = "requested") -> int:
        """Give back what ended runs left, and what the current run holds; how many reservations that were.

        It touches neither what another live run holds nor what is known to be spent.
        """
        scope = self._scope()
        scopes = [scope] if scope is self._unbracketed else [self._unbracketed, scope]
        released = sum(each.release_open(reason) for each in scopes)
        for each in scopes:
            await each.settled()
        return released

    async def aclose(self) -> None:
        """Settle what is pending, within the config's flush timeout, and close the connection."""
        await self.release_pending("shutdown")
        await self._governor.aclose()

    async def __aenter__(self) -> CyclesRunHooks:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    @once_in_a_callback
    async def on_llm_start(
        self,
        context: RunContextWrapper[Any],
        agent: Agent[Any],
        system_prompt: str | None,
        input_items: list[TResponseInputItem],
    ) -> None:
        """Reserve the estimate; where the budget does not allow the call, do as ``on_llm_denied`` says."""
        scope = self._scope()
        model, step = self._steps.llm(scope, context, agent, system_prompt, input_items)
        place = self._place(scope, agent)
        if not self._governor.policy.dry_run:
            self._degradation.check(place, lambda tool: self._steps.risk.of(tool).risk_points)
        answers = self._degradation.of_llm_call(place, model.name)
        await self._take_step(scope, step, answers)

        def cheaper(policy: Downgrade) -> Step:
            return self._steps.llm(scope, context, agent, system_prompt, input_items, policy)[1]

        decided = await admit(self._governor, step, answers, cheaper)
        reservation, caps = decided.admitted, decided.admitted.caps if decided.admitted else None
        scope.caps.from_llm(caps)
        order = ModelOrder(model.name, decided.downgrade, limits.max_tokens_of(caps))
        called = model_of(scope, agent, decided.downgrade)
        call = LlmCall(reservation, self._spending.of_call(scope, decided.step, called, reservation), order)
        self._hold(scope, reservation, lambda: scope.llm_started(_llm_key(scope, context, self), call))
        await self._cool_down(scope, reservation, answers)
        call.started = True

    @once_in_a_callback
    async def on_llm_end(self, context: RunContextWrapper[Any], agent: Agent[Any], response: ModelResponse) -> None:
        """Commit what the response says was used, in the background."""
        scope = self._scope()
        order = scope.model_order if scope is not self._unbracketed else None
        if scope.closed or scope.llm_ended(_llm_key(scope, context, self), response) or not scope.gave_back_llm:
            return
        # It was given back by request while its model was at work: what it used is charged all the same.
        model, step = self._steps.llm(scope, context, agent, downgrade=order.downgrade if order else None)
        spend = self._spending.of_call(scope, step, model, None)(response, None)
        scope.charged(self._governor.charge(step, spend), step.unit, spend.amount)

    @once_in_a_callback
    async def on_tool_start(self, context: RunContextWrapper[Any], agent: Any, tool: Tool) -> None:
        """Reserve the tool's risk points; where budget or caps do not allow it, do as ``on_tool_denied`` says."""
        scope, key = self._scope(), _tool_key(context, agent, tool)
        step = self._steps.tool(scope, context, agent, tool)
        answers = self._degradation.of_tool_call(self._place(scope, agent), tool)
        await self._take_step(scope, step, answers)
        decided = await self._admit_tool(scope, step, answers)
        call = ToolCall(decided.admitted, Spend(step.amount, "risk_points"))
        self._hold(scope, call.reservation, lambda: scope.tool_started(key, call))
        disable = decided.disable or await self._within_own_caps(scope, call.reservation, answers)
        if disable is not None:
            scope.leave_out(key, call, disable.message)
            scope.caps.give_back_step()
            return
        scope.caps.narrow(call.reservation.caps if call.reservation else None)
        call.started = True

    @once_in_a_callback
    async def on_tool_end(self, context: RunContextWrapper[Any], agent: Any, tool: Tool, result: object) -> None:
        """Commit the tool's risk points, in the background, whatever the tool gave back."""
        scope = self._scope()
        if scope.closed or scope.tool_ended(_tool_key(context, agent, tool)):
            return
        # A nested agent that goes on after an approval ends without a start: its call is charged all the same.
        step = self._steps.tool(scope, context, agent, tool)
        if step.amount:
            self.observer.unguarded(step.action, step.origin, "start_not_seen")
            settlement = self._governor.charge(step, Spend(step.amount, "risk_points"))
            scope.charged(settlement, step.unit, step.amount)

    @once_in_a_callback
    async def on_handoff(self, context: RunContextWrapper[Any], from_agent: Any, to_agent: Any) -> None:
        """Record the handoff in the ledger, in the background; a failure of that stops nothing."""
        scope = self._scope()
        scope.track(self._governor.record(self._steps.handoff(scope, context, from_agent, to_agent)))

    def __repr__(self) -> str:
        subject = ", ".join(f"{level}={value!r}" for level, value in self._steps.subject.to_body().items())
        return f"CyclesRunHooks({subject}, base_url={self._base_url!r}, {self._governor.policy!r})"

    async def _admit_tool(self, scope: RunScope, step: Step, answers: Answers) -> Decided:
        """Ask for the tool's risk points, if it has any, unless the caps of the LLM call forbid the tool."""
        if not self._governor.policy.dry_run and not scope.caps.allow_tool(step.action.name):
            message = "the caps of the LLM call forbid the tool"
            return Decided(step, disable=await self._stopped_by_caps(step, limits.FORBIDDEN_TOOL, message, answers))
        return await admit(self._governor, step, answers) if step.amount else Decided(step)

    async def _within_own_caps(self, scope: RunScope, reservation: Admitted | None, answers: Answers) -> Disable | None:
        """Keep to the caps of the tool's own reservation."""
        if reservation is None or limits.allows_tool(reservation.caps, reservation.step.action.name):
            return await self._cool_down(scope, reservation, answers)
        scope.track(reservation.release("tool_not_run"), reservation)
        message = "its own caps forbid the tool"
        return await self._stopped_by_caps(reservation.step, limits.FORBIDDEN_TOOL, message, answers)

    async def _take_step(self, scope: RunScope, step: Step, answers: Answers) -> None:
        """Count a step against the caps; no policy helps where none is left."""
        if not scope.caps.take_step() and not self._governor.policy.dry_run:
            message = "the caps of an earlier step allow no more steps"
            await self._stopped_by_caps(step, limits.NO_STEPS_LEFT, message, answers)

    def _hold(self, scope: RunScope, reservation: Admitted | None, register: Callable[[], None]) -> None:
        """Register what is held, unless the run ended meanwhile: then nothing will run."""
        if scope.closed:
            if reservation is not None:
                reservation.release("run_cancelled")
            raise asyncio.CancelledError
        register()

    async def _cool_down(self, scope: RunScope, reservation: Admitted | None, answers: Answers) -> Disable | None:
        """Wait for the cooldown of the caps; one that is too long is a denial."""
        pause = limits.cooldown_of(reservation.caps if reservation else None)
        longest = self._governor.policy.max_cooldown
        if reservation is None or not pause:
            return None
        if pause <= longest:
            await asyncio.sleep(pause)
            return None
        scope.track(reservation.release("tool_not_run" if reservation.step.origin.tool else "run_failed"), reservation)
        message = f"a cooldown of {pause:g} s, of which at most {longest:g} s are waited"
        return await self._stopped_by_caps(reservation.step, limits.LONG_COOLDOWN, message, answers)

    async def _stopped_by_caps(self, step: Step, reason: str, message: str, answers: Answers) -> Disable | None:
        """The policy by which a step is left out that the server's caps do not allow; raises the denial otherwise."""
        policy = await answers.answer(denial(step, reason, message), self.observer.reservation(step))
        return policy if isinstance(policy, Disable) else None

    def _place(self, scope: RunScope, agent: Any) -> Place:
        return Place(scope, scope is not self._unbracketed, agent)

    def _scope(self) -> RunScope:
        """The scope of the run in which a callback comes, or the one for callbacks outside of any."""
        scope = current_scope()
        return scope if scope is not None and _same_client(scope.hooks, self) else self._unbracketed


_ONE_AT_A_TIME: Literal["llm"] = "llm"


def _scope_outside_of_runs(hooks: CyclesRunHooks) -> RunScope:
    """It sees no run begin, so a limit on the steps of a run cannot be counted down there."""
    return RunScope(hooks, caps=limits.CapsInForce(counts_steps=False))


def _same_client(one: GoverningHooks, other: CyclesRunHooks) -> bool:
    return isinstance(one, CyclesRunHooks) and one._governor is other._governor


def _llm_key(scope: RunScope, context: RunContextWrapper[Any], hooks: CyclesRunHooks) -> object:
    """A run calls one model at a time; outside of any bracket the run's context tells runs apart."""
    return _ContextKey(context) if scope is hooks._unbracketed else _ONE_AT_A_TIME


class _ContextKey:
    """The identity of a context, which is kept alive with it: the id of a dead object is no key."""

    def __init__(self, context: object) -> None:
        self._context = context

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _ContextKey) and other._context is self._context

    def __hash__(self) -> int:
        return id(self._context)


def _tool_key(context: RunContextWrapper[Any], agent: Any, tool: Tool) -> object:
    """The id of the call; tools of the SDK that have none are called one after the other."""
    return getattr(context, "tool_call_id", None) or (agent.name, tool.name)
