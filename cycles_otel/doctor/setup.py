"""What is examined: the set-up that the program would have, from ``CYCLES_*`` and the command line."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from runcycles import CyclesConfig, Unit

from cycles_otel.addresses import is_plain_over_a_network, without_login
from cycles_otel.api_key import masked
from cycles_otel.budget.policy import Policy
from cycles_otel.budget.step import Action, Origin, Step
from cycles_otel.budget.subject import Subject
from cycles_otel.doctor.finding import Finding, note, well, wrong
from cycles_otel.errors import InvalidParameterError
from cycles_otel.parameters import connection_config, subject_levels
from cycles_otel.pricing import DEFAULT_ESTIMATE
from cycles_otel.tools import DEFAULT_ACTION_KIND

ENVIRONMENT = "environment"
_NO_DEFAULTS = CyclesConfig("", "")
_SWITCHES = ("CYCLES_RETRY_ENABLED", "CYCLES_JOURNAL_ENABLED")
_NUMBERS: dict[str, Callable[[str], object]] = {
    "CYCLES_CONNECT_TIMEOUT": float,
    "CYCLES_READ_TIMEOUT": float,
    "CYCLES_RETRY_MAX_ATTEMPTS": int,
    "CYCLES_RETRY_INITIAL_DELAY": float,
    "CYCLES_RETRY_MULTIPLIER": float,
    "CYCLES_RETRY_MAX_DELAY": float,
    "CYCLES_RETRY_FLUSH_TIMEOUT": float,
}
_REQUIRED = {
    "CYCLES_BASE_URL": "Set it to the address of the server (cycles-otel serve: one for development)",
    "CYCLES_API_KEY": "Set it to a key of the tenant",
}


@dataclass(frozen=True)
class Asked:
    """What the program's hooks would be made with.

    Parameters
    ----------
    levels: the subject, where the command line says more than ``CYCLES_*``.
    llm_estimate: what an LLM call reserves, in whole ``llm_unit``s.
    tool_risk: the risk points that a tool call reserves; 0 asks for none.
    timeout: seconds that a reply may take, where the command line says other than ``CYCLES_*``.
    metrics_url: where ``/metrics`` is; None where the command line does not say.

    Raises
    ------
    InvalidParameterError: a level is not accepted.
    """

    levels: Mapping[str, str]
    llm_unit: Unit = Unit.USD_MICROCENTS
    llm_estimate: int = DEFAULT_ESTIMATE
    tool_risk: int = 1
    timeout: float | None = None
    metrics_url: str | None = None

    def __post_init__(self) -> None:
        subject_levels(_NO_DEFAULTS, **self.levels)

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
        return [_refused(error)], None, None
    if "tenant" not in levels:
        mend = "Set CYCLES_TENANT, or tenant= of the hooks (here: --tenant)"
        return [wrong(ENVIRONMENT, "no tenant is known", mend)], None, None
    address = without_login(config.base_url)
    shown = f"{address}, key {masked(config.api_key)}, tenant {levels['tenant']}"
    config = replace(config, tenant=levels["tenant"])
    if asked.timeout is not None:
        connect = min(asked.timeout, config.connect_timeout)
        config = replace(config, connect_timeout=connect, read_timeout=asked.timeout)
    return [well(ENVIRONMENT, shown), *_oddities(config, address)], config, Subject().with_levels(**levels)


def _oddities(config: CyclesConfig, address: str) -> Iterator[Finding]:
    """What works, and is mostly not meant."""
    if is_plain_over_a_network(config.base_url):
        yield note(ENVIRONMENT, f"the key goes over the network in plain text to {address}", "Use https")
    if path := urlsplit(config.base_url).path.strip("/"):
        mend = "Leave the path out of CYCLES_BASE_URL, unless a proxy before the server wants it"
        yield note(ENVIRONMENT, f"requests go to /{path}/v1/...", mend)
    for variable in _SWITCHES:
        value = os.environ.get(variable, "true")
        if value.lower() not in ("true", "false"):
            yield note(ENVIRONMENT, f"{variable}={value!r} counts as false", f"Set {variable} to true or false")


def _refused(error: ValueError) -> Finding:
    """Which variable keeps the others from being a set-up."""
    for variable, kind in _NUMBERS.items():
        if (value := os.environ.get(variable)) is not None and not _is_a(kind, value):
            return wrong(ENVIRONMENT, f"{variable}={value!r} is no number", f"Correct {variable}, or unset it")
    said = " ".join(str(error).split())
    if isinstance(error, InvalidParameterError):
        return wrong(ENVIRONMENT, said, f"Correct CYCLES_{error.parameter.upper()}")
    mend = next((mend for variable, mend in _REQUIRED.items() if variable in said), "Set it as the message says")
    return wrong(ENVIRONMENT, said, mend)


def _is_a(kind: Callable[[str], object], text: str) -> bool:
    try:
        kind(text)
    except ValueError:
        return False
    return True


def shadow() -> Policy:
    """A policy that asks the server and changes nothing."""
    return Policy(dry_run=True, fail_open=False)
