"""Subject values: what the protocol accepts, for any name."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cycles_otel.budget.subject import Subject, is_subject_value, subject_value

ACCEPTED = re.compile(r"[a-zA-Z0-9_.-]{1,128}")
names = st.text() | st.text("ab -.é", max_size=4) | st.text("x ", min_size=120, max_size=140)


@given(names)
def test_every_name_becomes_a_value_that_the_protocol_accepts(name: str) -> None:
    assert ACCEPTED.fullmatch(subject_value(name))
    assert subject_value(name) == subject_value(name)
    assert subject_value(subject_value(name)) == subject_value(name)


@given(names, names)
def test_distinct_names_have_distinct_values(one: str, other: str) -> None:
    assert (subject_value(one) == subject_value(other)) == (one == other)


@given(st.from_regex(ACCEPTED, fullmatch=True))
def test_a_valid_name_stays_as_it_is(name: str) -> None:
    assert is_subject_value(name)
    assert subject_value(name) == name


@pytest.mark.parametrize(
    ("name", "readable"),
    [
        ("Billing Agent", "Billing-Agent"),
        ("  Triage  (EU) ", "Triage-EU"),
        ("Büro für Überweisungen", "Buro-fur-Uberweisungen"),
        ("a/b:c", "a-b-c"),
        ("valid\n", "valid"),
        ("", "name"),
        ("🤖🤖", "name"),
        ("客服", "name"),
        ("\ud800", "name"),
    ],
)
def test_a_name_that_is_refused_stays_readable(name: str, readable: str) -> None:
    assert re.fullmatch(re.escape(readable) + "-[0-9a-f]{8}", subject_value(name))


def test_very_long_names_that_begin_alike_are_shortened_and_kept_apart() -> None:
    values = {subject_value("a" * 500 + end) for end in ("", "b", "c")}
    assert len(values) == 3
    assert {len(value) for value in values} == {128}


class TestSubject:
    def test_levels_that_are_given_stand_before_those_that_were(self) -> None:
        subject = Subject(tenant="acme", agent="one").with_levels(agent="Two Words", workflow=None)
        assert subject.tenant == "acme"
        assert subject.agent == subject_value("Two Words")
        assert subject.workflow is None

    def test_only_levels_with_a_value_are_sent(self) -> None:
        assert Subject(tenant="acme", toolset="t").to_body() == {"tenant": "acme", "toolset": "t"}
