"""`LocalCycles`: a Cycles server inside the program, on a thread of its own."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import secrets
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from cycles_otel.local.app import Endpoints, build_app
from cycles_otel.local.authentication import Authentication
from cycles_otel.local.clock import Clock, system_clock
from cycles_otel.local.counters import Counters
from cycles_otel.local.envelope import Envelope
from cycles_otel.local.errors import InvalidParameter
from cycles_otel.local.faults import Fault, Faults, Hold
from cycles_otel.local.http_server import HttpServer
from cycles_otel.local.ledger import Ledger
from cycles_otel.local.operator_changes import change_budget, change_tenant, fund_budget
from cycles_otel.local.request_log import LoggedRequest, RequestLog
from cycles_otel.local.seed import Budgets, Seed, Tenants
from cycles_otel.local.snapshot import BudgetState, LedgerSnapshot
from cycles_otel.local.store import Store
from cycles_otel.local.sweeper import Sweeper
from cycles_otel.local.tenants import Key, Tenant
from cycles_otel.local.wire import Wire

if TYPE_CHECKING:
    from runcycles import CyclesConfig

logger = logging.getLogger(__name__)

NOTICE = (
    "This embedded Cycles server is for development and tests. "
    "For production use the real one: runcycles cycles-server."
)


class LocalCycles:
    """A Cycles server for development and tests, on loopback, with SQLite behind it.

    Use it as `with LocalCycles(...) as server:` or `async with`, or call `start` and `stop`.

    Parameters
    ----------
    budgets: a mapping `{"tenant:acme": {"USD_MICROCENTS": 10_000_000}}` or a sequence of `Budget`. Tenants, and
        an API key for each, follow from the scopes.
    tenants: tenants with settings of their own, by name or as `Tenant` objects.
    keys: keys with settings of their own.
    db: a file to keep the ledger in; by default it lives in memory and ends with the server. What the file holds
        already stays as it is: budgets, tenants and keys given are only added where it has none.
    host: the address to listen on. Anything but loopback opens the server to the network.
    port: the port, 0 for any that is free.
    clock: the time that expiry goes by, in ms since the epoch.
    sweep_interval: seconds between two runs of the job that expires reservations.
    admin_key: the operator's key for `X-Admin-API-Key`; made up where it is left out.

    Raises
    ------
    InvalidParameter: a value cannot be used; the message names it and says what can.
    """

    def __init__(
        self,
        budgets: Budgets = (),
        *,
        tenants: Tenants = (),
        keys: Iterable[Key] = (),
        db: str | Path | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        clock: Clock = system_clock,
        sweep_interval: float = 5.0,
        admin_key: str | None = None,
    ) -> None:
        if not isinstance(port, int) or not 0 <= port <= 65535:
            raise InvalidParameter("port", port, "a port from 0 to 65535, 0 for any that is free")
        if sweep_interval <= 0:
            raise InvalidParameter("sweep_interval", sweep_interval, "more than 0 seconds")
        self._seed = Seed.of(budgets, tenants, keys)
        self._db = db
        self._host = host
        self._port = port
        self._clock = clock
        self._sweep_interval = sweep_interval
        self.admin_key = admin_key or f"admin_{secrets.token_urlsafe(24)}"
        self._log = RequestLog()
        self._faults = Faults()
        self._running: _Running | None = None
        self._last_state: LedgerSnapshot | None = None

    def start(self) -> LocalCycles:
        """Start serving, and return the server itself.

        Raises
        ------
        RuntimeError: it runs already.
        OSError: the port is taken.
        """
        if self._running is not None:
            raise RuntimeError("this LocalCycles is running already")
        if not is_loopback(self._host):
            logger.warning("Listening on %s: anybody who reaches this address can use the server", self._host)
        self._running = _Running(self)
        logger.info("%s It listens on %s.", NOTICE, self.url)
        return self

    def stop(self) -> None:
        """Stop serving. The ledger's last state and the request log can still be read."""
        if self._running is not None:
            self._last_state = self._running.stop()
            self._running = None

    def __enter__(self) -> LocalCycles:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    async def __aenter__(self) -> LocalCycles:
        return await asyncio.to_thread(self.start)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self.stop)

    @property
    def url(self) -> str:
        """Where clients reach the server."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._now_running().port}"

    @property
    def api_key(self) -> str:
        """The key of the first tenant."""
        return self.api_key_for(self.tenant)

    @property
    def tenant(self) -> str:
        """The name of the first tenant.

        Raises
        ------
        InvalidParameter: there is none, since no budget names one.
        """
        tenants = self._now_running().store.tenants.all()
        if not tenants:
            raise InvalidParameter("budgets", (), "at least one scope with a tenant, as in 'tenant:acme'")
        return tenants[0].name

    def api_key_for(self, tenant: str) -> str:
        """The first ACTIVE key of `tenant`.

        Raises
        ------
        InvalidParameter: it has none.
        """
        keys = [key for key in self.keys if key.status == "ACTIVE"]
        for key in keys:
            if key.tenant == tenant:
                return key.secret
        known = ", ".join(sorted({key.tenant for key in keys}))
        raise InvalidParameter("tenant", tenant, known or "nothing: the server has no tenants")

    @property
    def keys(self) -> tuple[Key, ...]:
        """All keys, of all tenants."""
        return tuple(self._now_running().store.keys.all())

    def config(self, tenant: str | None = None, **overrides: Any) -> CyclesConfig:
        """A client's configuration for this server; the journal of pending commits is off unless overridden."""
        from runcycles import CyclesConfig

        name = tenant or self.tenant
        values = {
            "base_url": self.url,
            "api_key": self.api_key_for(name),
            "tenant": name,
            "journal_enabled": False,
            **overrides,
        }
        return CyclesConfig(**values)

    def environ(self, tenant: str | None = None) -> dict[str, str]:
        """The `CYCLES_*` variables that lead a client here."""
        name = tenant or self.tenant
        return {
            "CYCLES_BASE_URL": self.url,
            "CYCLES_API_KEY": self.api_key_for(name),
            "CYCLES_TENANT": name,
            "CYCLES_JOURNAL_ENABLED": "false",
        }

    def ledger(self) -> LedgerSnapshot:
        """Everything the ledger holds now, or held when the server stopped."""
        if self._running is None and self._last_state is not None:
            return self._last_state
        return self._now_running().store.snapshot()

    @property
    def requests(self) -> tuple[LoggedRequest, ...]:
        """All requests on the wire so far, in the order in which they came in."""
        return self._log.entries()

    def clear_requests(self) -> None:
        """Empty the log of requests."""
        self._log.clear()

    def set_budget(self, scope: str, unit: str = "USD_MICROCENTS", **changes: Any) -> BudgetState:
        """Change fields of a budget by hand; `remaining` follows its amounts, unless it is given itself.

        Raises
        ------
        InvalidParameter: there is no such budget or field, or a value is not allowed.
        """
        return change_budget(self._now_running().store, scope, unit, changes)

    def fund(self, scope: str, amount: int, unit: str = "USD_MICROCENTS") -> BudgetState:
        """Allocate `amount` more to a budget; its debt is paid first, and it is not over its limit any more.

        Raises
        ------
        InvalidParameter: there is no such budget, or the amount is not allowed.
        """
        return fund_budget(self._now_running().store, scope, unit, amount)

    def set_tenant(self, tenant: str, status: str | None = None, **settings: Any) -> Tenant:
        """Change the status of a tenant (ACTIVE, SUSPENDED, CLOSED), or its settings (the fields of `Tenant`).

        Raises
        ------
        InvalidParameter: there is no such tenant or setting, or a value is not allowed.
        """
        changes = settings if status is None else {**settings, "status": status}
        return change_tenant(self._now_running().store, tenant, changes)

    def sweep(self) -> int:
        """Run the expiry job now, and return how many reservations it expired."""
        return self._now_running().sweeper.sweep()

    def inject(self, fault: Fault) -> None:
        """Let something go wrong with the requests that `fault` describes."""
        self._faults.inject(fault)

    def clear_faults(self) -> None:
        """Let nothing go wrong any more."""
        self._faults.clear()

    @contextlib.contextmanager
    def hold(self, operation: str = "*", *, applied: bool = False) -> Iterator[Hold]:
        """Make requests of `operation` wait while the block runs.

        Parameters
        ----------
        operation: as in `Fault`.
        applied: let the ledger apply them first, so that only their answer waits.
        """
        hold = self._faults.hold(operation, applied)
        try:
            yield hold
        finally:
            self._faults.unhold(hold)

    def _now_running(self) -> _Running:
        if self._running is None:
            raise RuntimeError("this LocalCycles is not running: use `with LocalCycles(...) as server:`")
        return self._running


class _Running:
    """The parts of a server that exist while it runs."""

    def __init__(self, server: LocalCycles) -> None:
        self._faults = server._faults
        self.store = Store(server._db)
        server._seed.write_to(self.store)
        counters = Counters()
        ledger = Ledger(self.store, server._clock)
        self.sweeper = Sweeper(ledger, counters, server._sweep_interval)
        app = build_app(Endpoints(self.store, ledger, counters), self.sweeper)
        authentication = Authentication(self.store, server._clock, server.admin_key)
        self._wire = Wire(Envelope(app, authentication), server._log, server._faults, self._drop)
        self._http = HttpServer(self._wire, server._host, server._port)
        self.port = self._http.start()

    def stop(self) -> LedgerSnapshot:
        self._faults.release_all()
        self._http.stop(self._wire.hurry)
        state = self.store.snapshot()
        self.store.close()
        return state

    def _drop(self, scope: Any) -> None:
        self._http.drop(scope)


def is_loopback(host: str) -> bool:
    """Whether only programs on this machine reach `host`."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
