"""The base of every part of a declaration: frozen, closed to unknown keys, and clear about what is wrong."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from include.errors import DeclarationError

_MAX_SHOWN = 8


class Part(BaseModel):
    """One part of a workflow's declaration."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, validate_default=True, strict=False)

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise DeclarationError(describe_errors(type(self), error)) from None


def describe_errors(part: type[BaseModel], error: ValidationError) -> str:
    """Say what is wrong, a line a problem: the path to the field, the value, the remedy."""
    problems = error.errors(include_url=False)
    lines = [f"{part.__name__}: {_count(len(problems))} in the declaration"]
    lines += [f"  {_path(part, problem['loc'])}: {_explain(part, problem)}" for problem in problems[:_MAX_SHOWN]]
    if len(problems) > _MAX_SHOWN:
        lines.append(f"  … and {len(problems) - _MAX_SHOWN} more")
    return "\n".join(lines)


def _count(n: int) -> str:
    return "1 problem" if n == 1 else f"{n} problems"


def _path(part: type[BaseModel], loc: tuple[int | str, ...]) -> str:
    return ".".join([part.__name__, *(str(step) for step in loc)])


def _explain(part: type[BaseModel], problem: Any) -> str:
    kind, value = problem["type"], problem["input"]
    if kind == "missing":
        return "is missing: every declaration needs it"
    if kind == "extra_forbidden":
        known = list(part.model_fields)
        close = get_close_matches(str(problem["loc"][-1]), known, n=1)
        return f"is unknown: did you mean {close[0]!r}?" if close else f"is unknown: known are {', '.join(known)}"
    message = problem["msg"].removeprefix("Value error, ")
    shown = repr(value)
    return f"{shown if len(shown) <= 80 else shown[:77] + '...'}: {message[:1].lower()}{message[1:]}"
