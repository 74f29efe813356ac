"""The settings by which a governor acts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from runcycles import CommitOveragePolicy

Unbudgeted = Literal["raise", "allow"]
UnknownSpend = Literal["release", "commit_estimate"]


@dataclass(frozen=True)
class Policy:
    """How a governor treats failure, time and overage.

    Parameters
    ----------
    fail_open: let a step go when the server gives no answer.
    dry_run: ask, record what would have been, stop nothing and persist nothing.
    ttl_ms: how long a reservation holds before it must be extended, in ms.
    overage_policy: what the server does when a commit exceeds its reservation.
    unbudgeted: what becomes of a step for whose scope or unit no budget exists.
    settle_timeout: how long a run's end waits for its settlements, in s.
    max_cooldown: the longest cooldown that is waited for, in s; a longer one is a denial.
    """

    fail_open: bool = True
    dry_run: bool = False
    ttl_ms: int = 60_000
    overage_policy: CommitOveragePolicy = CommitOveragePolicy.ALLOW_IF_AVAILABLE
    unbudgeted: Unbudgeted = "raise"
    settle_timeout: float = 2.0
    max_cooldown: float = 10.0
