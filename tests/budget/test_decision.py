"""Any reply gives a verdict: the judge never raises, and what is not the protocol's is no answer."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from runcycles import CyclesResponse

from cycles_otel.budget.decision import Ruling, Verdict, judge, retry_after

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
words = st.sampled_from(
    ["ALLOW", "ALLOW_WITH_CAPS", "DENY", "NOT_FOUND", "BUDGET_EXCEEDED", "UNIT_MISMATCH", "TENANT_CLOSED", ""]
)
anything = json_values | words
fields = ("decision", "error", "message", "reason_code", "reservation_id", "caps", "affected_scopes", "details")
bodies = json_values | st.dictionaries(st.sampled_from(fields), anything)
statuses = st.sampled_from([200, 201, 204, 301, 400, 401, 403, 404, 409, 410, 422, 429, 500, 503]) | st.integers(
    100, 999
)
operations = st.sampled_from(["reserve", "decide"])
settings = st.fixed_dictionaries(
    {
        "fail_open": st.booleans(),
        "unbudgeted": st.sampled_from(["raise", "allow"]),
        "dry_run": st.booleans(),
    }
)


def reply(status: int, body: Any) -> CyclesResponse:
    """As the client hands on what came in: the body of a success is never None."""
    headers = {"content-type": "application/json"}
    if 200 <= status < 300:
        return CyclesResponse.success(status, body or {}, headers)
    return CyclesResponse.http_error(status, "reason", body, headers)


@given(operations, statuses, bodies, settings)
@example("reserve", 409, {"error": ""}, {"fail_open": False})
def test_any_reply_gives_a_verdict(operation: str, status: int, body: Any, given_settings: dict[str, Any]) -> None:
    verdict = judge(operation, reply(status, body), **given_settings)
    assert isinstance(verdict, Verdict)
    assert isinstance(verdict.message, str)
    assert verdict.caps is None or isinstance(verdict.caps, dict)
    if verdict.ruling is not Ruling.GO:
        assert verdict.reason
    if verdict.ruling is Ruling.UNAVAILABLE:
        assert not given_settings["fail_open"]
    if verdict.ruling is Ruling.GO_UNENFORCED:
        assert given_settings["fail_open"]


def is_the_protocols(status: int, body: Any) -> bool:
    """Said once more, in a cruder way: an object with a decision, or an error that is the caller's."""
    if not isinstance(body, dict):
        return False
    if 200 <= status < 300:
        return body.get("decision") in ("ALLOW", "ALLOW_WITH_CAPS", "DENY")
    return 400 <= status < 500 and status != 429 and isinstance(body.get("error"), str) and body["error"] != ""


@given(operations, statuses, bodies)
def test_what_is_not_the_protocols_is_no_answer(operation: str, status: int, body: Any) -> None:
    if not is_the_protocols(status, body):
        assert judge(operation, reply(status, body), fail_open=False).ruling is Ruling.UNAVAILABLE
        assert judge(operation, reply(status, body), fail_open=True).ruling is Ruling.GO_UNENFORCED


@given(operations, st.integers(400, 499).filter(lambda status: status != 429), st.text(min_size=1), st.booleans())
def test_an_error_of_the_protocol_never_lets_a_step_go(operation: str, status: int, code: str, fail_open: bool) -> None:
    verdict = judge(operation, reply(status, {"error": code, "message": "no"}), fail_open=fail_open)
    assert verdict.ruling in (Ruling.DENIED, Ruling.MISCONFIGURED)


UNREADABLE_CAPS = [
    "no shell",
    ["shell"],
    5,
    {"tool_denylist": "shell"},
    {"tool_allowlist": {"shell": True}},
    {"cooldown_ms": "5"},
    {"cooldown_ms": -5},
    {"max_steps_remaining": [1]},
    {"max_tokens": 1.5},
]


class TestGrant:
    @pytest.mark.parametrize("caps", UNREADABLE_CAPS, ids=str)
    @pytest.mark.parametrize("operation", ["reserve", "decide"])
    def test_caps_that_cannot_be_read_are_no_answer(self, operation: str, caps: object) -> None:
        body = {"decision": "ALLOW_WITH_CAPS", "reservation_id": "r", "caps": caps}
        assert judge(operation, reply(200, body), fail_open=False).ruling is Ruling.UNAVAILABLE

    def test_caps_of_the_protocol_are_handed_on(self) -> None:
        caps = {"max_tokens": 5, "tool_denylist": ["shell"], "tool_allowlist": None, "cooldown_ms": 0}
        verdict = judge("decide", reply(200, {"decision": "ALLOW_WITH_CAPS", "caps": caps}), fail_open=False)
        assert (verdict.ruling, verdict.caps) == (Ruling.GO, caps)

    @pytest.mark.parametrize("reservation_id", [None, "", 5])
    def test_a_live_grant_without_the_name_of_a_reservation_is_no_answer(self, reservation_id: object) -> None:
        body = {"decision": "ALLOW", "reservation_id": reservation_id, "affected_scopes": ["tenant:acme"]}
        assert judge("reserve", reply(200, body), fail_open=False).ruling is Ruling.UNAVAILABLE
        assert judge("reserve", reply(200, body), fail_open=False, dry_run=True).ruling is Ruling.GO


class TestRetryAfter:
    @pytest.mark.parametrize(
        ("header", "seconds"),
        [("0", 0), ("7", 7), ("999999999999", 3600), ("soon", None), ("Wed, 21 Oct 2026 07:28:00 GMT", None)],
    )
    def test_it_is_read_in_seconds_and_an_hour_at_most(self, header: str, seconds: float | None) -> None:
        response = CyclesResponse.http_error(429, "slow down", {}, {"retry-after": header})
        assert retry_after(response) == seconds

    def test_without_the_header_nothing_is_asked(self) -> None:
        assert retry_after(reply(429, {})) is None
