"""What the stub answers, whatever API it is asked by: words, calls of tools, usage, errors, and ways to go wrong."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Tokens:
    """The usage of an answer: cached tokens, read or written, are part of the input, reasoning tokens of the output."""

    input: int
    output: int
    cached: int = 0
    reasoning: int = 0
    cache_write: int = 0

    @property
    def total(self) -> int:
        """Input and output together."""
        return self.input + self.output


@dataclass(frozen=True)
class Call:
    """A call of a tool."""

    tool: str
    arguments: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Answer:
    """What a model says.

    Parameters
    ----------
    text: its words, where it calls no tool.
    calls: the tools that it calls.
    usage: what the answer says it used; None where it says nothing.
    breaks: whether the connection is lost before the answer is complete.
    fails: whether a stream ends half way in an error of the server's.
    held: whether the answer waits until the test lets it go.
    cut: whether the answer came to the most tokens that it may have.
    """

    text: str = "done"
    calls: tuple[Call, ...] = ()
    usage: Tokens | None = Tokens(input=900, output=50)
    breaks: bool = False
    fails: bool = False
    held: bool = False
    cut: bool = False


@dataclass(frozen=True)
class Refusal:
    """An error status, in OpenAI's form.

    Parameters
    ----------
    retry_after_ms: what the client is told to wait, in ms.
    """

    status: int
    message: str = "The stub refuses."
    code: str | None = None
    retry_after_ms: int = 1

    @property
    def headers(self) -> dict[str, str]:
        """The headers that go with it."""
        return {"retry-after-ms": str(self.retry_after_ms)}

    @property
    def body(self) -> dict[str, Any]:
        """The body that goes with it."""
        kind = "invalid_request_error" if self.status < 500 else "server_error"
        return {"error": {"message": self.message, "type": kind, "param": None, "code": self.code}}
