"""Known spend on disk before it is sent, in the journal of ``runcycles``.

The format and the directory are those of the client library (``CYCLES_JOURNAL_DIR``, in the home directory by
default), whose engine replays at the next start what a process left behind.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from runcycles import AsyncCyclesClient, CyclesConfig
from runcycles.journal import CommitJournal, PendingCommitRecord, auth_fingerprint, default_journal_dir
from runcycles.retry import AsyncCommitRetryEngine


class Journal:
    """The journal of one server and one identity; it does nothing where the config disables it."""

    def __init__(self, config: CyclesConfig) -> None:
        self._config = config
        self._journal: CommitJournal | None = None
        self._engine: AsyncCommitRetryEngine | None = None
        if config.journal_enabled:
            base = Path(config.journal_dir) if config.journal_dir else default_journal_dir()
            self._journal = CommitJournal(base / auth_fingerprint(config.base_url, config.api_key, config.tenant))

    @property
    def is_enabled(self) -> bool:
        """Whether a spend that is recorded is kept for the next process."""
        return self._journal is not None

    def replay(self, client: AsyncCyclesClient) -> None:
        """Settle what an earlier process left; must be called on a running loop, before anything is recorded."""
        self._engine = AsyncCommitRetryEngine(self._config)
        self._engine.set_client(client)

    def close(self) -> None:
        """Let go of the client; what is not replayed yet stays for the next process."""
        self._engine = None

    def record_commit(self, reservation_id: str, commit: dict[str, Any], charge: dict[str, Any]) -> None:
        """Note a commit before it is sent, with the event that charges it should the reservation be gone."""
        self._record(reservation_id, "commit", commit, charge)

    def record_charge(self, record_id: str, charge: dict[str, Any]) -> None:
        """Note that the spend is charged by an event."""
        self._record(record_id, "event", None, charge)

    def discard(self, record_id: str) -> None:
        """Forget a spend that is settled."""
        if self._journal is not None:
            self._journal.discard(record_id)

    def _record(self, record_id: str, mode: str, commit: dict[str, Any] | None, charge: dict[str, Any]) -> None:
        if self._journal is not None:
            self._journal.record(
                PendingCommitRecord(
                    reservation_id=record_id,
                    base_url=self._config.base_url,
                    mode=mode,
                    commit_body=commit,
                    event_fallback_body=charge,
                )
            )
