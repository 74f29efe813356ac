"""One API call as telemetry reads it: the operation, its request, and what the reply says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from pydantic import BaseModel
from runcycles import CyclesResponse

from cycles_otel.budget.decision import (
    body_of,
    denial_reason,
    error_code,
    is_protocol_reply,
    reason_given,
    unavailable_reason,
)
from cycles_otel.telemetry import semconv

_ADMISSIONS = ("reserve", "decide")
_ABOUT_RESERVATION = ("commit", "release", "extend", "get")
_RECOVERED = "recovered_reservation_id"
_DEFAULT_PORTS = {"http": 80, "https": 443}
_NOTHING: Mapping[str, Any] = {}


@dataclass(frozen=True)
class Endpoint:
    """The server that a client talks to.

    Parameters
    ----------
    attributes: what a span says of it.
    """

    base_url: str
    attributes: Mapping[str, Any]

    @classmethod
    def of(cls, base_url: str) -> Endpoint:
        """The endpoint at this address."""
        parts = urlsplit(base_url)
        known = {
            semconv.SERVER_ADDRESS: parts.hostname or "",
            semconv.SERVER_PORT: parts.port or _DEFAULT_PORTS.get(parts.scheme),
        }
        return cls(base_url, {key: value for key, value in known.items() if value is not None})


class Request:
    """What is asked.

    Parameters
    ----------
    body: the request's JSON; empty for a GET.
    """

    __slots__ = ("body", "endpoint", "idempotency_key", "is_dry_run", "operation", "reservation_id")

    def __init__(self, operation: str, endpoint: Endpoint, reservation_id: str | None, body: Mapping[str, Any]) -> None:
        self.operation = operation
        self.endpoint = endpoint
        self.reservation_id = reservation_id
        self.body = body
        self.is_dry_run = body.get("dry_run") is True
        key = body.get("idempotency_key")
        self.idempotency_key: str | None = key if isinstance(key, str) else None

    @classmethod
    def of_call(cls, operation: str, endpoint: Endpoint, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Request:
        """The request that a client's method makes of these arguments."""
        reservation_id = None
        if operation in _ABOUT_RESERVATION:
            reservation_id = args[0] if args else kwargs.get("reservation_id")
            args = args[1:]
        body = args[0] if args else kwargs.get("request")
        if isinstance(body, BaseModel):
            body = body.model_dump(mode="json", exclude_none=True)
        return cls(operation, endpoint, reservation_id, body if isinstance(body, dict) else {})

    @property
    def about(self) -> str | None:
        """The reservation that the call is about; that of an event is one which expired before its commit."""
        metadata = self.body.get("metadata")
        recovered = metadata.get(_RECOVERED) if isinstance(metadata, dict) else None
        return self.reservation_id or (recovered if isinstance(recovered, str) else None)

    def is_remembered_with(self, reply: Reply) -> bool:
        """Whether the server repeats this reply when it is asked again with the same key."""
        denied_live = reply.decision == semconv.DENY and self.operation == "reserve" and not self.is_dry_run
        return self.idempotency_key is not None and reply.error_type is None and not denied_live


class Reply:
    """What came back.

    Parameters
    ----------
    response: as the client returned it; None where nothing came back.
    decision: ALLOW, ALLOW_WITH_CAPS or DENY, of a reserve or a decide.
    reason_code: why it is a DENY.
    error_type: why the call failed; None where it worked, and a denial is a call that worked.
    """

    __slots__ = ("_response", "body", "decision", "error_type", "reason_code")

    def __init__(
        self,
        response: CyclesResponse | None = None,
        decision: str | None = None,
        reason_code: str | None = None,
        error_type: str | None = None,
    ) -> None:
        self._response = response
        self.body: Mapping[str, Any] = _NOTHING if response is None else body_of(response)
        self.decision = decision
        self.reason_code = reason_code
        self.error_type = error_type

    @property
    def status(self) -> int | None:
        """The status of HTTP; None where none came."""
        return self._response.status if self._response is not None and self._response.status > 0 else None

    @property
    def request_id(self) -> str | None:
        """How the server calls this request in its own logs."""
        return self._response.request_id if self._response is not None else None

    @property
    def tenant(self) -> str:
        """The tenant that the key of the request belongs to."""
        return (self._response.cycles_tenant or "") if self._response is not None else ""

    @property
    def worked(self) -> bool:
        """Whether the server did what was asked: neither a failure nor a denial."""
        return self.error_type is None and self.decision != semconv.DENY


def read_reply(request: Request, response: CyclesResponse) -> Reply:
    """What the response says, by the protocol."""
    operation = request.operation
    if not response.is_success:
        denial = denial_reason(response, operation)
        if denial is not None:
            return Reply(response, semconv.DENY, denial)
        return Reply(response, error_type=_failure(operation, response))
    if not is_protocol_reply(operation, response):
        return Reply(response, error_type=semconv.ERROR_OTHER)
    return _admission(request, response) if operation in _ADMISSIONS else Reply(response)


def _admission(request: Request, response: CyclesResponse) -> Reply:
    body = body_of(response)
    decision = body["decision"]
    if decision == semconv.DENY:
        return Reply(response, decision, reason_given(body))
    if request.operation == "reserve" and not request.is_dry_run and not isinstance(body.get("reservation_id"), str):
        return Reply(response, error_type=semconv.ERROR_OTHER)
    return Reply(response, decision)


def _failure(operation: str, response: CyclesResponse) -> str:
    return unavailable_reason(operation, response) or error_code(response) or str(response.status)
