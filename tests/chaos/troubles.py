"""What can go wrong between a client and its server."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Kind(Enum):
    """A way in which a request goes wrong; each says whether the server applies the request."""

    RESET_BEFORE = "the connection is reset, the server never saw the request"
    RESET_AFTER = "the connection is reset, the server applied the request"
    LATE = "the connection is reset, the server gets the request a while later, perhaps after another try"
    CUT = "the reply ends half way, the server applied the request"
    TRUNCATED = "half of the JSON as a whole reply, the server applied the request"
    DELAY = "the true reply comes late"
    STALL_BEFORE = "no reply until the client gives up, the server never saw the request"
    STALL_AFTER = "no reply until the client gives up, the server applied the request"
    ERROR_500 = "an internal error, not applied"
    PAGE_502 = "a proxy's page in HTML, not applied"
    PAGE_502_AFTER = "a proxy's page in HTML, the server applied the request"
    LIMITED = "429 with Retry-After, not applied"
    UNAUTHORIZED = "401, not applied"
    DUPLICATE = "the server gets the request twice, the client the second reply"
    DUPLICATE_LOST = "the server gets the request twice, the client no reply"
    OUTAGE = "nobody listens for a while, and every connection is reset"
    RESTART_BEFORE = "the server restarts with its database, then gets the request"
    RESTART_AFTER = "the server applies the request, then restarts, the reply is lost"
    EXPIRY = "so much time passes at the server that every lease is over, then it gets the request"


@dataclass(frozen=True)
class Trouble:
    """One thing that goes wrong with one request.

    Parameters
    ----------
    seconds: how long a delay or an outage lasts, how late a request is, and what a 429 asks to wait.
    """

    kind: Kind
    seconds: float = 0.0

    def __str__(self) -> str:
        return f"{self.kind.name}({self.seconds:g})" if self.seconds else self.kind.name
