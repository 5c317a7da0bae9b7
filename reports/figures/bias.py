"""Clothing bias: what linear probes read off the features, and what wrong matches wear, against chance."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.clothing_bias import read_bias
from benchmarks.comparison import Row
from datasets.errors import DataError

from .names import file_name, in_words, label, lines_of, shortened
from .style import COLOURS, DOUBLE, Picture, left_out_text, paper_style, readable, save

PANELS = (
    ("identity_same_outfit", "Who: same outfit", COLOURS[0]),
    ("identity_other_outfit", "Who: other outfit", COLOURS[0]),
    ("clothes", "Which outfit", COLOURS[1]),
    ("camera", "Which camera", COLOURS[4]),
    ("similar_clothes", "Errors dressed alike", COLOURS[3]),
)
"""Key in bias.json, heading, colour: identity should be high in both, the others as low as chance."""
HEADING, OF_BAR = 0.75, 0.2
"""Inches."""
NUMBER = 28
"""How much of a panel's 100 a number takes."""


def bias_figure(rows: Sequence[Row], folder: Path) -> Picture | None:
    """One bar per configuration in five panels, the mean over its seeds with a dot for each; a tick where chance is.

    Configurations without bias.json are left out, and counted in the caption, as are seeds whose file is damaged; None
    where none has one. Raises DataError where every file is damaged.
    """
    read, left_out = readable([run for row in rows for run in row.runs], read_bias)
    measured = [(row, [bias for run, bias in read if bias is not None and run in row.runs]) for row in rows]
    shown = [(row, found) for row, found in measured if found]
    if left_out and not shown:
        raise DataError(left_out[0])
    if not shown:
        return None
    from matplotlib import pyplot

    datasets = list(dict.fromkeys(row.dataset for row, _ in shown))
    names = [f"{shortened(row.dataset, 16)} {label(row)}" if len(datasets) > 1 else label(row) for row, _ in shown]
    name = file_name(*datasets, *([shown[0][0].name] if len(shown) == 1 else []), "clothing-bias")
    with paper_style():
        figure, axes = pyplot.subplots(
            1, len(PANELS), sharey=True, figsize=(DOUBLE, HEADING + OF_BAR * len(shown) * lines_of(names))
        )
        for axis, (key, title, colour) in zip(axes, PANELS, strict=True):
            _panel(axis, [[bias[key] for bias in found] for _, found in shown], colour)
            axis.set_title(title)
        axes[0].set_yticks(range(len(shown)), names, parse_math=False)
        axes[0].set_ylim(len(shown) - 0.4, -0.6)
        figure.supxlabel("accuracy of a linear probe; last: share of wrong rank-1 matches (%)", fontsize=8)
        caption = " ".join([_caption(shown, len(rows) - len(shown)), *left_out_text(left_out)])
        return save(figure, folder, name, "Clothing bias", caption, left_out)


def _panel(axis: Any, measured: list[list[dict[str, Any]]], colour: str) -> None:
    for place, of_seeds in enumerate(measured):
        known = [one for one in of_seeds if "accuracy" in one]
        if not known:
            axis.text(2, place, "–", va="center", color="#666666")
            continue
        values = np.array([100 * one["accuracy"] for one in known])
        axis.barh(place, values.mean(), height=0.62, color=colour, alpha=0.75, linewidth=0)
        if len(values) > 1:
            axis.plot(values, np.full(len(values), place), ".", color="black", markersize=2.5, clip_on=False)
        chance = float(100 * np.mean([one["chance"] for one in known]))
        _written(axis, values, place, chance)
        axis.plot([chance, chance], [place - 0.42, place + 0.42], color="black", linewidth=1.0)
    axis.set_xlim(0, 100)
    axis.set_xticks([0, 50, 100])
    axis.grid(axis="y", visible=False)
    axis.tick_params(axis="y", length=0)


def _written(axis: Any, values: np.ndarray, place: int, chance: float) -> None:
    """The mean as a number, behind bar and dots and the line of chance where there is room, else in the bar."""
    text, behind = f"{values.mean():.1f}", float(values.max() + 6)
    if behind - 3 < chance < behind + NUMBER:
        behind = chance + 4
    if behind < 100 - NUMBER:
        axis.text(behind, place, text, va="center", ha="left", fontsize=6.5)
    else:
        axis.text(min(values.min(), values.mean()) - 5, place, text, va="center", ha="right", fontsize=6.5)


def _caption(shown: Sequence[tuple[Row, list[dict[str, Any]]]], missing: int) -> str:
    every = [bias for _, found in shown for bias in found]
    protocols = ", ".join(dict.fromkeys(bias["protocol"] for bias in every))
    sentences = [
        "Accuracy of linear probes on the test features, on images that they were not fitted to: who it is, asked in "
        "the outfit that was learnt from other cameras and in the person's other outfits; which of a person's outfits; "
        "which camera, asked about other people. Last: wrong rank-1 matches that wear clothes similar to the query's, "
        "by the colours of upper and lower clothing.",
        "Black lines: chance. Bars: means over seeds, dots: seeds.",
        f"Matches under {protocols}. {in_words([row for row, _ in shown])}",
    ]
    weaker = [
        f"{title.lower()}: {', '.join(sorted(other))} held out instead of cameras"
        for key, title, _ in PANELS[:3]
        if (other := {bias[key]["held_out"] for bias in every if "held_out" in bias[key]} - {"cameras"})
    ]
    reasons = dict.fromkeys(bias[key]["reason"] for key, _, _ in PANELS for bias in every if "reason" in bias[key])
    sentences += [f"{'; '.join(weaker)}."] if weaker else []
    sentences += [f"–: {reason}" for reason in reasons]
    sentences += [f"Configurations that were not measured: {missing}."] if missing else []
    return " ".join(sentences)
