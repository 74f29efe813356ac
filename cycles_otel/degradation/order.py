"""What the hooks of an LLM call tell the model that is called: the SDK lets neither see the other."""

from __future__ import annotations

from dataclasses import dataclass

from cycles_otel.degradation.policies import Downgrade


@dataclass
class ModelOrder:
    """What a governed model is to do in one LLM call.

    Parameters
    ----------
    asked: the name of the model that the run asks for.
    downgrade: the model that is called instead, if one is.
    max_tokens: the cap on the answer's length, in tokens.
    """

    asked: str
    downgrade: Downgrade | None = None
    max_tokens: int | None = None
