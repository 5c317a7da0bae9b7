"""What every configuration class shares: strictness, documented fields, and search ranges beside the defaults."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class Strict(BaseModel):
    """A frozen pydantic model that refuses unknown keys and silent type changes.

    The string under a field is its documentation (`run.py show` prints it).
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, validate_default=True, use_attribute_docstrings=True, allow_inf_nan=False
    )


def tune(default: float, low: float, high: float, *, log: bool = False) -> Any:
    """A non-negative tunable field: its default and its search range on one line."""
    return Field(default=default, ge=0, json_schema_extra={"search": {"low": low, "high": high, "log": log}})
