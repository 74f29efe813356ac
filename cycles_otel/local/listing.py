"""Lists of reservations and balances: filters, sorting, pages, and the cursors between them."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cycles_otel.local import replies
from cycles_otel.local.errors import invalid_request, validation_failed
from cycles_otel.local.replies import Json
from cycles_otel.local.scopes import LEVELS, filter_segments, has_segments
from cycles_otel.local.snapshot import ReservationState
from cycles_otel.local.store import Store

Query = Mapping[str, str]

STATUSES = ("ACTIVE", "COMMITTED", "RELEASED", "EXPIRED")
SORT_KEYS = ("reservation_id", "tenant", "scope_path", "status", "reserved", "created_at_ms", "expires_at_ms")
SORT_DIRECTIONS = ("asc", "desc")
WINDOWS = (("", "created_ms"), ("expires_", "expires_ms"), ("finalized_", "finalized_ms"))
"""The prefix of each pair of `from` and `to`, and the time that it bounds."""

_DATE_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d(?::\d\d)?)(?:\.(\d{1,9}))?(Z|[+-]\d\d:?\d\d)")


@dataclass(frozen=True)
class Window:
    """Inclusive bounds in ms since the epoch on one time of a reservation; None is open."""

    attribute: str
    start_ms: int | None
    end_ms: int | None

    def holds(self, reservation: ReservationState) -> bool:
        """Whether the reservation's time is inside; one that has no such time is outside of any bound."""
        if self.start_ms is None and self.end_ms is None:
            return True
        time_ms: int | None = getattr(reservation, self.attribute)
        if time_ms is None:
            return False
        return (self.start_ms is None or time_ms >= self.start_ms) and (self.end_ms is None or time_ms <= self.end_ms)


def page_size(query: Query) -> int:
    """The `limit` of a list, 1 to 200, by default 50."""
    text = query.get("limit") or "50"
    if not re.fullmatch(r"[+-]?\d{1,10}", text):
        raise validation_failed([f"limit: must be an integer, got {text}"])
    limit = int(text)
    if limit < 1:
        raise validation_failed(["limit: must be greater than or equal to 1"])
    if limit > 200:
        raise validation_failed(["limit: must be less than or equal to 200"])
    return limit


def check_include_children(query: Query) -> None:
    """Refuse an `include_children` that is no boolean; it is accepted and changes nothing."""
    text = query.get("include_children", "").lower()
    if text not in ("", "true", "on", "yes", "1", "false", "off", "no", "0"):
        raise validation_failed([f"include_children: must be true or false, got {text}"])


def list_balances(store: Store, tenant: str, query: Query, limit: int) -> Json:
    """One page of the tenant's balances whose scope has all the segments asked for."""
    segments = filter_segments({**{level: query.get(level) for level in LEVELS}, "tenant": tenant})
    offset = _decode_offset(query.get("cursor"))
    with store.transaction():
        matching = [budget for budget in store.budgets.all() if has_segments(budget.scope, segments)]
    shown = [replies.balance(budget) for budget in matching[offset : offset + limit]]
    return replies.page("balances", shown, _next_offset(offset + limit, len(matching)))


@dataclass(frozen=True)
class ReservationQuery:
    """What a list of reservations was asked for, checked."""

    filters: dict[str, str | None]
    windows: tuple[Window, ...]
    sort_by: str | None
    sort_dir: str | None
    include: frozenset[str]
    cursor: str | None
    limit: int

    @staticmethod
    def parse(query: Query) -> ReservationQuery:
        """Read and check the query string.

        Raises
        ------
        ProtocolError: 400 with the first parameter that is wrong.
        """
        limit = page_size(query)
        _check_choice(query, "status", STATUSES, "Invalid status filter: {}. Must be one of: {}")
        sort_by = _check_choice(query, "sort_by", SORT_KEYS, "Invalid sort_by: {}. Must be one of: {}", str.lower)
        sort_dir = _check_choice(
            query, "sort_dir", SORT_DIRECTIONS, "Invalid sort_dir: {}. Must be one of: {}", str.lower
        )
        filters = {name: query.get(name) for name in ("idempotency_key", "status", *LEVELS[1:])}
        windows = tuple(_window(query, prefix, attribute) for prefix, attribute in WINDOWS)
        include = frozenset(token.strip() for token in query.get("include", "").split(","))
        return ReservationQuery(filters, windows, sort_by, sort_dir, include, query.get("cursor"), limit)

    def matches(self, reservation: ReservationState) -> bool:
        """Whether the reservation passes all filters and windows."""
        key, status = self.filters["idempotency_key"], self.filters["status"]
        return (
            key in (None, reservation.idempotency_key)
            and status in (None, reservation.status)
            and has_segments(reservation.scope_path, filter_segments(self.filters))
            and all(window.holds(reservation) for window in self.windows)
        )

    def fingerprint(self, tenant: str) -> str:
        """Tells lists with other filters apart, so that a cursor is not taken from one to another."""
        bounds = [(window.start_ms, window.end_ms) for window in self.windows]
        return hashlib.sha256(json.dumps([tenant, self.filters, bounds]).encode()).hexdigest()[:16]


def list_reservations(store: Store, tenant: str, query: ReservationQuery) -> Json:
    """One page of the tenant's reservations; sorted if that was asked for, or if the cursor is of a sorted list."""
    resume = _decode_sorted(query.cursor)
    is_sorted = query.sort_by is not None or query.sort_dir is not None
    if is_sorted and query.cursor and resume is None:
        raise invalid_request("cursor contains an invalid sorted-list boundary")
    with store.transaction():
        matching = [each for each in store.reservations.all(tenant=tenant) if query.matches(each)]
    if is_sorted or resume is not None:
        return _sorted_page(matching, tenant, query, resume)
    offset = _decode_offset(query.cursor)
    shown = [replies.reservation(each, query.include) for each in matching[offset : offset + query.limit]]
    return replies.page("reservations", shown, _next_offset(offset + query.limit, len(matching)))


def _sorted_page(matching: list[ReservationState], tenant: str, query: ReservationQuery, resume: Json | None) -> Json:
    sort_by = query.sort_by or (resume["by"] if resume else "created_at_ms")
    sort_dir = query.sort_dir or (resume["dir"] if resume else "desc")
    binding = {"by": sort_by, "dir": sort_dir, "filters": query.fingerprint(tenant)}
    if resume is not None and any(resume[name] != value for name, value in binding.items()):
        raise invalid_request(
            "cursor is not valid for the requested sort_by / sort_dir / filters; reset cursor when any of these change"
        )
    ordered = sorted(matching, key=lambda each: each.id)
    ordered.sort(key=lambda each: _sort_value(each, sort_by), reverse=sort_dir == "desc")
    start = 0 if resume is None else _position_after(ordered, sort_by, sort_dir, resume)
    shown = ordered[start : start + query.limit]
    more = start + query.limit < len(ordered)
    cursor = _encode({**binding, "value": _sort_value(shown[-1], sort_by), "id": shown[-1].id}) if more else None
    return replies.page("reservations", [replies.reservation(each, query.include) for each in shown], cursor)


def _sort_value(reservation: ReservationState, sort_by: str) -> Any:
    return {
        "reservation_id": reservation.id,
        "tenant": reservation.subject.get("tenant") or "",
        "scope_path": reservation.scope_path,
        "status": reservation.status,
        "reserved": reservation.reserved,
        "created_at_ms": reservation.created_ms,
        "expires_at_ms": reservation.expires_ms,
    }[sort_by]


def _position_after(ordered: list[ReservationState], sort_by: str, sort_dir: str, resume: Json) -> int:
    boundary, last_id = resume["value"], resume["id"]
    for position, reservation in enumerate(ordered):
        value = _sort_value(reservation, sort_by)
        beyond = value < boundary if sort_dir == "desc" else value > boundary
        if beyond or (value == boundary and reservation.id > last_id):
            return position
    return len(ordered)


def _check_choice(query: Query, name: str, accepted: tuple[str, ...], message: str, normalize: Any = str) -> str | None:
    value = query.get(name)
    if value is None:
        return None
    if normalize(value) not in accepted:
        raise invalid_request(message.format(value, ", ".join(accepted)))
    chosen: str = normalize(value)
    return chosen


def _window(query: Query, prefix: str, attribute: str) -> Window:
    start, end = f"{prefix}from", f"{prefix}to"
    start_ms, end_ms = _time_ms(query, start), _time_ms(query, end)
    if start_ms is not None and end_ms is not None and start_ms > end_ms:
        raise invalid_request(
            f"{start} must be less than or equal to {end} (received {start}={query[start]}, {end}={query[end]})"
        )
    return Window(attribute, start_ms, end_ms)


def _time_ms(query: Query, name: str) -> int | None:
    text = query.get(name, "").strip()
    if not text:
        return None
    try:
        return _date_time_ms(text)
    except ValueError:
        raise invalid_request(f"Invalid {name}: {text} is not a valid ISO 8601 date-time") from None


def _date_time_ms(text: str) -> int:
    parts = _DATE_TIME.fullmatch(text)
    if parts is None:
        raise ValueError(text)
    # Python 3.10 reads neither a Z nor fractions of other than 3 or 6 digits.
    whole, fraction, zone = parts.groups()
    zone = "+00:00" if zone == "Z" else f"{zone[:3]}:{zone[-2:]}"
    seconds = int(datetime.fromisoformat(whole + zone).timestamp())
    return seconds * 1000 + int((fraction or "0").ljust(3, "0")[:3])


def _encode(value: Json) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def _decode(cursor: str | None) -> Json | None:
    try:
        value = json.loads(base64.urlsafe_b64decode((cursor or "") + "=" * (-len(cursor or "") % 4)))
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _decode_sorted(cursor: str | None) -> Json | None:
    value = _decode(cursor)
    return value if value is not None and value.keys() == {"by", "dir", "filters", "value", "id"} else None


def _next_offset(offset: int, total: int) -> str | None:
    return _encode({"offset": offset}) if offset < total else None


def _decode_offset(cursor: str | None) -> int:
    if not cursor or cursor == "0":
        return 0
    value = _decode(cursor)
    offset = value.get("offset") if value is not None else None
    if not isinstance(offset, int):
        raise invalid_request("cursor is not one that this list has given out")
    return offset
