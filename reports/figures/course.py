"""What a run's training told, epoch by epoch. E epochs."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.records import RunFolder
from datasets.errors import DataError

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Course:
    """Of one run; NaN where it told nothing."""

    epochs: FloatArray
    """[E]"""
    terms: dict[str, FloatArray]
    """[E] each loss term, unweighted."""
    shares: dict[str, FloatArray]
    """[E] each term's share of the gradient on the features."""
    loss: FloatArray
    """[E] the weighted sum."""
    rate: FloatArray
    """[E] learning rate."""
    validation: tuple[FloatArray, FloatArray]
    """Epochs and mAP of the rule that chose the reported epoch."""
    rule: str
    chosen: int | None
    """The reported epoch; None while the run is not finished."""


def course_of(run: RunFolder) -> Course | None:
    """None where the run was not trained for an epoch. Raises DataError where its record is damaged."""
    try:
        return _course(run)
    except (KeyError, TypeError, ValueError, AttributeError):
        raise DataError(f"{run.path / 'metrics.jsonl'} has epochs that lack something: restore it.") from None


def _course(run: RunFolder) -> Course | None:
    epochs = list({event["epoch"]: event for event in run.events("epoch")}.values())
    if not epochs:
        return None
    validation = list({event["epoch"]: event for event in run.events("validation")}.values())
    reported = [event["epoch"] for event in run.events("scores") if event["selection"] == run.headline]
    return Course(
        epochs=_column(epochs, "epoch"),
        terms=_columns(epochs, "terms"),
        shares=_columns(epochs, "gradient_share"),
        loss=_column(epochs, "loss"),
        rate=_column(epochs, "lr"),
        validation=(_column(validation, "epoch"), _column(validation, "mAP")),
        rule=validation[0]["rule"] if validation else "",
        chosen=reported[0] if reported else None,
    )


def _column(events: Sequence[dict[str, Any]], key: str) -> FloatArray:
    return np.array([np.nan if event[key] is None else event[key] for event in events], dtype=np.float64)


def _columns(events: Sequence[dict[str, Any]], key: str) -> dict[str, FloatArray]:
    names = dict.fromkeys(name for event in events for name in event[key])
    return {name: np.array([event[key].get(name, np.nan) for event in events], dtype=np.float64) for name in names}


def mean_over(courses: Sequence[tuple[FloatArray, FloatArray]]) -> tuple[FloatArray, FloatArray]:
    """Epochs [E] and means [E] over those of the (epochs, values) that have a number there."""
    epochs = np.unique(np.concatenate([at for at, _ in courses]))
    total, number = np.zeros(len(epochs)), np.zeros(len(epochs))
    for at, values in courses:
        there = ~np.isnan(values)
        place = np.searchsorted(epochs, at[there])
        total[place] += values[there]
        number[place] += 1
    return epochs, np.divide(total, number, out=np.full(len(epochs), np.nan), where=number > 0)
