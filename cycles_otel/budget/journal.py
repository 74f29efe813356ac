"""Known spend on disk before it is sent: what this process cannot settle, a later one does.

Format, file names and directory are those of the client library (``CYCLES_JOURNAL_DIR``, in the home directory by
default), so that either can replay what the other left. To a record we add, for ourselves, which process it belongs
to, and the trace that its settlement is linked to. A record survives the death of the process, not that of the machine.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runcycles import CyclesConfig
from runcycles.journal import CommitJournal, PendingCommitRecord, auth_fingerprint, default_journal_dir

from cycles_otel.budget.ownership import Owner

logger = logging.getLogger("cycles_otel")

_VERSION = 1
OURS = "cycles_otel"
_LONGEST_FLOOR = 3600.0


@dataclass(frozen=True)
class KnownSpend:
    """A spend that is known and not settled yet.

    Parameters
    ----------
    id: of the reservation, or of the step where there is none.
    commit: the body of the commit; None where it is charged by an event.
    charge: the body of the event that charges it where the commit cannot; it has the commit's key.
    not_before: when the server may be asked again, in s since the epoch, as it demanded.
    link: the trace that the settlement is linked to, as a ``traceparent``.
    known_since: when it was first known, in s since the epoch; whoever takes it over leaves that as it is.
    """

    id: str
    commit: Mapping[str, Any] | None
    charge: Mapping[str, Any] | None
    not_before: float | None = None
    link: str | None = None
    known_since: float = field(default_factory=time.time)

    @property
    def pause(self) -> float:
        """How long the server must not be asked, in s; a floor that lies absurdly far away counts as an hour."""
        return 0.0 if self.not_before is None else min(max(self.not_before - time.time(), 0.0), _LONGEST_FLOOR)


class Journal:
    """The journal of one server and one identity; it does nothing where the config disables it.

    Parameters
    ----------
    failed: told of an error that kept a spend from being written.
    """

    def __init__(self, config: CyclesConfig, failed: Callable[[OSError], None]) -> None:
        self._base_url = config.base_url
        self._failed = failed
        self._records: CommitJournal | None = None
        if config.journal_enabled:
            base = journal_folder(config)
            self._records = CommitJournal(base / auth_fingerprint(config.base_url, config.api_key, config.tenant))
            self._owner = Owner(self._records.directory)

    @property
    def directory(self) -> Path | None:
        """Where the records of this server and identity are; None where the config disables the journal."""
        return None if self._records is None else self._records.directory

    def record(self, spend: KnownSpend) -> bool:
        """Note a spend, or what is new about it; False where it is not on disk."""
        if self._records is None:
            return False
        try:
            self._write(self._records.directory, spend)
        except OSError as error:
            self._failed(error)
            return False
        return True

    def discard(self, spend_id: str) -> None:
        """Forget a spend that is settled."""
        if self._records is None:
            return
        try:
            os.unlink(os.path.join(self._records.directory, _file_name(spend_id)))
        except FileNotFoundError:
            # It could not be written, or somebody else settled it, too.
            pass
        except OSError as error:
            logger.warning("A record of the journal stays although it is settled: %s", error)

    def has_records(self) -> bool:
        """Whether anything is noted at all, by whichever process."""
        if self._records is None:
            return False
        with contextlib.suppress(OSError):
            return any(name.endswith(".json") for name in os.listdir(self._records.directory))
        return False

    def take_over(self) -> list[KnownSpend]:
        """What processes that are gone left behind; from now on it belongs to this one.

        What cannot be read is put aside by the client library, under ``*.corrupt``, and logged.
        """
        if self._records is None:
            return []
        with self._owner.taking_over() as may:
            if not may:
                return []
            left = [self._spend_of(entry) for entry in self._records.load_pending(self._base_url)]
            taken = [spend for spend, owner in left if owner is None or not self._owner.is_alive(owner)]
            for spend in taken:
                self.record(spend)
        return taken

    def close(self) -> None:
        """What is still noted may be taken over by another process."""
        if self._records is not None:
            self._owner.resign()

    def _write(self, directory: Path, spend: KnownSpend) -> None:
        owner = self._owner.name
        record = {
            "version": _VERSION,
            "reservation_id": spend.id,
            "base_url": self._base_url,
            "mode": "event" if spend.commit is None else "commit",
            "commit_body": spend.commit,
            "event_fallback_body": spend.charge,
            "recorded_at_ms": int(spend.known_since * 1000),
            "not_before_ms": None if spend.not_before is None else int(spend.not_before * 1000),
            OURS: {"owner": owner, "link": spend.link},
        }
        path = os.path.join(directory, _file_name(spend.id))
        unfinished = f"{path}.{os.getpid()}.{uuid.uuid4().hex[:8]}.tmp"
        try:
            _write_whole(unfinished, json.dumps(record).encode())
            os.replace(unfinished, path)
        except OSError:
            with contextlib.suppress(OSError):
                os.unlink(unfinished)
            raise

    def _spend_of(self, entry: PendingCommitRecord) -> tuple[KnownSpend, str | None]:
        ours = self._ours(entry.reservation_id)
        not_before = None if entry.not_before_ms is None else entry.not_before_ms / 1000
        commit = entry.commit_body if entry.mode == "commit" else None
        spend = KnownSpend(
            entry.reservation_id,
            commit,
            entry.event_fallback_body,
            not_before,
            _text(ours, "link"),
            entry.recorded_at_ms / 1000,
        )
        return spend, _text(ours, "owner")

    def _ours(self, spend_id: str) -> Mapping[str, Any]:
        assert self._records is not None
        with contextlib.suppress(OSError, ValueError):
            record = json.loads((self._records.directory / _file_name(spend_id)).read_text(encoding="utf-8"))
            if isinstance(record, dict) and isinstance(record.get(OURS), dict):
                return dict(record[OURS])
        return {}


def journal_folder(config: CyclesConfig) -> Path:
    """Where the journals of all servers and identities are."""
    return Path(config.journal_dir) if config.journal_dir else default_journal_dir()


def _write_whole(path: str, content: bytes) -> None:
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        while content:
            content = content[os.write(file, content) :]
    finally:
        os.close(file)


def _file_name(spend_id: str) -> str:
    """The name that the protocol's recovery profile prescribes."""
    return f"v2-{hashlib.sha256(spend_id.encode('utf-8')).hexdigest()}.json"


def _text(of: Mapping[str, Any], name: str) -> str | None:
    value = of.get(name)
    return value if isinstance(value, str) else None
