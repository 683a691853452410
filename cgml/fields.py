"""Sections of files, validated: kinds of numbers, unknown keys, faults in one line."""

from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
)
from pydantic_core import PydanticCustomError

from cgml.ranges import is_sensible, is_truth, sense
from cgml.texts import short


def _in(unit: str) -> AfterValidator:
    """Refuse numbers that make no sense in a unit (ranges.py), but for 0."""

    def check(value: float) -> float:
        if value != 0.0 and not is_sensible(value, unit):
            raise PydanticCustomError("senseless", sense(unit))
        return value

    return AfterValidator(check)


def _number(value: Any) -> Any:
    if is_truth(value):
        raise PydanticCustomError("truth", "must be a number")
    return value


_NUMBER = BeforeValidator(_number)
Real = Annotated[float, Field(allow_inf_nan=False), _NUMBER]
Integer = Annotated[int, _NUMBER]
_Above = Annotated[Real, Field(gt=0.0)]
Positive = Annotated[_Above, _in("")]
Length = Annotated[_Above, _in("nm")]
Time = Annotated[_Above, _in("ps")]
Rate = Annotated[_Above, _in("1/ps")]
Mass = Annotated[_Above, _in("Da")]
Temperature = Annotated[_Above, _in("K")]
NonNegative = Annotated[Real, Field(ge=0.0), _in("")]
Count = Annotated[Integer, Field(ge=1, le=10**9)]
Whole = Annotated[Integer, Field(ge=0, le=10**9)]
Width = Annotated[Integer, Field(ge=1, le=65536)]
"""Features of a network: bounded, so that a file cannot ask for all memory."""
Rounds = Annotated[Integer, Field(ge=0, le=256)]
"""Parts of a network one after the other, bounded likewise."""


class Section(BaseModel):
    """Frozen section of a file: an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def faults(error: ValidationError) -> str:
    """Say in one line which keys are wrong and why, three of them at the most."""
    wrong, texts = error.errors(include_url=False), []
    for item in wrong[:3]:
        place = ".".join(map(str, item["loc"]))
        texts.append(f"{place:.60} {item['msg']}, got {short(item['input'])}")
    more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
    return "; ".join(texts) + more
