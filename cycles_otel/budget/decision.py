"""The one table of decisions: what came back from the Cycles server, and whether the step goes.

An answer from the server is a decision; only the lack of an answer is not. ``fail_open`` speaks about the lack
alone, ``unbudgeted`` about a scope or a unit for which no budget exists.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import httpx
from runcycles import CyclesResponse

from cycles_otel.budget.circuit import CIRCUIT_OPEN, CircuitOpenError

NO_BUDGET = "BUDGET_NOT_FOUND"
UNIT_MISMATCH = "UNIT_MISMATCH"
_NOT_A_DENIAL = {"IDEMPOTENCY_MISMATCH", "RESERVATION_FINALIZED", "MAX_EXTENSIONS_EXCEEDED", UNIT_MISMATCH}
_TENANT_STATES = ("TENANT_SUSPENDED", "TENANT_CLOSED")
_LIST_CAPS = ("tool_allowlist", "tool_denylist")
_NUMBER_CAPS = ("max_tokens", "max_steps_remaining", "cooldown_ms")
_ADMISSIONS = ("reserve", "decide")
_LONGEST_RETRY_AFTER = 3600.0
_OK, _CREATED = 200, 201
_STATUS = {"commit": "COMMITTED", "release": "RELEASED", "extend": "ACTIVE", "event": "APPLIED"}


class Ruling(Enum):
    """What becomes of a step."""

    GO = "go"
    GO_UNENFORCED = "go, unenforced"
    GO_UNBUDGETED = "go, unbudgeted"
    GO_SHADOWED = "go, where it would be denied"
    DENIED = "denied"
    MISCONFIGURED = "set up wrongly"
    UNAVAILABLE = "unavailable"

    @property
    def goes(self) -> bool:
        """Whether the step may run."""
        return self not in (Ruling.DENIED, Ruling.MISCONFIGURED, Ruling.UNAVAILABLE)


@dataclass(frozen=True)
class Verdict:
    """A ruling with its reason.

    Parameters
    ----------
    reason: the reason code of a denial, or the ``error.type`` of whatever else is no plain GO.
    message: what the server, or the transport, said.
    caps: the limits within which the step may run, as the server sent them.
    """

    ruling: Ruling
    reason: str = ""
    message: str = ""
    caps: Mapping[str, Any] | None = None
    response: CyclesResponse = field(default_factory=lambda: CyclesResponse(status=0), repr=False)

    @property
    def body(self) -> Mapping[str, Any]:
        """The reply's JSON object, empty where there was none."""
        return body_of(self.response)


def judge(
    operation: str, response: CyclesResponse, *, fail_open: bool, unbudgeted: str = "raise", dry_run: bool = False
) -> Verdict:
    """Rule on the reply to a ``reserve`` or a ``decide``.

    ``fail_open`` lets a step go without an answer; ``unbudgeted="allow"`` lets it go without a budget;
    ``dry_run`` says that the request was a shadow, whose reply grants no reservation.
    """
    lack = unavailable_reason(operation, response) or _missing_grant(operation, response, dry_run)
    if lack is not None:
        return _verdict(Ruling.GO_UNENFORCED if fail_open else Ruling.UNAVAILABLE, lack, response)
    denial = denial_reason(response, operation)
    if unbudgeted == "allow" and (denial == NO_BUDGET or error_code(response) == UNIT_MISMATCH):
        return _verdict(Ruling.GO_UNBUDGETED, denial or UNIT_MISMATCH, response)
    if denial is not None:
        return _verdict(Ruling.DENIED, denial, response)
    if not response.is_success:
        return _verdict(Ruling.MISCONFIGURED, error_code(response) or str(response.status), response)
    return Verdict(Ruling.GO, caps=body_of(response).get("caps"), response=response)


def unavailable_reason(operation: str, response: CyclesResponse) -> str | None:
    """The ``error.type`` of a reply that is no answer, else None.

    No answer is: no connection, a timeout, 5xx, 429, or anything that is not the protocol's JSON.
    """
    if response.is_transport_error:
        if isinstance(response.transport_exception, CircuitOpenError):
            return CIRCUIT_OPEN
        timed_out = isinstance(response.transport_exception, httpx.TimeoutException | TimeoutError)
        return "timeout" if timed_out else "connection_error"
    if response.status >= 500 or response.status == 429:
        return error_code(response) or str(response.status)
    if not is_protocol_reply(operation, response):
        return "_OTHER" if response.is_success else str(response.status)
    return None


def denial_reason(response: CyclesResponse, operation: str) -> str | None:
    """The reason code where the reply denies a ``reserve`` or a ``decide``, else None."""
    if operation not in _ADMISSIONS or not is_protocol_reply(operation, response):
        return None
    body, code = body_of(response), error_code(response)
    if response.is_success:
        return reason_given(body) if body.get("decision") == "DENY" else None
    if response.status in (401, 403):
        said = f"{code} {body.get('message')}"
        return next((state for state in _TENANT_STATES if state in said), None)
    if response.status == 404:
        return NO_BUDGET
    return code if response.status == 409 and code not in _NOT_A_DENIAL else None


def reason_given(denial: Mapping[str, Any]) -> str:
    """The reason code of a denial with status 200, which need not give one."""
    return str(denial.get("reason_code") or "DENIED")


def is_protocol_reply(operation: str, response: CyclesResponse) -> bool:
    """Whether the reply has what the protocol says that it must have; a proxy's page has not."""
    if not isinstance(response.body, dict):
        return False
    body = response.body
    if not response.is_success:
        return 400 <= response.status < 600 and error_code(response) is not None
    if response.status != (_CREATED if operation == "event" else _OK):
        return False
    if operation == "reserve":
        return _is_reserve_reply(body)
    if operation == "decide":
        return body.get("decision") in ("ALLOW", "ALLOW_WITH_CAPS", "DENY") and _are_caps(body.get("caps"))
    if operation == "commit":
        return body.get("status") == _STATUS["commit"] and _is_amount(body.get("charged"))
    if operation in _STATUS:
        return body.get("status") == _STATUS[operation]
    return bool(body)


def _is_amount(value: object) -> bool:
    return isinstance(value, dict) and isinstance(value.get("amount"), int) and isinstance(value.get("unit"), str)


def body_of(response: CyclesResponse) -> Mapping[str, Any]:
    """The reply's JSON object, empty where there is none."""
    return response.body if isinstance(response.body, dict) else {}


def error_code(response: CyclesResponse) -> str | None:
    """The protocol's code of an error reply, None where there is none."""
    code = body_of(response).get("error")
    return code if isinstance(code, str) and code else None


def retry_after(response: CyclesResponse) -> float | None:
    """How long the server asks to be left alone, in s, an hour at most; None where it does not say."""
    asked_ms = response.retry_after_ms_header
    return None if asked_ms is None else min(asked_ms / 1000, _LONGEST_RETRY_AFTER)


def _is_reserve_reply(body: Mapping[str, Any]) -> bool:
    """A live grant names its reservation; a shadow's answer names what it would have touched."""
    if body.get("decision") not in ("ALLOW", "ALLOW_WITH_CAPS"):
        return body.get("decision") == "DENY"
    named = bool(_reservation_id(body)) or isinstance(body.get("affected_scopes"), list)
    return named and _are_caps(body.get("caps"))


def _reservation_id(body: Mapping[str, Any]) -> str | None:
    value = body.get("reservation_id")
    return value if isinstance(value, str) and value else None


def _are_caps(caps: object) -> bool:
    """Whether these can be kept to: a cap that cannot be read must not be passed over in silence."""
    if not isinstance(caps, dict):
        return caps is None
    lists, numbers = [caps.get(name) for name in _LIST_CAPS], [caps.get(name) for name in _NUMBER_CAPS]
    return all(value is None or isinstance(value, list) for value in lists) and all(
        value is None or (isinstance(value, int) and value >= 0) for value in numbers
    )


def _missing_grant(operation: str, response: CyclesResponse, dry_run: bool) -> str | None:
    """A live reserve that is allowed without naming a reservation is no answer either: nothing could be settled."""
    allowed = response.is_success and body_of(response).get("decision") != "DENY"
    granted = _reservation_id(body_of(response)) is not None
    return "_OTHER" if operation == "reserve" and allowed and not (granted or dry_run) else None


def _verdict(ruling: Ruling, reason: str, response: CyclesResponse) -> Verdict:
    message = str(body_of(response).get("message") or response.error_message or reason)
    return Verdict(ruling, reason, message, response=response)
