"""What a run's events say in numbers, under the names that W&B and TensorBoard show.

One mapping, used while a run trains and when it is replayed from its folder, so that both give the same curves.
"""

import math
import os
import platform
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.records import RunFolder
from benchmarks.selection import ORACLE, marked

METRICS = ("mAP", "R1", "R5", "R10", "R20", "mINP")
SPEED = {
    "images_per_second": "speed/images_per_second",
    "waiting": "speed/waiting_share",
    "seconds": "speed/seconds_per_epoch",
}


class Point(NamedTuple):
    """The numbers of one event, on the axis of epochs."""

    step: int
    """Increases over a run's events; the same whenever the event is mirrored."""
    epoch: int
    time: float
    """Seconds since 1970 at which it happened."""
    values: dict[str, float]


def points(events: Iterable[Mapping[str, Any]]) -> Iterator[Point]:
    """One for each trained epoch and each validation; the other events have no place on a curve."""
    for event in events:
        if event["event"] == "epoch":
            yield Point(2 * event["epoch"], event["epoch"], event["time"], _of_epoch(event))
        elif event["event"] == "validation":
            prefix = marked(event["rule"])
            values = {f"{prefix}/{name}": event[name] for name in METRICS if name in event}
            yield Point(2 * event["epoch"] + 1, event["epoch"], event["time"], _numbers(values))


def _of_epoch(event: Mapping[str, Any]) -> dict[str, float]:
    """Weighted loss terms and their sum, shares of the gradient on the features, learning rate, speed, memory."""
    values = {"loss/total": event["loss"], "lr": event["lr"]}
    values |= {f"loss/{name}": value for name, value in event["terms"].items()}
    values |= {f"gradient_share/{name}": value for name, value in event["gradient_share"].items()}
    values |= {shown: event[name] for name, shown in SPEED.items() if name in event}
    if event.get("peak_memory") is not None:
        values["peak_memory_GiB"] = event["peak_memory"] / 2**30
    return _numbers(values)


def _numbers(values: Mapping[str, float]) -> dict[str, float]:
    """Without what is not a number: a protocol whose queries have no match has no score to draw."""
    return {name: value for name, value in values.items() if math.isfinite(value)}


def score_prefix(selection: str, headline: str) -> str:
    """What stands before a score's protocol: nothing for the run's result, else the selection; never without its †."""
    return "" if selection == headline != ORACLE else f"{marked(selection)}/"


def summary(run: RunFolder) -> dict[str, Any]:
    """What one line of a table of runs shows: the state, the last epoch's numbers, the best validation, all scores."""
    events = run.events()
    values: dict[str, Any] = {"status": state_of(run)}
    best: dict[str, Any] = {}
    for row in events:
        for point in points([row]):
            if row["event"] == "epoch":
                values |= {"epoch": point.epoch, **point.values}
            elif row["best"]:
                best = point.values | {"selected_epoch": point.epoch}
        if row["event"] == "scores":
            prefix = score_prefix(row["selection"], run.headline)
            scores = {f"{prefix}{row['protocol']}/{name}": row[name] for name in METRICS if name in row}
            values |= _numbers(scores)
    return values | best


def state_of(run: RunFolder) -> str:
    """The state that status.json says, «diverged» where a loss did, «killed» where its process is gone."""
    status = run.status()
    if status["state"] == "failed" and run.events("diverged"):
        return "diverged"
    if status["state"] == "running" and status["host"] == platform.node() and not _alive(status["pid"]):
        return "killed"
    return status["state"]


def _alive(pid: int) -> bool:
    """Whether a process of this machine runs; one that has ended and that nobody has asked about yet does not."""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, IndexError):
        return False
    except OSError:  # another user's process, or a machine without /proc
        return True
