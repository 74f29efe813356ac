"""A plugin that prints, as its last line, the scenarios that the collected tests are bound to."""

from __future__ import annotations

import json

import pytest

_bound: set[str] = set()


def pytest_collection_finish(session: pytest.Session) -> None:
    _bound.update(mark.args[0] for item in session.items for mark in item.iter_markers("scenario"))


def pytest_unconfigure() -> None:
    print(json.dumps(sorted(_bound)))
