"""Who is asking: the tenant that an API key opens, or the operator with the admin key."""

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass

from cycles_otel.local.clock import Clock
from cycles_otel.local.errors import forbidden, unauthorized
from cycles_otel.local.store import Store
from cycles_otel.local.tenants import PREFIX_LENGTH, Key

PUBLIC = re.compile(r"/actuator/.*|/v1/\.well-known/.*|/v1/evidence/.*")
ADMIN_MAY = re.compile(r"GET /v1/reservations(/[^/]+)?|POST /v1/reservations/[^/]+/release")


@dataclass(frozen=True)
class Caller:
    """Who asks: a tenant, the operator (`is_admin`), or anybody at a public endpoint."""

    tenant: str | None = None
    is_admin: bool = False

    def require_tenant(self, tenant: str | None) -> None:
        """Refuse a tenant that is named and is not the caller's; the operator may name any.

        Raises
        ------
        ProtocolError: 403.
        """
        if tenant and tenant.strip() and not self.is_admin and tenant != self.tenant:
            raise forbidden()


class Authentication:
    """Finds the caller of a request.

    Parameters
    ----------
    store: holds tenants and keys.
    clock: tells which keys have expired.
    admin_key: the operator's key.
    """

    def __init__(self, store: Store, clock: Clock, admin_key: str) -> None:
        self._store = store
        self._clock = clock
        self._admin_key = admin_key

    def caller(self, method: str, path: str, headers: Mapping[str, str]) -> Caller:
        """Who sends this request, by its headers (names in lower case).

        Raises
        ------
        ProtocolError: 401 with the reason.
        """
        if PUBLIC.fullmatch(path):
            return Caller()
        admin_key = headers.get("x-admin-api-key", "").strip()
        if admin_key and ADMIN_MAY.fullmatch(f"{method} {path}"):
            if not hmac.compare_digest(admin_key.encode(), self._admin_key.encode()):
                raise unauthorized("Invalid admin API key")
            return Caller(is_admin=True)
        return Caller(tenant=self._tenant_of(headers.get("x-cycles-api-key", "")))

    def _tenant_of(self, secret: str) -> str:
        if not secret.strip():
            raise unauthorized("Missing API key")
        with self._store.transaction():
            key = self._store.keys.first(prefix=secret[:PREFIX_LENGTH])
            tenant = self._store.tenants.first(name=key.tenant) if key is not None else None
        if key is None:
            raise unauthorized("KEY_NOT_FOUND")
        self._check_key(key, secret)
        if tenant is not None and tenant.status != "ACTIVE":
            raise unauthorized(f"TENANT_{tenant.status}")
        return key.tenant

    def _check_key(self, key: Key, secret: str) -> None:
        if key.status != "ACTIVE":
            raise unauthorized(f"KEY_{key.status}")
        expires_ms = key.expires_ms()
        if expires_ms is not None and self._clock() > expires_ms:
            raise unauthorized("KEY_EXPIRED")
        if not hmac.compare_digest(key.secret.encode(), secret.encode()):
            raise unauthorized("INVALID_KEY")
