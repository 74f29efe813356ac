"""When a target is polled: at an even pace, later after failures."""

from __future__ import annotations

import math
import random

from cycles_otel.exporter.pace import Pace

FIRST_POLLS_WITHIN = 1.0
"""Seconds in which all targets are polled for the first time."""
_FIRST_BACKOFF = 1.0
_MOST_DOUBLINGS = 30


class Schedule:
    """Tells the time of the next poll, on a monotonic clock, whatever the one before came to.

    Polls that work stand on a grid of one interval, each late by some jitter. After a failure the wait is drawn from
    0 to a ceiling that doubles ("full jitter"), so that many who lost one server do not come back to it at once.

    Parameters
    ----------
    phase: where in the interval the target's polls stand, from 0 to 1, so that those of many targets are spread.
    begun: the time at which the exporter began.
    """

    def __init__(self, pace: Pace, phase: float, begun: float, drawn: random.Random | None = None) -> None:
        self._pace = pace
        self._origin = begun + phase * pace.interval
        self._random = drawn or random.Random()
        self._failures = 0
        self.first = begun + phase * min(pace.interval, FIRST_POLLS_WITHIN)

    def after_success(self, now: float) -> float:
        """The next poll: half an interval from now at the earliest, so that a slow server is not pressed."""
        self._failures = 0
        interval = self._pace.interval
        place = math.ceil((now + interval / 2 - self._origin) / interval)
        return self._origin + place * interval + self._random.uniform(0, self._pace.jitter * interval)

    def after_failure(self, now: float, *, refused: bool, retry_after: float | None) -> float:
        """The next try.

        Parameters
        ----------
        refused: the server answered, and does not like what is asked: there is no haste.
        retry_after: seconds for which the server asked to be left alone.
        """
        self._failures += 1
        interval = self._pace.interval
        start = interval if refused else min(_FIRST_BACKOFF, interval)
        ceiling = min(start * 2 ** min(self._failures, _MOST_DOUBLINGS), max(self._pace.max_backoff, interval))
        return now + (retry_after or 0.0) + self._random.uniform(0, ceiling)
