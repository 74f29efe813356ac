"""One API call as telemetry reads it: the operation, its request, and what the reply says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit

from pydantic import BaseModel
from runcycles import CyclesResponse

from cycles_otel.budget.decision import denial_reason, unavailable_reason
from cycles_otel.telemetry import semconv
from cycles_otel.telemetry.facts import Facts

_ADMISSIONS = ("reserve", "decide")
_ABOUT_RESERVATION = ("commit", "release", "extend", "get")
_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class Endpoint:
    """The server that a client talks to."""

    base_url: str
    address: str
    port: int | None

    @classmethod
    def of(cls, base_url: str) -> Endpoint:
        """The endpoint at this address."""
        parts = urlsplit(base_url)
        return cls(base_url, parts.hostname or "", parts.port or _DEFAULT_PORTS.get(parts.scheme))


@dataclass(frozen=True)
class Request:
    """What is asked.

    Parameters
    ----------
    body: the request's JSON; empty for a GET.
    """

    operation: str
    endpoint: Endpoint
    reservation_id: str | None
    body: Mapping[str, Any]

    @classmethod
    def of_call(cls, operation: str, endpoint: Endpoint, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Request:
        """The request that a client's method makes of these arguments."""
        positional = list(args)
        reservation_id = None
        if operation in _ABOUT_RESERVATION:
            reservation_id = positional.pop(0) if positional else kwargs.get("reservation_id")
        body = positional[0] if positional else kwargs.get("request")
        if isinstance(body, BaseModel):
            body = body.model_dump(mode="json", exclude_none=True)
        return cls(operation, endpoint, reservation_id, body if isinstance(body, dict) else {})

    @property
    def idempotency_key(self) -> str | None:
        """The key of the operation, the same in each retry."""
        key = self.body.get("idempotency_key")
        return key if isinstance(key, str) else None

    @property
    def is_dry_run(self) -> bool:
        """Whether the server is asked to change nothing."""
        return self.body.get("dry_run") is True

    def is_remembered_with(self, reply: Reply) -> bool:
        """Whether the server repeats this reply when it is asked again with the same key."""
        denied_live = self.operation == "reserve" and reply.decision == semconv.DENY and not self.is_dry_run
        return self.idempotency_key is not None and reply.error_type is None and not denied_live

    @cached_property
    def facts(self) -> Facts:
        """Who pays for what, as far as the request says so."""
        return Facts.of_body(self.body)


@dataclass(frozen=True)
class Reply:
    """What came back.

    Parameters
    ----------
    decision: ALLOW, ALLOW_WITH_CAPS or DENY, of a reserve or a decide.
    reason_code: why it is a DENY.
    error_type: why the call failed; None where it worked, and a denial is a call that worked.
    """

    status: int | None = None
    request_id: str | None = None
    tenant: str = ""
    body: Mapping[str, Any] = field(default_factory=dict)
    decision: str | None = None
    reason_code: str | None = None
    error_type: str | None = None

    @property
    def worked(self) -> bool:
        """Whether the server did what was asked: neither a failure nor a denial."""
        return self.error_type is None and self.decision != semconv.DENY


def read_reply(request: Request, response: CyclesResponse) -> Reply:
    """What the response says, by the protocol."""
    denial = denial_reason(response, request.operation)
    error_type = None if denial is not None else _error_type(request, response)
    body = response.body if isinstance(response.body, dict) else {}
    return Reply(
        response.status if response.status > 0 else None,
        response.request_id,
        response.cycles_tenant or "",
        body,
        semconv.DENY if denial is not None else _granted(request, body, error_type),
        denial,
        error_type,
    )


def _granted(request: Request, body: Mapping[str, Any], error_type: str | None) -> str | None:
    if request.operation not in _ADMISSIONS or error_type is not None:
        return None
    return str(body["decision"])


def _error_type(request: Request, response: CyclesResponse) -> str | None:
    lack = unavailable_reason(request.operation, response)
    if lack is not None:
        return lack
    body = response.body or {}
    if not response.is_success:
        return str(body.get("error") or response.status)
    granted = request.operation != "reserve" or request.is_dry_run or isinstance(body.get("reservation_id"), str)
    return None if granted else semconv.ERROR_OTHER
