"""Which live process a record of the journal belongs to: processes that share a journal leave each other's work alone.

An owner is a file that its process keeps locked. The operating system takes the lock away when the process dies,
however that dies, and then anybody may take over. Where files cannot be locked nobody owns anything, and what two
processes replay the server takes once, by its key.
"""

from __future__ import annotations

import contextlib
import os
import re
import uuid
import weakref
from collections.abc import Iterator
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_NAME = re.compile(r"owner-[0-9a-f]{32}\.lock")
_TAKING_OVER = "taking-over.lock"


class Owner:
    """One owner in a journal's directory; it exists from the first time that its name is asked for."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._exists = False
        self._name: str | None = None
        self._file: int | None = None
        _owners.add(self)

    @property
    def name(self) -> str | None:
        """The name that stands in a record; None where files cannot be locked.

        Raises ``OSError`` where the directory cannot be written.
        """
        if not self._exists:
            _make_private(self._directory)
            name = f"owner-{uuid.uuid4().hex}.lock"
            self._file = _locked(self._directory / name, create=True)
            self._name = name if self._file is not None else None
            self._exists = True
        return self._name

    def is_alive(self, name: str) -> bool:
        """Whether the process of an owner is still there."""
        return name == self._name or is_held(self._directory, name, remove=True)

    @contextlib.contextmanager
    def taking_over(self) -> Iterator[bool]:
        """Whether this process may take over what others left, while the block runs: not if another one is at it."""
        file = None
        try:
            file = _locked(self._directory / _TAKING_OVER, create=True)
        except BlockingIOError:
            yield False
            return
        except OSError:
            pass
        try:
            yield True
        finally:
            if file is not None:
                os.close(file)

    def resign(self) -> None:
        """The records of this owner belong to nobody from now on."""
        name = self._name
        if name is not None:
            with contextlib.suppress(OSError):
                (self._directory / name).unlink()
        self.forget()

    def forget(self) -> None:
        """In a forked child: the lock is the parent's, and must end with the parent."""
        file, self._file, self._name, self._exists = self._file, None, None, False
        if file is not None:
            os.close(file)


_owners: weakref.WeakSet[Owner] = weakref.WeakSet()


def _forget_all() -> None:
    for owner in list(_owners):
        owner.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)


def is_held(directory: Path, name: str, *, remove: bool = False) -> bool:
    """Whether a live process holds this owner's file; ``remove`` the one of a process that is gone."""
    if not _NAME.fullmatch(name):
        return False
    path = directory / name
    try:
        file = _locked(path, create=False)
    except BlockingIOError:
        return True
    except OSError:
        return False
    if file is not None:
        if remove:
            with contextlib.suppress(OSError):
                path.unlink()
        os.close(file)
    return False


def _locked(path: Path, *, create: bool) -> int | None:
    """The file, open and locked; None where the system, or the file system, knows no locks.

    Raises ``BlockingIOError`` where another process has it locked.
    """
    if fcntl is None:
        return None
    file = os.open(path, os.O_RDWR | (os.O_CREAT if create else 0), 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(file)
        raise
    except OSError:
        os.close(file)
        return None
    return file


def _make_private(directory: Path) -> None:
    """What is spent is nobody else's business."""
    directory.mkdir(parents=True, exist_ok=True)
    for each in (directory, directory.parent):
        with contextlib.suppress(OSError):
            each.chmod(0o700)
