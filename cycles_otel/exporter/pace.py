"""How often a target is polled, how patiently, and how long its values count: the numbers, and their checks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from cycles_otel.telemetry.errors import TelemetrySetupError

_DAY = 86_400.0
_MOST_JITTER = 0.5


@dataclass(frozen=True)
class Pace:
    """The pace of one target.

    Parameters
    ----------
    interval: seconds from one poll to the next.
    jitter: by how much of the interval a poll may be late, drawn anew for each.
    timeout: seconds that each page may take.
    stale_after: intervals after which a value that was not seen again disappears.
    max_backoff: seconds that a target which failed is left alone at most, or an interval where that is longer.
    """

    interval: float = 30.0
    jitter: float = 0.1
    timeout: float = 10.0
    stale_after: int = 3
    max_backoff: float = 60.0

    @property
    def lifetime(self) -> float:
        """Seconds for which a value counts."""
        return self.interval * self.stale_after

    def with_changes(self, given: Mapping[str, object], spelled: Callable[[str], str]) -> Pace:
        """A copy with what is given; ``spelled`` says how the caller named a parameter.

        Raises
        ------
        TelemetrySetupError: for a number that is not accepted.
        """
        return replace(self, **{name: _CHECKS[name](spelled(name), value) for name, value in given.items()})


PACE_FIELDS = tuple(field.name for field in fields(Pace))


def _seconds(parameter: str, value: object) -> float:
    return _number(parameter, value, lambda number: 0 < number <= _DAY, f"seconds, more than 0 and at most {_DAY:.0f}")


def _share(parameter: str, value: object) -> float:
    return _number(parameter, value, lambda number: 0 <= number <= _MOST_JITTER, f"a number from 0 to {_MOST_JITTER}")


def _intervals(parameter: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise TelemetrySetupError(parameter, value, "a whole number of intervals from 1 on")
    return value


def _number(parameter: str, value: object, accepts: Callable[[float], bool], accepted: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not accepts(value):
        raise TelemetrySetupError(parameter, value, accepted)
    return float(value)


_CHECKS: dict[str, Callable[[str, object], Any]] = {
    "interval": _seconds,
    "jitter": _share,
    "timeout": _seconds,
    "stale_after": _intervals,
    "max_backoff": _seconds,
}
