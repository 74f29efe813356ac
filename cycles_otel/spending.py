"""What an LLM call really cost: priced by its answer, with the tools that the provider ran inside of it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

from agents.items import ModelResponse
from runcycles import Unit

from cycles_otel.budget.governor import Governor
from cycles_otel.budget.requests import Spend
from cycles_otel.budget.reservation import Admitted
from cycles_otel.budget.step import Action, Step
from cycles_otel.pricing import ModelIdentity, Pricing, llm_spend
from cycles_otel.pricing.estimate import Estimates
from cycles_otel.pricing.hosted import HostedCall
from cycles_otel.pricing.spend import LlmSpend
from cycles_otel.run import RunScope
from cycles_otel.tools import DEFAULT_ACTION_KIND, ToolRiskMap

SpendOf = Callable[[ModelResponse, ModelIdentity | None], Spend]


class LlmSpending:
    """Prices the answers of models, learns from them what to reserve, and charges the tools that providers host.

    Parameters
    ----------
    risk: the risk points of tools.
    """

    def __init__(self, governor: Governor, pricing: Pricing, estimates: Estimates, risk: ToolRiskMap) -> None:
        self._governor = governor
        self._pricing = pricing
        self._estimates = estimates
        self._risk = risk

    def of_call(self, scope: RunScope, step: Step, model: ModelIdentity, reservation: Admitted | None) -> SpendOf:
        """What to commit for a call that begins now, once its answer is there."""
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
            self._governor.observer.hosted(origin, number)
            if risk.risk_points:
                subject = step.subject.with_levels(toolset=name)
                action = Action(risk.action_kind or DEFAULT_ACTION_KIND, name)
                metadata = {"hosted": True, "calls": number}
                charge = Step(subject, action, Unit.RISK_POINTS, risk.risk_points * number, origin, metadata=metadata)
                settlement = self._governor.charge(charge, Spend(charge.amount, "risk_points"))
                scope.charged(settlement, charge.unit, charge.amount)

    def _hosted_name(self, call: HostedCall) -> str:
        """A tool of a hosted MCP server may have a risk of its own; otherwise it is one of ``hosted_mcp``."""
        return call.name if call.name in self._risk.mapping else call.tool


def _tell_of_usage(reservation: Admitted, used: LlmSpend) -> None:
    observer = reservation.observer
    observer.usage(used.usage.by_type)
    if used.price is not None:
        observer.priced(used.price.source, used.price.data_version, used.price.multiplier)
    if used.is_unpriced:
        observer.price_unknown(reservation.step.origin.model or "")
