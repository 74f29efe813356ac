"""Where the ledger is kept: SQLite tables of plain dataclasses, one writer, one transaction per request."""

from __future__ import annotations

import dataclasses
import json
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from cycles_otel.local.errors import InvalidParameter
from cycles_otel.local.snapshot import BudgetState, EventState, LedgerSnapshot, ReservationState
from cycles_otel.local.tenants import Key, Tenant


class Dataclass(Protocol):
    """Any dataclass."""

    __dataclass_fields__: ClassVar[dict[str, dataclasses.Field[Any]]]


Row = TypeVar("Row", bound=Dataclass)


@dataclasses.dataclass(frozen=True)
class RememberedReply:
    """The reply to an idempotency key, and the payload that it answered."""

    tenant: str
    operation: str
    key: str
    payload: str
    reply: dict[str, Any]
    forget_ms: int | None


class Table(Generic[Row]):
    """A table whose columns are the fields of a dataclass.

    Parameters
    ----------
    connection: the database.
    kind: the dataclass of a row.
    name: the table's name.
    key: the fields that identify a row.
    encoded: the fields that are kept as JSON, since SQLite has no type for them.
    """

    def __init__(
        self, connection: sqlite3.Connection, kind: type[Row], name: str, key: tuple[str, ...], encoded: set[str]
    ) -> None:
        self._connection = connection
        self._kind = kind
        self._name = name
        self._columns = [field.name for field in dataclasses.fields(kind)]
        self._encoded = [name in encoded for name in self._columns]
        marks = ", ".join("?" * len(self._columns))
        self._insert = f"INTO {name} ({', '.join(self._columns)}) VALUES ({marks})"
        connection.execute(
            f"CREATE TABLE IF NOT EXISTS {name} ({', '.join(self._columns)}, PRIMARY KEY ({', '.join(key)}))"
        )

    def index(self, *columns: str) -> None:
        """Make looking rows up by `columns` fast."""
        name = f"{self._name}_by_{'_'.join(columns)}"
        self._connection.execute(f"CREATE INDEX IF NOT EXISTS {name} ON {self._name} ({', '.join(columns)})")

    def put(self, row: Row) -> None:
        """Write `row` over the one with the same key, or as a new one."""
        self._connection.execute("INSERT OR REPLACE " + self._insert, self._values(row))

    def add(self, row: Row) -> None:
        """Write `row` unless there is one with the same key already."""
        self._connection.execute("INSERT OR IGNORE " + self._insert, self._values(row))

    def first(self, **equal: object) -> Row | None:
        """The first row whose columns equal the values given."""
        return next(iter(self.all(**equal)), None)

    def all(self, **equal: object) -> list[Row]:
        """The rows whose columns equal the values given, in the order of their first writing."""
        where = " WHERE " + " AND ".join(f"{column} = ?" for column in equal) if equal else ""
        query = f"SELECT {', '.join(self._columns)} FROM {self._name}{where} ORDER BY rowid"
        return [self._read(values) for values in self._connection.execute(query, tuple(equal.values()))]

    def _values(self, row: Row) -> list[Any]:
        values = (getattr(row, column) for column in self._columns)
        return [json.dumps(value) if encoded else value for value, encoded in zip(values, self._encoded, strict=True)]

    def _read(self, values: tuple[Any, ...]) -> Row:
        pairs = zip(values, self._encoded, strict=True)
        return self._kind(*(json.loads(value) if encoded else value for value, encoded in pairs))


class Store:
    """The tables of one server.

    Parameters
    ----------
    path: the file that keeps them, or None for memory alone.

    Raises
    ------
    InvalidParameter: the file cannot be opened, or is no database.
    """

    def __init__(self, path: str | Path | None = None) -> None:
        self._lock = threading.RLock()
        self._connection = connection = _opened(path)
        self.tenants = Table(connection, Tenant, "tenants", ("name",), set())
        self.keys = Table(connection, Key, "keys", ("prefix",), set())
        self.budgets = Table(connection, BudgetState, "budgets", ("scope", "unit"), {"is_over_limit", "caps"})
        self.reservations = Table(connection, ReservationState, "reservations", ("id",), _RESERVATION_JSON)
        self.events = Table(connection, EventState, "events", ("id",), _EVENT_JSON)
        self.replies = Table(connection, RememberedReply, "replies", ("tenant", "operation", "key"), {"reply"})
        self.reservations.index("status")
        self.reservations.index("tenant")

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All that is written inside happens at once, or, when an exception leaves the block, not at all."""
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    def snapshot(self) -> LedgerSnapshot:
        """Everything held at this moment."""
        with self.transaction():
            budgets = {(budget.scope, budget.unit): budget for budget in self.budgets.all()}
            return LedgerSnapshot(budgets, tuple(self.reservations.all()), tuple(self.events.all()))

    def close(self) -> None:
        """Close the database; a file keeps what was written."""
        with self._lock:
            self._connection.close()


_RESERVATION_JSON = {
    "subject",
    "action",
    "affected_scopes",
    "budgeted_scopes",
    "metadata",
    "commit_metadata",
    "commit_metrics",
}
_EVENT_JSON = {"subject", "action", "metrics", "metadata"}


def _opened(path: str | Path | None) -> sqlite3.Connection:
    try:
        connection = sqlite3.connect(path or ":memory:", isolation_level=None, check_same_thread=False)
    except sqlite3.Error as error:
        raise _unusable(path, error) from None
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
    except sqlite3.Error as error:
        connection.close()
        raise _unusable(path, error) from None
    return connection


def _unusable(path: str | Path | None, error: sqlite3.Error) -> InvalidParameter:
    return InvalidParameter("db", str(path), f"a file that SQLite can open or create ({error})")
