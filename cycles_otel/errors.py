"""The exceptions of the package.

What stops a run is both the matching exception of ``runcycles``, so that the handlers of its users keep working,
and an ``AgentsException``, so that the Agents SDK lets it through as it is.
"""

from __future__ import annotations

from typing import Any

from agents.exceptions import AgentsException
from runcycles import (
    BudgetExceededError,
    CyclesError,
    CyclesProtocolError,
    CyclesTransportError,
    DebtOutstandingError,
    OverdraftLimitExceededError,
    TenantClosedError,
)


class InvalidParameterError(CyclesError, ValueError):
    """A parameter has a value that is not accepted; the message names the parameter, the value and what is."""

    def __init__(self, parameter: str, value: object, accepted: str) -> None:
        super().__init__(f"{parameter}={value!r} is not accepted: {accepted}")
        self.parameter = parameter
        self.value = value
        self.accepted = accepted


class InvalidParameterTypeError(InvalidParameterError, TypeError):
    """A parameter has a value of a type that is not accepted."""


class MissingExtraError(CyclesError, ImportError):
    """Something was asked for that needs an extra which is not installed; the message says which."""


class CyclesConfigurationError(CyclesProtocolError, AgentsException):
    """The Cycles server refused a request because of how the program is set up; the message says what to mend."""


class CyclesUnavailableError(CyclesTransportError, AgentsException):
    """The Cycles server gave no answer, and ``fail_open=False``: the step was not started.

    ``error_type`` says why: ``timeout``, ``connection_error``, the protocol's code or the HTTP status.
    """

    def __init__(self, message: str, *, error_type: str, cause: Exception | None = None) -> None:
        super().__init__(message, cause=cause)
        self.error_type = error_type


class StepDeniedError(BudgetExceededError, AgentsException):
    """The budget does not allow a step, and the step was stopped before it cost anything.

    Parameters
    ----------
    scope: the deepest scope that was asked for budget, as the protocol writes it.
    unit: the unit that was asked for.
    amount: how much of it was asked for: what the step would have cost, as far as it was known.
    trace_id: the trace in which the server, or this process, saw the denial.
    """

    def __init__(
        self,
        message: str,
        *,
        reason_code: str,
        scope: str | None = None,
        unit: str | None = None,
        amount: int | None = None,
        trace_id: str | None = None,
        **protocol: Any,
    ) -> None:
        super().__init__(message, reason_code=reason_code, **protocol)
        self.scope = scope
        self.unit = unit
        self.amount = amount
        self.trace_id = trace_id


class OverdraftDeniedError(StepDeniedError, OverdraftLimitExceededError):
    """A step was denied, since a scope is over its limit."""


class DebtDeniedError(StepDeniedError, DebtOutstandingError):
    """A step was denied, since a scope has debt and no overdraft."""


class TenantClosedDeniedError(StepDeniedError, TenantClosedError):
    """A step was denied, since its tenant is closed."""


DENIALS: dict[str, type[StepDeniedError]] = {
    "OVERDRAFT_LIMIT_EXCEEDED": OverdraftDeniedError,
    "DEBT_OUTSTANDING": DebtDeniedError,
    "TENANT_CLOSED": TenantClosedDeniedError,
}
"""Reason codes whose denial has a class of its own; all others are a plain ``StepDeniedError``."""
