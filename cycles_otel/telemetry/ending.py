"""How a process ends, or splits in two: what waits is sent at its end, and a forked child begins anew."""

from __future__ import annotations

import atexit
import os
import signal
import threading
from collections.abc import Callable
from types import FrameType

from cycles_otel.budget.connection import settle_what_is_pending

_SETTLING = 2.0
_send: Callable[[], None] | None = None


def send_at_the_end(send: Callable[[], None]) -> None:
    """Call ``send`` when the process ends: at its exit, and on SIGTERM where that would end it at once.

    A program that handles SIGTERM itself, before or later, keeps its handler.
    """
    global _send
    _send = send
    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _send_and_die)


@atexit.register
def _send_at_exit() -> None:
    # Registered before any connection can be: handlers run last in, first out, and settlements are to be seen.
    if _send is not None:
        _send()


def in_forked_children(function: Callable[[], None]) -> None:
    """Call ``function`` in each child that is forked from now on."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=function)


def _send_and_die(number: int, frame: FrameType | None) -> None:
    """First what is known to be spent, since that is seen in telemetry too, then the telemetry; then die of it."""
    settle_what_is_pending(_SETTLING)
    if _send is not None:
        _send()
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    # The first process of a container does not die of a signal that has no handler.
    os._exit(128 + number)
