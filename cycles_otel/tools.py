"""What a tool call costs in risk points, and as which kind of action it is reported."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cycles_otel.action_kinds import POINTS_OF_RISK_CLASS, RISK_CLASS_OF
from cycles_otel.errors import InvalidParameterError, InvalidParameterTypeError
from cycles_otel.parameters import text, whole_number

DEFAULT_ACTION_KIND = "tool.invoke"
_MAX_KIND_LENGTH = 64


@dataclass(frozen=True)
class ToolRiskConfig:
    """The risk of one tool.

    Parameters
    ----------
    risk_points: what a call costs, in RISK_POINTS; 0 makes it free, and no call to the server is made.
    action_kind: the kind of action as which a call is reported, ``tool.invoke`` by default.

    Raises
    ------
    InvalidParameterError: a value is not accepted.
    """

    risk_points: int
    action_kind: str | None = None

    def __post_init__(self) -> None:
        whole_number("risk_points", self.risk_points)
        if self.action_kind is not None and len(text("action_kind", self.action_kind)) > _MAX_KIND_LENGTH:
            raise InvalidParameterError("action_kind", self.action_kind, f"at most {_MAX_KIND_LENGTH} characters")


class ToolRiskMap:
    """Tool names and their risk.

    Parameters
    ----------
    mapping: for each tool's name its points, or a ``ToolRiskConfig``.
    default_risk: RISK_POINTS of a tool that is not in the mapping.

    Raises
    ------
    InvalidParameterError: the risk of a tool is not accepted; the message names the tool.
    """

    def __init__(self, mapping: Mapping[str, int | ToolRiskConfig] | None = None, default_risk: int = 1) -> None:
        if mapping is not None and not isinstance(mapping, Mapping):
            raise InvalidParameterTypeError("tool_risk", mapping, "a mapping of tool names to points, or a ToolRiskMap")
        self.default_risk = whole_number("default_risk", default_risk)
        self.mapping = {text("tool_risk", name): _risk(name, risk) for name, risk in (mapping or {}).items()}

    @classmethod
    def from_kinds(
        cls,
        kinds: Mapping[str, str],
        *,
        points: Mapping[str, int] | None = None,
        default_risk: int = 1,
    ) -> ToolRiskMap:
        """A map in which the points of a tool follow from the kind of its action.

        Parameters
        ----------
        kinds: for each tool's name a kind of the protocol's registry, such as ``message.email.send``.
        points: RISK_POINTS of a risk class where they differ from the defaults
            (read_only 0, local_mutation 1, side_effect 5, external_side_effect 20, high_risk 50).
        """
        if not isinstance(kinds, Mapping):
            raise InvalidParameterTypeError("kinds", kinds, "a mapping of tool names to kinds of the registry")
        points_of = {**POINTS_OF_RISK_CLASS, **_points(points or {})}
        return cls(
            {name: ToolRiskConfig(points_of[_risk_class(name, kind)], kind) for name, kind in kinds.items()},
            default_risk=default_risk,
        )

    def of(self, tool: str) -> ToolRiskConfig:
        """The risk of a tool, by its name."""
        return self.mapping.get(tool) or ToolRiskConfig(self.default_risk)

    def __repr__(self) -> str:
        return f"ToolRiskMap({self.mapping!r}, default_risk={self.default_risk})"


def tool_risk_map(tool_risk: object, default_tool_risk: object) -> ToolRiskMap:
    """The map that a caller meant: a map of their own as it is, a plain dict with the default for the rest."""
    default = whole_number("default_tool_risk", default_tool_risk)
    if isinstance(tool_risk, ToolRiskMap):
        return tool_risk
    if tool_risk is not None and not isinstance(tool_risk, Mapping):
        raise InvalidParameterTypeError("tool_risk", tool_risk, "a dict of tool names to points, or a ToolRiskMap")
    return ToolRiskMap(tool_risk, default)


def _risk(name: str, risk: object) -> ToolRiskConfig:
    if isinstance(risk, ToolRiskConfig):
        return risk
    return ToolRiskConfig(whole_number(f"tool_risk[{name!r}]", risk))


def _points(points: Mapping[str, int]) -> dict[str, int]:
    for risk_class in points:
        if risk_class not in POINTS_OF_RISK_CLASS:
            raise InvalidParameterError("points", risk_class, "one of " + ", ".join(POINTS_OF_RISK_CLASS))
    return {name: whole_number(f"points[{name!r}]", value) for name, value in points.items()}


def _risk_class(name: str, kind: str) -> str:
    if not isinstance(kind, str) or kind not in RISK_CLASS_OF:
        raise InvalidParameterError(f"kinds[{name!r}]", kind, "a kind of the registry, such as message.email.send")
    return RISK_CLASS_OF[kind]
