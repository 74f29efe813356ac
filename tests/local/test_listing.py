"""Lists of reservations and balances: filters, windows, pages."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timezone
from typing import Any

import pytest

from cycles_otel.local import LocalCycles, ManualClock
from tests.local.client import USD, Client

START_MS = 1_700_000_000_000


def iso(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, tz=timezone.utc).isoformat(timespec="milliseconds")


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(START_MS)


@pytest.fixture
def ids(clock: ManualClock, client: Client) -> list[str]:
    """Five reservations, a second apart, of 10, 20, 10, 20 and 10."""
    made = []
    for number in range(5):
        made.append(client.reserved(10 if number % 2 == 0 else 20, subject={"tenant": "acme", "agent": f"a{number}"}))
        clock.advance(1_000)
    return made


def listed(client: Client, **query: Any) -> list[str]:
    response = client.get("reservations", **query)
    assert response.status_code == 200, response.text
    return [each["reservation_id"] for each in response.json()["reservations"]]


def pages(client: Client, path: str, name: str, **query: Any) -> Iterator[list[dict[str, Any]]]:
    cursor = None
    while True:
        page = client.get(path, **query, **({"cursor": cursor} if cursor else {})).json()
        yield page[name]
        assert page["has_more"] is (page["next_cursor"] is not None)
        cursor = page["next_cursor"]
        if cursor is None:
            return


class TestPages:
    @pytest.mark.parametrize(
        "sort_by", ["reserved", "status", "tenant", "created_at_ms", "scope_path", "reservation_id"]
    )
    @pytest.mark.parametrize("sort_dir", ["asc", "desc"])
    def test_sorted_pages_hold_each_reservation_once_in_order(
        self, client: Client, ids: list[str], sort_by: str, sort_dir: str
    ) -> None:
        query = {"sort_by": sort_by, "sort_dir": sort_dir}
        found = [each for page in pages(client, "reservations", "reservations", limit=2, **query) for each in page]
        assert sorted(each["reservation_id"] for each in found) == sorted(ids)
        assert [each["reservation_id"] for each in found] == listed(client, **query)

    def test_a_cursor_of_a_sorted_list_brings_its_sorting_along(self, client: Client, ids: list[str]) -> None:
        cursor = client.get("reservations", sort_by="created_at_ms", sort_dir="asc", limit=2).json()["next_cursor"]
        assert listed(client, cursor=cursor) == ids[2:]

    def test_a_cursor_is_bound_to_the_filters(self, client: Client, ids: list[str]) -> None:
        cursor = client.get("reservations", sort_by="reserved", limit=2).json()["next_cursor"]
        refused = client.get("reservations", sort_by="reserved", limit=2, cursor=cursor, status="ACTIVE")
        assert refused.json()["message"].startswith("cursor is not valid for")

    def test_include_may_change_from_page_to_page(self, client: Client, ids: list[str]) -> None:
        cursor = client.get("reservations", sort_by="reserved", limit=2).json()["next_cursor"]
        again = client.get("reservations", sort_by="reserved", limit=2, cursor=cursor, include="metadata")
        assert again.status_code == 200

    def test_a_tampered_cursor_is_refused(self, client: Client, ids: list[str]) -> None:
        for cursor in ("bogus", "eyJvZmZzZXQiOiAieCJ9", "%%%", "é"):
            assert client.get("reservations", cursor=cursor).status_code == 400
            assert client.get("balances", tenant="acme", cursor=cursor).status_code == 400
            assert client.get("reservations", cursor=cursor, sort_by="reserved").status_code == 400

    def test_unsorted_pages_hold_each_reservation_once(self, client: Client, ids: list[str]) -> None:
        found = [each for page in pages(client, "reservations", "reservations", limit=2) for each in page]
        assert sorted(each["reservation_id"] for each in found) == sorted(ids)

    def test_a_last_page_that_is_full_has_no_next_one(self, client: Client, ids: list[str]) -> None:
        assert [len(page) for page in pages(client, "reservations", "reservations", limit=5)] == [5]
        assert [len(page) for page in pages(client, "balances", "balances", limit=1, tenant="acme")] == [1, 1]


class TestWindows:
    def test_from_and_to_bound_the_creation_inclusively(self, client: Client, ids: list[str]) -> None:
        window = {"from": iso(START_MS + 1_000), "to": iso(START_MS + 3_000)}
        assert sorted(listed(client, **window)) == sorted(ids[1:4])

    def test_expires_bounds_the_expiry(self, client: Client, ids: list[str]) -> None:
        assert listed(client, expires_from=iso(START_MS + 64_000)) == ids[4:]

    def test_finalized_leaves_out_what_is_not_settled(self, client: Client, ids: list[str]) -> None:
        client.commit(ids[2], 1)
        assert listed(client, finalized_from=iso(START_MS)) == [ids[2]]

    def test_blank_bounds_are_none(self, client: Client, ids: list[str]) -> None:
        assert len(listed(client, **{"from": "", "to": "", "expires_from": "", "finalized_to": " "})) == 5

    @pytest.mark.parametrize(
        "text", ["2023-11-14T22:13:22Z", "2023-11-14T23:13:22+01:00", "2023-11-14T22:13:22.000000000Z"]
    )
    def test_ways_to_write_a_time(self, client: Client, ids: list[str], text: str) -> None:
        assert len(listed(client, **{"from": text})) == 3

    @pytest.mark.parametrize("text", ["2023-11-14", "2023-11-14T22:13:22", "1700000000000", "2023-13-14T22:13:22Z"])
    def test_what_is_no_time(self, client: Client, text: str) -> None:
        message = client.get("reservations", expires_to=text).json()["message"]
        assert message == f"Invalid expires_to: {text} is not a valid ISO 8601 date-time"

    def test_bounds_in_the_wrong_order(self, client: Client) -> None:
        query = {"finalized_from": "2026-01-02T00:00:00Z", "finalized_to": "2026-01-01T00:00:00Z"}
        assert client.get("reservations", **query).json()["message"] == (
            "finalized_from must be less than or equal to finalized_to "
            "(received finalized_from=2026-01-02T00:00:00Z, finalized_to=2026-01-01T00:00:00Z)"
        )


class TestFilters:
    def test_sorting_is_asked_for_in_any_case(self, client: Client, ids: list[str]) -> None:
        assert listed(client, sort_by="CREATED_AT_MS", sort_dir="ASC") == ids

    def test_a_segment_must_match_as_a_whole(self, client: Client, ids: list[str]) -> None:
        assert listed(client, agent="a") == []
        assert listed(client, agent="a1") == [ids[1]]

    def test_balances_of_another_tenant_with_the_same_beginning_are_not_shown(self) -> None:
        budgets = {"tenant:acme": {USD: 1}, "tenant:acme2": {USD: 2}, "tenant:acme/agent:x": {"TOKENS": 3}}
        with LocalCycles(budgets) as server, Client(server) as client:
            found = client.get("balances", agent="X").json()["balances"]
            assert [each["scope_path"] for each in found] == ["tenant:acme/agent:x"]
            assert len(client.get("balances", tenant="acme").json()["balances"]) == 2

    @pytest.mark.parametrize(
        ("limit", "status"), [("", 200), ("1", 200), ("200", 200), ("0", 400), ("-1", 400), ("1.5", 400)]
    )
    def test_limit(self, client: Client, limit: str, status: int) -> None:
        assert client.get("reservations", limit=limit).status_code == status
        assert client.get("balances", tenant="acme", limit=limit).status_code == status
