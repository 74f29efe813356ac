"""What a customer is told when a step was not let go: a status, and the body of RFC 9457 (``problem+json``).

402: the budget is used up; it takes more of it. 429: waiting may help, and ``Retry-After`` says how long. 403: the
operator does not allow the step. 503: Cycles gave no answer, and this service does not go on without one.
"""

from __future__ import annotations

import logging
import math
from dataclasses import asdict, dataclass
from typing import Any

from agents.exceptions import AgentsException
from desk import Visit
from fastapi.responses import JSONResponse
from openai import OpenAIError
from runcycles import AsyncCyclesClient

from cycles_otel import CyclesUnavailableError, StepDeniedError

logger = logging.getLogger("service")

FAILURES = (AgentsException, OpenAIError)
"""What a run may raise: what stopped it, or what the model's provider says."""
_WHILE_HELD, _WHILE_AWAY = 2, 5
_STATUS = {"COOLDOWN": 429, "TOOL_NOT_ALLOWED": 403, "MAX_STEPS_REACHED": 403}
_TITLES = {
    402: "The budget does not cover this.",
    403: "This is not allowed.",
    429: "The budget does not cover this at the moment.",
    502: "The answer failed.",
    503: "Budgets cannot be checked at the moment.",
}


@dataclass(frozen=True)
class Problem:
    """Why a request got no answer, or not all of it.

    Parameters
    ----------
    reason: the reason code of the denial, or why there was no decision.
    scope, unit: whose budget, and of what; None where no budget was asked.
    used: what was used all the same, by unit, before the run was stopped.
    retry_after: when to try again, in s; None where waiting does not help.
    """

    status: int
    reason: str
    request_id: str
    used: dict[str, int]
    scope: str | None = None
    unit: str | None = None
    retry_after: int | None = None

    def body(self) -> dict[str, Any]:
        """The members of the problem."""
        return {"title": _TITLES[self.status], **asdict(self)}

    def response(self) -> JSONResponse:
        """The whole HTTP response."""
        headers = {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}
        return JSONResponse(self.body(), self.status, headers, media_type="application/problem+json")


async def problem_of(error: Exception, visit: Visit, cycles: AsyncCyclesClient) -> Problem:
    """What to tell a customer of an error that ended a run."""
    request_id, used = visit.request_id, dict(visit.used)
    if isinstance(error, StepDeniedError):
        reason = error.reason_code or "DENIED"
        status = _STATUS.get(reason, 402)
        if error.retry_after_ms is not None or (reason == "BUDGET_EXCEEDED" and await _is_only_held(error, cycles)):
            status = 429
        retry_after = _pause(error) if status == 429 else None
        return Problem(status, reason, request_id, used, error.scope, error.unit, retry_after)
    if isinstance(error, CyclesUnavailableError):
        return Problem(503, error.error_type, request_id, used, retry_after=_WHILE_AWAY)
    # A wrong set-up, a model that failed: the details are the operator's affair, not the customer's.
    logger.error("request %s of %s failed: %s", request_id, visit.customer, type(error).__name__, exc_info=error)
    return Problem(502, "FAILED", request_id, used)


def _pause(denied: StepDeniedError) -> int:
    """How long to wait, in s: what the server says, where it does."""
    return _WHILE_HELD if denied.retry_after_ms is None else math.ceil(denied.retry_after_ms / 1000)


async def _is_only_held(error: StepDeniedError, cycles: AsyncCyclesClient) -> bool:
    """Whether every budget would cover the step if nothing was held for other runs, which soon give back the rest."""
    denied_at, amount = error.scope or "", error.amount or 0
    tenant = denied_at.partition("/")[0].removeprefix("tenant:")
    reply = await cycles.get_balances(tenant=tenant)
    if not reply.is_success:
        return False
    on_the_way = [
        balance
        for balance in (reply.body or {}).get("balances", ())
        if balance["remaining"]["unit"] == error.unit and f"{denied_at}/".startswith(f"{balance['scope_path']}/")
    ]
    return all(balance["remaining"]["amount"] + balance["reserved"]["amount"] >= amount for balance in on_the_way)
