"""CyclesRunHooks: each callback of the Agents SDK becomes one call on the governor."""

from __future__ import annotations

import asyncio
import copy
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any, Literal

from agents import Agent, RunContextWrapper, Tool
from agents.items import ModelResponse, TResponseInputItem
from runcycles import AsyncCyclesClient, CommitOveragePolicy, CyclesConfig, Unit

from cycles_otel import caps as limits
from cycles_otel.assembly import observed_governor
from cycles_otel.budget.policy import Policy, Unbudgeted, UnknownSpend
from cycles_otel.budget.requests import Spend
from cycles_otel.budget.reservation import Admitted
from cycles_otel.budget.step import Action, Origin, Step
from cycles_otel.budget.subject import Subject
from cycles_otel.errors import InvalidParameterError, InvalidParameterTypeError
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
    without_login,
)
from cycles_otel.pricing import (
    DEFAULT_ESTIMATE,
    LlmEstimate,
    ModelIdentity,
    PlannedCall,
    PriceFunction,
    PriceTable,
    Pricing,
    llm_spend,
)
from cycles_otel.pricing.estimate import estimates
from cycles_otel.pricing.hosted import HostedCall
from cycles_otel.pricing.spend import LlmSpend
from cycles_otel.refusal import denial, raise_unless_it_goes
from cycles_otel.run import BRACKETING, GoverningHooks, LlmCall, RunScope, ToolCall, current_scope
from cycles_otel.telemetry import Recorder
from cycles_otel.tools import ToolRiskConfig, ToolRiskMap, tool_risk_map

SubjectOf = Callable[[Any], Mapping[str, str]]


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
    subject: a function from the run's context to levels of the subject, for a service with many customers.
    recorder: where spans and metrics go; by default to the global tracer provider and Prometheus registry.

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
        subject: SubjectOf | None = None,
        recorder: Recorder | None = None,
    ) -> None:
        connection = connection_config(client, config)
        levels = subject_levels(connection, tenant=tenant, workspace=workspace, app=app, workflow=workflow, agent=agent)
        self._subject = Subject().with_levels(**levels)
        self._subject_of = _subject_function(subject)
        if self._subject.tenant is None and subject is None:
            raise InvalidParameterError("tenant", None, "a tenant, as a parameter, in the config or as CYCLES_TENANT")
        self._risk = tool_risk_map(tool_risk, default_tool_risk)
        self._pricing = Pricing(member("llm_unit", llm_unit, Unit), price, price_multiplier)
        self._estimates = estimates(llm_estimate, self._pricing)
        self.unknown_spend: UnknownSpend = choice("unknown_spend", unknown_spend, "release", "commit_estimate")
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
        self._governor = observed_governor(connection, policy, recorder, tenant=self._subject.tenant)
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
        view._subject = self._subject.with_levels(**subject_levels(_NO_DEFAULTS, **given))
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

    async def on_llm_start(
        self,
        context: RunContextWrapper[Any],
        agent: Agent[Any],
        system_prompt: str | None,
        input_items: list[TResponseInputItem],
    ) -> None:
        """Reserve the estimate; raise where the budget does not allow the call."""
        scope = self._scope()
        model, step = self._llm_step(scope, context, agent, system_prompt, input_items)
        self._take_step(scope, step)
        reservation = await self._admit(step)
        scope.caps.from_llm(reservation.caps if reservation else None)
        call = LlmCall(reservation, self._llm_spend(scope, step, model, reservation))
        self._hold(scope, reservation, lambda: scope.llm_started(_llm_key(scope, context, self), call))
        await self._cool_down(scope, reservation)
        call.started = True

    async def on_llm_end(self, context: RunContextWrapper[Any], agent: Agent[Any], response: ModelResponse) -> None:
        """Commit what the response says was used, in the background."""
        scope = self._scope()
        if scope.closed or scope.llm_ended(_llm_key(scope, context, self), response) or not scope.gave_back_llm:
            return
        # It was given back by request while its model was at work: what it used is charged all the same.
        model, step = self._llm_step(scope, context, agent)
        spend = self._llm_spend(scope, step, model, None)(response, None)
        scope.charged(self._governor.charge(step, spend), step.unit, spend.amount)

    async def on_tool_start(self, context: RunContextWrapper[Any], agent: Any, tool: Tool) -> None:
        """Reserve the tool's risk points; raise where the budget, or a cap, does not allow the call."""
        scope, key = self._scope(), _tool_key(context, agent, tool)
        step = self._tool_step(scope, context, agent, tool)
        if not self._governor.policy.dry_run and not scope.caps.allow_tool(step.action.name):
            raise self._stopped_by_caps(step, limits.FORBIDDEN_TOOL, "the caps of the LLM call forbid the tool")
        self._take_step(scope, step)
        reservation = await self._admit(step) if step.amount else None
        call = ToolCall(reservation, Spend(step.amount, "risk_points"))
        self._hold(scope, reservation, lambda: scope.tool_started(key, call))
        if reservation is not None and not limits.allows_tool(reservation.caps, step.action.name):
            scope.track(reservation.release("tool_not_run"), reservation)
            raise self._stopped_by_caps(step, limits.FORBIDDEN_TOOL, "its own caps forbid the tool")
        await self._cool_down(scope, reservation)
        scope.caps.narrow(reservation.caps if reservation else None)
        call.started = True

    async def on_tool_end(self, context: RunContextWrapper[Any], agent: Any, tool: Tool, result: object) -> None:
        """Commit the tool's risk points, in the background, whatever the tool gave back."""
        scope = self._scope()
        if scope.closed or scope.tool_ended(_tool_key(context, agent, tool)):
            return
        # A nested agent that goes on after an approval ends without a start: its call is charged all the same.
        step = self._tool_step(scope, context, agent, tool)
        if step.amount:
            self.observer.unguarded(step.action, step.origin, "start_not_seen")
            settlement = self._governor.charge(step, Spend(step.amount, "risk_points"))
            scope.charged(settlement, step.unit, step.amount)

    async def on_handoff(self, context: RunContextWrapper[Any], from_agent: Any, to_agent: Any) -> None:
        """Record the handoff in the ledger, in the background; a failure of that stops nothing."""
        scope = self._scope()
        step = Step(
            self._subject_for(context, from_agent),
            Action("agent.handoff", to_agent.name),
            Unit.RISK_POINTS,
            0,
            Origin(agent=from_agent.name, run_id=scope.run_id),
            metadata={"from_agent": from_agent.name, "to_agent": to_agent.name},
        )
        scope.track(self._governor.record(step))

    def __repr__(self) -> str:
        subject = ", ".join(f"{level}={value!r}" for level, value in self._subject.to_body().items())
        return f"CyclesRunHooks({subject}, base_url={self._base_url!r}, {self._governor.policy!r})"

    async def _admit(self, step: Step) -> Admitted | None:
        """Ask the server; raise if the step must not run."""
        admission = await self._governor.reserve(step)
        raise_unless_it_goes(admission.verdict, step)
        return admission.admitted

    def _take_step(self, scope: RunScope, step: Step) -> None:
        if not scope.caps.take_step() and not self._governor.policy.dry_run:
            raise self._stopped_by_caps(step, limits.NO_STEPS_LEFT, "the caps of an earlier step allow no more steps")

    def _hold(self, scope: RunScope, reservation: Admitted | None, register: Callable[[], None]) -> None:
        """Register what is held, unless the run ended meanwhile: then nothing will run."""
        if scope.closed:
            if reservation is not None:
                reservation.release("run_cancelled")
            raise asyncio.CancelledError
        register()

    async def _cool_down(self, scope: RunScope, reservation: Admitted | None) -> None:
        """Wait for the cooldown of the caps; one that is too long is a denial."""
        pause = limits.cooldown_of(reservation.caps if reservation else None)
        if reservation is None or not pause:
            return
        if pause > self._governor.policy.max_cooldown:
            longest = f"a cooldown of {pause:g} s, of which at most {self._governor.policy.max_cooldown:g} s are waited"
            reason = "tool_not_run" if reservation.step.origin.tool else "run_failed"
            scope.track(reservation.release(reason), reservation)
            raise self._stopped_by_caps(reservation.step, limits.LONG_COOLDOWN, longest)
        await asyncio.sleep(pause)

    def _stopped_by_caps(self, step: Step, reason: str, message: str) -> Exception:
        self.observer.reservation(step).denied(reason)
        return denial(step, reason, message)

    def _llm_spend(
        self, scope: RunScope, step: Step, model: ModelIdentity, reservation: Admitted | None
    ) -> Callable[[ModelResponse, ModelIdentity | None], Spend]:
        started = time.monotonic()
        agent = step.origin.agent or ""

        def spend_of(response: ModelResponse, served: ModelIdentity | None) -> Spend:
            latency_ms = round((time.monotonic() - started) * 1000)
            used = llm_spend(
                self._pricing, model, agent, response, estimate=step.amount, latency_ms=latency_ms, served=served
            )
            if reservation is not None:
                _tell_of_usage(reservation, used)
            if used.spend.source != "estimate":
                self._estimates.learn(agent, model.name, used.spend.amount)
            self._charge_hosted(scope, step, used.hosted)
            return used.spend

        return spend_of

    def _charge_hosted(self, scope: RunScope, step: Step, calls: Sequence[HostedCall]) -> None:
        """Count the tools that the provider ran inside of an LLM call, and charge their risk points, tool by tool."""
        for name, number in Counter(self._hosted_name(call) for call in calls).items():
            risk = self._risk.of(name)
            origin = replace(step.origin, tool=name)
            self.observer.hosted(origin, number)
            if risk.risk_points:
                subject = step.subject.with_levels(toolset=name)
                action = Action(risk.action_kind or "tool.invoke", name)
                metadata = {"hosted": True, "calls": number}
                charge = Step(subject, action, Unit.RISK_POINTS, risk.risk_points * number, origin, metadata=metadata)
                settlement = self._governor.charge(charge, Spend(charge.amount, "risk_points"))
                scope.charged(settlement, charge.unit, charge.amount)

    def _hosted_name(self, call: HostedCall) -> str:
        """A tool of a hosted MCP server may have a risk of its own; otherwise it is one of ``hosted_mcp``."""
        return call.name if call.name in self._risk.mapping else call.tool

    def _llm_step(
        self,
        scope: RunScope,
        context: RunContextWrapper[Any],
        agent: Agent[Any],
        system_prompt: str | None = None,
        input_items: Sequence[TResponseInputItem] = (),
    ) -> tuple[ModelIdentity, Step]:
        """The model that is asked for, and the step of asking it."""
        config = scope.config
        model = ModelIdentity.asked_for(config.model, agent, config.model_provider)
        settings = agent.model_settings.resolve(config.model_settings)
        planned = PlannedCall(agent, model.name, system_prompt, input_items, settings)
        step = Step(
            self._subject_for(context, agent),
            Action("llm.completion", model.name),
            self._pricing.unit,
            self._estimates.of(planned, model),
            Origin(agent=agent.name, model=model.name, run_id=scope.run_id),
        )
        return model, step

    def _tool_step(self, scope: RunScope, context: RunContextWrapper[Any], agent: Any, tool: Tool) -> Step:
        risk = self._risk.of(tool.name)
        return Step(
            self._subject_for(context, agent).with_levels(toolset=tool.name),
            Action(risk.action_kind or "tool.invoke", tool.name),
            Unit.RISK_POINTS,
            risk.risk_points,
            Origin(
                agent=agent.name,
                tool=tool.name,
                tool_call_id=getattr(context, "tool_call_id", None),
                run_id=scope.run_id,
            ),
        )

    def _subject_for(self, context: RunContextWrapper[Any], agent: Any) -> Subject:
        subject = self._subject
        if self._subject_of is not None:
            given = known_levels("subject", self._subject_of(context.context))
            subject = subject.with_levels(**subject_levels(_NO_DEFAULTS, **given))
        if subject.tenant is None:
            raise InvalidParameterError("subject", None, "levels with a tenant, for each run")
        return subject.with_levels(agent=agent.name or None)

    def _scope(self) -> RunScope:
        """The scope of the run in which a callback comes, or the one for callbacks outside of any."""
        scope = current_scope()
        return scope if scope is not None and _same_client(scope.hooks, self) else self._unbracketed


def _tell_of_usage(reservation: Admitted, used: LlmSpend) -> None:
    observer = reservation.observer
    observer.usage(used.usage.by_type)
    if used.price is not None:
        observer.priced(used.price.source, used.price.data_version, used.price.multiplier)
    if used.is_unpriced:
        observer.price_unknown(reservation.step.origin.model or "")


_NO_DEFAULTS = CyclesConfig(base_url="", api_key="")
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


def _subject_function(subject: object) -> SubjectOf | None:
    if subject is not None and not callable(subject):
        raise InvalidParameterTypeError("subject", subject, "a function from the run's context to levels")
    return subject
