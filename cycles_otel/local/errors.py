"""What the server refuses, with status, code and message, and what `LocalCycles` refuses to be built from."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


class InvalidParameter(ValueError):
    """A parameter of the embedded server that cannot be used.

    Parameters
    ----------
    parameter: its name, with the path inside it where it has one.
    value: what was given.
    accepted: what would have been right, in a few words.
    """

    def __init__(self, parameter: str, value: object, accepted: str) -> None:
        super().__init__(f"{parameter}: got {value!r}, accepted is {accepted}")
        self.parameter = parameter
        self.value = value
        self.accepted = accepted


class ProtocolError(Exception):
    """An error reply of the Cycles protocol: HTTP status, error code, message and, rarely, details."""

    def __init__(self, status: int, code: str, message: str, details: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.details = details


class Denial(ProtocolError):
    """A refusal that is about money: what a dry run and a decision report as DENY, with this `reason_code`."""

    def __init__(self, status: int, code: str, message: str, reason_code: str | None = None) -> None:
        super().__init__(status, code, message)
        self.reason_code = reason_code or code


def invalid_request(message: str, status: int = 400) -> ProtocolError:
    """The request itself is wrong; asking again will not help."""
    return ProtocolError(status, "INVALID_REQUEST", message)


def malformed_body() -> ProtocolError:
    """The body is no JSON object of the expected shape."""
    return invalid_request("Malformed request body")


def validation_failed(violations: Iterable[str]) -> ProtocolError:
    """The body has the right shape, but values that are not allowed."""
    return invalid_request("Validation failed: " + ", ".join(violations))


def unauthorized(reason: str) -> ProtocolError:
    """No key, or one that does not open anything."""
    return ProtocolError(401, "UNAUTHORIZED", reason)


def forbidden() -> ProtocolError:
    """The key belongs to another tenant than the one asked for."""
    message = "Tenant provided in the request body does not match tenant resolved from authorization token"
    return ProtocolError(403, "FORBIDDEN", message)


def not_found(resource: str) -> ProtocolError:
    """There is no such reservation, document or path."""
    return ProtocolError(404, "NOT_FOUND", f"Resource not found: {resource}")


def budget_not_found(scope: str) -> Denial:
    """No scope of the subject has a budget in any unit."""
    return Denial(404, "NOT_FOUND", f"Budget not found for provided scope: {scope}", "BUDGET_NOT_FOUND")


def unit_mismatch(scope: str, requested_unit: str, expected_units: list[str]) -> ProtocolError:
    """The subject has budgets, but in other units than the one asked for."""
    message = (
        f"Budget at scope '{scope}' exists but in a different unit "
        f"(requested: {requested_unit}, expected: [{', '.join(expected_units)}])"
    )
    details = {"scope": scope, "requested_unit": requested_unit, "expected_units": expected_units}
    return ProtocolError(400, "UNIT_MISMATCH", message, details)


def commit_unit_mismatch() -> ProtocolError:
    """A commit in another unit than was reserved."""
    return ProtocolError(400, "UNIT_MISMATCH", "Provided units does not match the stored ones")


def budget_exceeded(reason: str = "BUDGET_EXCEEDED") -> Denial:
    """A scope has less left than what was asked for."""
    return Denial(409, "BUDGET_EXCEEDED", f"Budget exceeded for: {reason}")


def overdraft_limit_exceeded(reason: str = "OVERDRAFT_LIMIT_EXCEEDED") -> Denial:
    """A scope is over its limit, or a commit would bring it there."""
    return Denial(409, "OVERDRAFT_LIMIT_EXCEEDED", f"Overdraft limit exceeded for: {reason}")


def debt_outstanding() -> Denial:
    """A scope owes, and has no overdraft that would allow it to."""
    message = "Outstanding debt blocks new reservation for: DEBT_OUTSTANDING"
    return Denial(409, "DEBT_OUTSTANDING", message)


def budget_not_active(scope: str, status: str) -> Denial:
    """The budget at `scope` is FROZEN or CLOSED."""
    return Denial(409, f"BUDGET_{status}", f"Budget is {status.lower()} for scope: {scope}")


def tenant_closed(tenant: str) -> Denial:
    """The tenant is closed for good: nothing of its may change."""
    return Denial(409, "TENANT_CLOSED", f"Tenant is closed: {tenant}")


def idempotency_mismatch() -> ProtocolError:
    """A key that was used before comes with another payload."""
    return ProtocolError(409, "IDEMPOTENCY_MISMATCH", "Provided idempotency does not match the stored one")


def reservation_finalized() -> ProtocolError:
    """The reservation was committed or released before."""
    return ProtocolError(409, "RESERVATION_FINALIZED", "Reservation finalized: Reservation already finalized")


def reservation_expired() -> ProtocolError:
    """The reservation's time, and its grace, are over."""
    return ProtocolError(410, "RESERVATION_EXPIRED", "Provided reservation has already expired")


def max_extensions_exceeded(maximum: int) -> ProtocolError:
    """The reservation was extended as often as its tenant allows."""
    return ProtocolError(409, "MAX_EXTENSIONS_EXCEEDED", f"Maximum reservation extensions ({maximum}) reached")
