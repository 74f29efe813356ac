"""A terminal: a pseudo-terminal of a given size, and what the screen shows when the live view has its last frame."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import threading
from dataclasses import dataclass

from tests.cli.program import BOUND

_ESCAPES = re.compile(r"\x1b\[[\d;?]*[A-Za-z]")
_UP = re.compile(r"\x1b\[1A\x1b\[2K")


@dataclass(frozen=True)
class Screen:
    """What a program wrote to a terminal, with all that is no text."""

    status: int
    raw: str

    @property
    def frame(self) -> list[str]:
        """The lines of the last drawing of the live view."""
        drawing = _UP.split(self.raw)[-1] if _UP.search(self.raw) else self.raw
        lines = [_ESCAPES.sub("", line).strip("\r") for line in drawing.split("\n")]
        return lines[: 1 + max(number for number, line in enumerate(lines) if line.startswith("╰"))]


def on_a_terminal(*arguments: str, columns: int = 100, lines: int = 40) -> Screen:
    """``cycles-otel`` with these arguments in a terminal of that size, to its end."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
    command = [sys.executable, "-m", "cycles_otel", *arguments]
    environment = {**os.environ, "TERM": "xterm-256color"}
    for name in ("COLUMNS", "LINES"):
        environment.pop(name, None)
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment)
    os.close(theirs)
    guard = threading.Timer(BOUND, process.kill)
    guard.start()
    try:
        raw = _read_all(ours)
        return Screen(process.wait(), raw)
    finally:
        guard.cancel()
        os.close(ours)


def _read_all(descriptor: int) -> str:
    """Everything until the other side is closed, which Linux says by an error."""
    parts = []
    while True:
        try:
            part = os.read(descriptor, 65_536)
        except OSError:
            break
        if not part:
            break
        parts.append(part)
    return b"".join(parts).decode()
