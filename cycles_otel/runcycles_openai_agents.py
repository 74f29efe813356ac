"""The names of ``runcycles-openai-agents`` 0.3, for a switch that is one import; each says by what to replace it.

    from cycles_otel.runcycles_openai_agents import CyclesRunHooks, ToolEstimateMap

The defaults are those of that package: hooks stay fail-closed. What behaves otherwise is in ``docs/migrating.md``.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any, Generic, TypeVar

from agents import Agent, InputGuardrail, Runner, RunResult, RunResultStreaming
from runcycles import AsyncCyclesClient, CommitOveragePolicy, CyclesConfig, Unit

from cycles_otel import guardrail, hooks
from cycles_otel.errors import InvalidParameterError
from cycles_otel.parameters import member
from cycles_otel.tools import DEFAULT_ACTION_KIND, ToolRiskConfig, ToolRiskMap

__all__ = [
    "CyclesRunHooks",
    "CyclesRunResultStreaming",
    "ToolEstimateConfig",
    "ToolEstimateMap",
    "cycles_budget_guardrail",
]

CyclesRunResultStreaming = RunResultStreaming
"""What ``run_streamed`` returns: the SDK's own result, which needs no proxy to be cleaned up after."""

TContext = TypeVar("TContext")
_WITHOUT_EFFECT = {
    "heartbeat_max_age_ms": "a heartbeat ends with its step",
    "heartbeat_max_extensions": "a heartbeat ends with its step",
    "commit_max_attempts": "commits are tried again until the server answers",
    "retry_engine": "settlements have a journal of their own, which CYCLES_JOURNAL_DIR moves",
}


def _deprecated(old: str, new: str, *, calls_above: int = 1) -> None:
    """Say it at the line that called the function of this module, ``calls_above`` this one."""
    warning = f"{old} is of runcycles-openai-agents: {new}"
    warnings.warn(warning, DeprecationWarning, stacklevel=2 + calls_above)


class ToolEstimateConfig(ToolRiskConfig):
    """The estimate of one tool, as ``ToolRiskConfig(estimate, action_kind)`` has it.

    Raises ``InvalidParameterError`` for another unit than RISK_POINTS: tools are charged in no other.
    """

    def __init__(
        self, estimate: int = 0, action_kind: str = DEFAULT_ACTION_KIND, unit: Unit | str = Unit.RISK_POINTS
    ) -> None:
        _deprecated("ToolEstimateConfig(estimate=…)", "use cycles_otel.ToolRiskConfig(risk_points=…)")
        _in_risk_points("unit", unit)
        super().__init__(estimate, action_kind)

    @property
    def estimate(self) -> int:
        """What a call costs, in RISK_POINTS."""
        return self.risk_points

    @property
    def unit(self) -> Unit:
        """RISK_POINTS."""
        return Unit.RISK_POINTS


class ToolEstimateMap(ToolRiskMap):
    """Tool names and their estimates, as ``ToolRiskMap(mapping, default_risk=default_estimate)`` has them.

    Raises ``InvalidParameterError`` for another unit than RISK_POINTS, and for an estimate that is not accepted.
    """

    def __init__(
        self,
        mapping: Mapping[str, int | ToolEstimateConfig] | None = None,
        default_estimate: int = 1,
        default_unit: Unit | str = Unit.RISK_POINTS,
    ) -> None:
        _deprecated("ToolEstimateMap(default_estimate=…)", "use cycles_otel.ToolRiskMap(default_risk=…)")
        _in_risk_points("default_unit", default_unit)
        super().__init__(mapping, default_estimate)
        self.mapping: dict[str, ToolRiskConfig] = {name: _estimate(risk) for name, risk in self.mapping.items()}

    @property
    def default(self) -> ToolEstimateConfig:
        """The estimate of a tool that is not in the mapping."""
        return _estimate(ToolRiskConfig(self.default_risk, DEFAULT_ACTION_KIND))

    def get(self, tool_name: str) -> ToolEstimateConfig:
        """The estimate of a tool, by its name."""
        return _estimate(self.of(tool_name))

    def is_zero_estimate(self, tool_name: str) -> bool:
        """Whether a tool costs nothing, so that no call to the server is made."""
        return not self.of(tool_name).risk_points


class CyclesRunHooks(hooks.CyclesRunHooks, Generic[TContext]):
    """``cycles_otel.CyclesRunHooks`` with the parameters, the defaults and the methods of ``runcycles-openai-agents``.

    Every further parameter of ``cycles_otel.CyclesRunHooks`` is accepted too.

    Raises ``InvalidParameterError`` where a value is not accepted: a ``toolset``, for one, which only a tool call has.
    """

    def __init__(
        self,
        client: AsyncCyclesClient | None = None,
        config: CyclesConfig | None = None,
        tenant: str | None = None,
        workspace: str | None = None,
        app: str | None = None,
        workflow: str | None = None,
        agent: str | None = None,
        toolset: str | None = None,
        tool_estimates: Mapping[str, int | ToolEstimateConfig] | ToolEstimateMap | None = None,
        default_tool_estimate: int | None = None,
        llm_estimate: Any = 500_000,
        llm_unit: Unit | str = Unit.USD_MICROCENTS,
        fail_open: bool = False,
        ttl_ms: int = 60_000,
        heartbeat_max_age_ms: int | None = None,
        heartbeat_max_extensions: int | None = None,
        commit_max_attempts: int | None = None,
        overage_policy: CommitOveragePolicy | str = CommitOveragePolicy.ALLOW_IF_AVAILABLE,
        dry_run: bool = False,
        retry_engine: object = None,
        **more: Any,
    ) -> None:
        if toolset is not None:
            raise InvalidParameterError(
                "toolset", toolset, "none: the toolset of a tool call is the tool, others have none"
            )
        without_effect = {
            "heartbeat_max_age_ms": heartbeat_max_age_ms,
            "heartbeat_max_extensions": heartbeat_max_extensions,
            "commit_max_attempts": commit_max_attempts,
            "retry_engine": retry_engine,
        }
        for name, value in without_effect.items():
            if value is not None:
                _deprecated(name, f"leave it out, {_WITHOUT_EFFECT[name]}")
        if tool_estimates is not None:
            _deprecated("tool_estimates", "use tool_risk")
            more.setdefault("tool_risk", tool_estimates)
        if default_tool_estimate is not None:
            _deprecated("default_tool_estimate", "use default_tool_risk")
            more.setdefault("default_tool_risk", default_tool_estimate)
        super().__init__(
            client,
            config=config,
            tenant=tenant,
            workspace=workspace,
            app=app,
            workflow=workflow,
            agent=agent,
            llm_estimate=llm_estimate,
            llm_unit=llm_unit,
            fail_open=fail_open,
            ttl_ms=ttl_ms,
            overage_policy=overage_policy,
            dry_run=dry_run,
            **more,
        )

    async def run(
        self, starting_agent: Agent[TContext], input: Any, *, run_id: str | None = None, **runner_kwargs: Any
    ) -> RunResult:
        """``Runner.run(starting_agent, input, hooks=hooks)``; every run cleans up after itself, by whatever call."""
        _deprecated("hooks.run(agent, …)", "use Runner.run(agent, …, hooks=hooks)")
        _manages_hooks("run", runner_kwargs, run_id)
        return await Runner.run(starting_agent, input, hooks=self, **runner_kwargs)

    def run_streamed(
        self, starting_agent: Agent[TContext], input: Any, *, run_id: str | None = None, **runner_kwargs: Any
    ) -> RunResultStreaming:
        """``Runner.run_streamed(starting_agent, input, hooks=hooks)``."""
        _deprecated("hooks.run_streamed(agent, …)", "use Runner.run_streamed(agent, …, hooks=hooks)")
        _manages_hooks("run_streamed", runner_kwargs, run_id)
        return Runner.run_streamed(starting_agent, input, hooks=self, **runner_kwargs)

    async def release_pending(self, reason: str = "requested", *, run_id: str | None = None) -> int:
        """Give back what ended runs left; a live run keeps what it holds, whatever ``run_id`` says."""
        if run_id is not None:
            _deprecated("release_pending(run_id=…)", "leave it out, a run that ends gives back what it held")
        return await super().release_pending(reason)

    async def release_all_pending(self, reason: str = "all_agent_runs_failed") -> None:
        """``release_pending(reason)``; ``aclose()`` is what an application calls when it stops."""
        _deprecated("release_all_pending()", "use aclose() where the application stops, else release_pending()")
        await super().release_pending(reason)


def cycles_budget_guardrail(
    *,
    client: AsyncCyclesClient | None = None,
    estimate: int = 0,
    name: str = "cycles_budget",
    **more: Any,
) -> InputGuardrail[Any]:
    """``cycles_otel.cycles_budget_guardrail`` with the defaults of ``runcycles-openai-agents``: an estimate of 0."""
    return guardrail.cycles_budget_guardrail(client, estimate=estimate, name=name, **more)


def _estimate(risk: ToolRiskConfig) -> ToolEstimateConfig:
    """A risk under its old name, without the note that a program is given."""
    estimate = ToolEstimateConfig.__new__(ToolEstimateConfig)
    ToolRiskConfig.__init__(estimate, risk.risk_points, risk.action_kind or DEFAULT_ACTION_KIND)
    return estimate


def _in_risk_points(parameter: str, unit: Unit | str) -> None:
    if member(parameter, unit, Unit) is not Unit.RISK_POINTS:
        raise InvalidParameterError(parameter, unit, "RISK_POINTS: a tool call is charged in no other unit")


def _manages_hooks(method: str, runner_kwargs: Mapping[str, Any], run_id: str | None) -> None:
    if "hooks" in runner_kwargs:
        accepted = f"none: {method}() gives its own hooks; a HookChain given to Runner.{method} has others beside them"
        raise InvalidParameterError("hooks", runner_kwargs["hooks"], accepted)
    if run_id is not None:
        _deprecated("run_id", "leave it out, each run has an id of its own, cycles.run.id", calls_above=2)


warnings.warn(
    "cycles_otel.runcycles_openai_agents is for a switch in one step: docs/migrating.md says what replaces its names",
    DeprecationWarning,
    stacklevel=2,
)
