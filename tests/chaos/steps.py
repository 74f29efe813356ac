"""Counts every step of every task on an event loop, and cancels somebody after a chosen one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Generator
from types import TracebackType
from typing import Any


class Steps:
    """While it is entered, the steps of all tasks that are made on the running loop are counted.

    Parameters
    ----------
    at: after which step, counted from 1, ``cancel`` is called.
    cancel: called inside of that step, before whatever it made ready can run.
    """

    def __init__(self, at: int, cancel: Callable[[], object]) -> None:
        self.reached = False
        self._at = at
        self._cancel = cancel
        self._taken = 0

    def __enter__(self) -> Steps:
        self._loop = asyncio.get_running_loop()
        self._loop.set_task_factory(self._make)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.set_task_factory(None)

    def taken(self) -> None:
        """One more step of a task is over."""
        self._taken += 1
        if self._taken == self._at:
            self.reached = True
            self._cancel()

    def _make(self, loop: asyncio.AbstractEventLoop, work: Any, **settings: Any) -> asyncio.Task[Any]:
        return asyncio.Task(_Stepped(work, self), loop=loop, **settings)


class _Stepped(Coroutine[Any, Any, Any]):
    """A coroutine that reports each of its steps."""

    def __init__(self, work: Coroutine[Any, Any, Any], steps: Steps) -> None:
        self._work = work
        self._steps = steps

    def send(self, value: Any) -> Any:
        try:
            return self._work.send(value)
        finally:
            self._steps.taken()

    def throw(self, kind: Any, value: Any = None, traceback: TracebackType | None = None) -> Any:
        try:
            return self._work.throw(kind if value is None else value)
        finally:
            self._steps.taken()

    def close(self) -> None:
        self._work.close()

    def __await__(self) -> Generator[Any, Any, Any]:
        raise NotImplementedError("a task drives this, nobody awaits it")
