"""What is examined: the set-up that the program would have, from ``CYCLES_*`` and the command line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from runcycles import CyclesConfig, Unit

from cycles_otel.budget.policy import Policy
from cycles_otel.budget.step import Action, Origin, Step
from cycles_otel.budget.subject import Subject
from cycles_otel.doctor.finding import Finding, note, well, wrong
from cycles_otel.parameters import connection_config, subject_levels, without_login
from cycles_otel.plain_http import is_plain_over_a_network
from cycles_otel.pricing import DEFAULT_ESTIMATE
from cycles_otel.tools import DEFAULT_ACTION_KIND

ENVIRONMENT = "environment"
_LONGEST_PREFIX = 8


@dataclass(frozen=True)
class Asked:
    """What the program's hooks would be made with.

    Parameters
    ----------
    levels: the subject, where the command line says more than ``CYCLES_*``.
    llm_estimate: what an LLM call reserves, in whole ``llm_unit``s.
    tool_risk: the risk points that a tool call reserves; 0 asks for none.
    timeout: seconds that the server may take for a reply.
    metrics_url: where ``/metrics`` is; None where the program serves none.
    """

    levels: Mapping[str, str]
    llm_unit: Unit = Unit.USD_MICROCENTS
    llm_estimate: int = DEFAULT_ESTIMATE
    tool_risk: int = 1
    timeout: float = 5.0
    metrics_url: str | None = None

    def steps(self, subject: Subject) -> list[Step]:
        """One step of each kind that would be reserved for."""
        agent = Origin(agent=subject.agent)
        llm = Step(subject, Action("llm.completion", "doctor"), self.llm_unit, self.llm_estimate, agent)
        tool = Step(subject, Action(DEFAULT_ACTION_KIND, "doctor"), Unit.RISK_POINTS, self.tool_risk, agent)
        return [llm, tool] if self.tool_risk else [llm]


def environment(asked: Asked) -> tuple[list[Finding], CyclesConfig | None, Subject | None]:
    """The set-up that ``CYCLES_*`` make, with what the command line adds; None where they make none."""
    try:
        config = connection_config(None, None)
        levels = subject_levels(config, **asked.levels)
    except ValueError as error:
        return [wrong(ENVIRONMENT, _one_line(error), "Set it as the message says; docs: Configuration")], None, None
    if "tenant" not in levels:
        unknown = wrong(
            ENVIRONMENT, "no tenant is known", "Set CYCLES_TENANT, or tenant= of the hooks (here: --tenant)"
        )
        return [unknown], None, None
    address = without_login(config.base_url)
    shown = f"{address}, key {_masked(config.api_key)}, tenant {levels['tenant']}"
    findings = [well(ENVIRONMENT, shown)]
    if is_plain_over_a_network(config.base_url):
        findings.append(note(ENVIRONMENT, f"the key goes over the network in plain text to {address}", "Use https"))
    config = replace(config, tenant=levels["tenant"], connect_timeout=min(asked.timeout, config.connect_timeout))
    return findings, replace(config, read_timeout=asked.timeout), Subject().with_levels(**levels)


def shadow() -> Policy:
    """A policy that asks the server and changes nothing."""
    return Policy(dry_run=True, fail_open=False)


def _masked(key: str) -> str:
    """Enough of a key to tell it from others, and not enough to use it."""
    return f"{key[: min(_LONGEST_PREFIX, len(key) // 4)]}…"


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
