"""cycles_budget_guardrail: asks whether a run would be allowed, before it spends anything."""

from __future__ import annotations

from typing import Any

from agents import Agent, GuardrailFunctionOutput, InputGuardrail, RunContextWrapper
from agents.items import TResponseInputItem
from runcycles import AsyncCyclesClient, CyclesConfig, Unit

from cycles_otel.assembly import observed_governor
from cycles_otel.budget.decision import Ruling, Verdict
from cycles_otel.budget.policy import Policy, Unbudgeted
from cycles_otel.budget.step import Action, Origin, Step
from cycles_otel.budget.subject import Subject
from cycles_otel.errors import InvalidParameterError
from cycles_otel.parameters import choice, connection_config, flag, member, subject_levels, text, whole_number
from cycles_otel.refusal import raise_unless_it_goes
from cycles_otel.run import current_scope
from cycles_otel.telemetry import Recorder


def cycles_budget_guardrail(
    client: AsyncCyclesClient | None = None,
    *,
    config: CyclesConfig | None = None,
    tenant: str | None = None,
    workspace: str | None = None,
    app: str | None = None,
    workflow: str | None = None,
    agent: str | None = None,
    estimate: int = 500_000,
    unit: Unit | str = Unit.USD_MICROCENTS,
    fail_open: bool = True,
    dry_run: bool = False,
    unbudgeted: Unbudgeted = "raise",
    name: str = "cycles_budget_guardrail",
    recorder: Recorder | None = None,
) -> InputGuardrail[Any]:
    """An input guardrail that asks ``/v1/decide`` before the agent starts, and blocks the run on a denial.

    It runs before the first model call, not beside it: on a denial no token is spent, and the SDK raises
    ``InputGuardrailTripwireTriggered``. Parameters that are not explained here are those of ``CyclesRunHooks``.

    Parameters
    ----------
    estimate: the expected cost of the whole run, in ``unit``.
    fail_open: let the run start while the server gives no answer; otherwise that trips the guardrail too.
    dry_run: record a denial as one that would have been, and let the run start.
    name: the guardrail's name in the SDK's traces.

    Raises
    ------
    InvalidParameterError: at once, where a value is not accepted.
    CyclesConfigurationError: in the run, where the server refuses the set-up.
    """
    connection = connection_config(client, config)
    subject = Subject().with_levels(
        **subject_levels(connection, tenant=tenant, workspace=workspace, app=app, workflow=workflow, agent=agent)
    )
    if subject.tenant is None:
        raise InvalidParameterError("tenant", None, "a tenant, as a parameter, in the config or as CYCLES_TENANT")
    amount, in_unit = whole_number("estimate", estimate), member("unit", unit, Unit)
    policy = Policy(
        fail_open=flag("fail_open", fail_open),
        dry_run=flag("dry_run", dry_run),
        unbudgeted=choice("unbudgeted", unbudgeted, "raise", "allow"),
    )
    governor = observed_governor(connection, policy, recorder, tenant=subject.tenant)

    async def check(
        context: RunContextWrapper[Any], agent: Agent[Any], input: str | list[TResponseInputItem]
    ) -> GuardrailFunctionOutput:
        scope = current_scope()
        step = Step(
            subject.with_levels(agent=agent.name or None),
            Action("agent.run", agent.name),
            in_unit,
            amount,
            Origin(agent=agent.name, run_id=scope.run_id if scope else None),
        )
        return _output(await governor.decide(step), step)

    return InputGuardrail(guardrail_function=check, name=text("name", name), run_in_parallel=False)


def _output(verdict: Verdict, step: Step) -> GuardrailFunctionOutput:
    """Denied and unavailable trip the wire; a wrong set-up raises, since no budget would mend it."""
    if verdict.ruling is Ruling.MISCONFIGURED:
        raise_unless_it_goes(verdict, step)
    info = {
        "decision": "ALLOW" if verdict.ruling.goes else "DENY" if verdict.ruling is Ruling.DENIED else "UNAVAILABLE",
        "ruling": verdict.ruling.value,
        "reason_code": verdict.reason or None,
        "message": verdict.message or None,
    }
    return GuardrailFunctionOutput(output_info=info, tripwire_triggered=not verdict.ruling.goes)
