"""The steps of a run as the governor is asked about them: who pays, what is done, and what is reserved for it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from agents import Agent, RunContextWrapper, Tool
from agents.items import TResponseInputItem
from runcycles import CyclesConfig, Unit

from cycles_otel.budget.step import Action, Origin, Step
from cycles_otel.budget.subject import Subject
from cycles_otel.degradation.estimates import scaled_estimate
from cycles_otel.degradation.policies import Downgrade
from cycles_otel.errors import InvalidParameterError, InvalidParameterTypeError
from cycles_otel.parameters import known_levels, subject_levels
from cycles_otel.pricing import ModelIdentity, PlannedCall, Pricing
from cycles_otel.pricing.estimate import Estimates, Fixed
from cycles_otel.run import RunScope
from cycles_otel.tools import DEFAULT_ACTION_KIND, ToolRiskMap

SubjectOf = Callable[[Any], Mapping[str, str]]
_NO_DEFAULTS = CyclesConfig(base_url="", api_key="")


class Steps:
    """Makes the steps of one set of hooks.

    Parameters
    ----------
    subject: who pays, as far as that is the same for all runs.
    subject_of: what a run's own context says to that.
    risk: the risk points of tools.
    """

    def __init__(
        self, subject: Subject, subject_of: SubjectOf | None, pricing: Pricing, estimates: Estimates, risk: ToolRiskMap
    ) -> None:
        self.subject = subject
        self.risk = risk
        self._subject_of = subject_of
        self._pricing = pricing
        self._estimates = estimates

    def bound(self, levels: Mapping[str, object]) -> Steps:
        """The same for a subject in which these levels stand."""
        view = copy.copy(self)
        view.subject = self.subject.with_levels(**subject_levels(_NO_DEFAULTS, **levels))
        return view

    def llm(
        self,
        scope: RunScope,
        context: RunContextWrapper[Any],
        agent: Agent[Any],
        system_prompt: str | None = None,
        input_items: Sequence[TResponseInputItem] = (),
        downgrade: Downgrade | None = None,
    ) -> tuple[ModelIdentity, Step]:
        """The model that is called, and the step of calling it."""
        asked, model = model_of(scope, agent), model_of(scope, agent, downgrade)
        settings = agent.model_settings.resolve(scope.config.model_settings)
        if downgrade is not None:
            settings = settings.resolve(downgrade.settings)
        planned = PlannedCall(agent, model.name, system_prompt, input_items, settings)
        step = Step(
            self._subject_for(context, agent),
            Action("llm.completion", model.name),
            self._pricing.unit,
            self._estimate(planned, asked, model, downgrade),
            Origin(agent=agent.name, model=model.name, run_id=scope.run_id),
            metadata={"downgraded_from": asked.name} if downgrade is not None else None,
        )
        return model, step

    def tool(self, scope: RunScope, context: RunContextWrapper[Any], agent: Any, tool: Tool) -> Step:
        """The step of a tool call."""
        risk = self.risk.of(tool.name)
        return Step(
            self._subject_for(context, agent).with_levels(toolset=tool.name),
            Action(risk.action_kind or DEFAULT_ACTION_KIND, tool.name),
            Unit.RISK_POINTS,
            risk.risk_points,
            Origin(
                agent=agent.name,
                tool=tool.name,
                tool_call_id=getattr(context, "tool_call_id", None),
                run_id=scope.run_id,
            ),
        )

    def handoff(self, scope: RunScope, context: RunContextWrapper[Any], from_agent: Any, to_agent: Any) -> Step:
        """The step of one agent's handing over to another, which costs nothing."""
        return Step(
            self._subject_for(context, from_agent),
            Action("agent.handoff", to_agent.name),
            Unit.RISK_POINTS,
            0,
            Origin(agent=from_agent.name, run_id=scope.run_id),
            metadata={"from_agent": from_agent.name, "to_agent": to_agent.name},
        )

    def _estimate(
        self, planned: PlannedCall, asked: ModelIdentity, model: ModelIdentity, downgrade: Downgrade | None
    ) -> int:
        """What to reserve: of a downgrade what its policy says, else what the hooks would reserve for its model."""
        if downgrade is not None and downgrade.estimate is not None:
            return downgrade.estimate
        estimate = self._estimates.of(planned, model)
        if downgrade is None or not isinstance(self._estimates, Fixed):
            return estimate
        return scaled_estimate(estimate, self._pricing, planned.agent.name, asked, model)

    def _subject_for(self, context: RunContextWrapper[Any], agent: Any) -> Subject:
        subject = self.subject
        if self._subject_of is not None:
            given = known_levels("subject", self._subject_of(context.context))
            subject = subject.with_levels(**subject_levels(_NO_DEFAULTS, **given))
        if subject.tenant is None:
            raise InvalidParameterError("subject", None, "levels with a tenant, for each run")
        return subject.with_levels(agent=agent.name or None)


def model_of(scope: RunScope, agent: Agent[Any], downgrade: Downgrade | None = None) -> ModelIdentity:
    """The model that is asked for, or the one that is called instead."""
    override = scope.config.model if downgrade is None else downgrade.model
    return ModelIdentity.asked_for(override, agent, scope.config.model_provider)


def subject_function(subject: object) -> SubjectOf | None:
    """``subject`` if it is a function."""
    if subject is not None and not callable(subject):
        raise InvalidParameterTypeError("subject", subject, "a function from the run's context to levels")
    return subject
