"""Tenants and the keys that open them."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from datetime import datetime

from cycles_otel.local.errors import InvalidParameter

DEFAULT_TTL_MS = 60_000
MAX_TTL_MS = 3_600_000
MAX_EXTENSIONS = 10

PREFIX_LENGTH = 14
"""How much of a key's secret finds it: the rest must then be right as well."""


def new_secret() -> str:
    """A fresh key, of the form that the real server issues."""
    return f"cyc_test_{secrets.token_urlsafe(24)}"


@dataclass(frozen=True)
class Tenant:
    """A tenant and its defaults; None means the server's.

    Parameters
    ----------
    name: as it stands in subjects.
    status: ACTIVE, SUSPENDED or CLOSED.
    default_commit_overage_policy: for requests that name none.
    default_reservation_ttl_ms: for reservations that name none, in ms.
    max_reservation_ttl_ms: longer times are capped to it, in ms.
    max_reservation_extensions: how often a reservation can be extended.
    """

    name: str
    status: str = "ACTIVE"
    default_commit_overage_policy: str | None = None
    default_reservation_ttl_ms: int | None = None
    max_reservation_ttl_ms: int | None = None
    max_reservation_extensions: int | None = None

    def overage_policy(self, asked: str | None) -> str:
        """The policy for a reservation or an event that asks for `asked`."""
        return asked or self.default_commit_overage_policy or "ALLOW_IF_AVAILABLE"

    def ttl_ms(self, asked_ms: int | None) -> int:
        """How long a reservation lasts that asks for `asked_ms`, in ms."""
        ttl_ms = _first_given(asked_ms, self.default_reservation_ttl_ms, DEFAULT_TTL_MS)
        return min(ttl_ms, _first_given(self.max_reservation_ttl_ms, MAX_TTL_MS))

    @property
    def max_extensions(self) -> int:
        """How often a reservation can be extended."""
        return _first_given(self.max_reservation_extensions, MAX_EXTENSIONS)


def _first_given(*values: int | None) -> int:
    return next(value for value in values if value is not None)


@dataclass(frozen=True)
class Key:
    """An API key.

    Parameters
    ----------
    name: what it is called, for people.
    tenant: the tenant that it opens.
    status: ACTIVE or REVOKED.
    expires_at: ISO 8601 date-time after which it opens nothing, or None.
    secret: what the client sends; made up where it is left out.
    """

    name: str
    tenant: str
    status: str = "ACTIVE"
    expires_at: str | None = None
    secret: str = field(default_factory=new_secret, repr=False)
    prefix: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        if not isinstance(self.secret, str):
            raise InvalidParameter(f"key {self.name}: secret", "(not shown)", "text")
        if isinstance(self.expires_at, datetime):  # as a YAML file has it
            object.__setattr__(self, "expires_at", self.expires_at.isoformat())
        self.expires_ms()
        object.__setattr__(self, "prefix", self.secret[:PREFIX_LENGTH])

    def expires_ms(self) -> float | None:
        """When the key ends, in ms since the epoch, or None.

        Raises
        ------
        InvalidParameter: `expires_at` is no date-time.
        """
        if self.expires_at is None:
            return None
        try:
            return datetime.fromisoformat(self.expires_at.replace("Z", "+00:00")).timestamp() * 1000
        except (ValueError, AttributeError):
            accepted = "an ISO 8601 date-time, as in 2030-01-01T00:00:00Z"
            raise InvalidParameter(f"key {self.name}: expires_at", self.expires_at, accepted) from None
