"""Whether a method recognises people or what they wear, from its nearest answers with and without the query's outfit.

Shapes: Q queries, S seeds.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from benchmarks.comparison import Row
from benchmarks.evidence import Ranking
from benchmarks.records import RunFolder
from datasets.base import Ignore, Protocol

from .evidence import compared, own_pairs, partner, protocols_of
from .names import file_name, in_words, label
from .style import COLOURS, DOUBLE, NothingToShowError, Picture, in_percent, paper_style, save

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FloatArray = npt.NDArray[np.float64]

OTHER, SAME, STILL, ONLY, WRONG = (
    "right, in other clothes",
    "right, in the same clothes",
    "right in the same clothes, and right without them",
    "right only by the same clothes",
    "wrong person",
)
LOOKS = {
    OTHER: (COLOURS[0], ""),
    SAME: (COLOURS[5], ""),
    STILL: (COLOURS[5], ""),
    ONLY: (COLOURS[4], "//"),
    WRONG: ("#D9D9D9", ""),
}
LEAST_WITH_NUMBER = 0.055
"""A narrower part of a bar has no room for its number."""


# --- what the nearest answer wears ---


def outcomes(
    ranking: Ranking, query_clothes: npt.NDArray[np.int64], gallery_clothes: npt.NDArray[np.int64]
) -> dict[str, float]:
    """Shares of the queries that have a match, by person and clothes of the nearest visible entry."""
    counts = ranking.matches > 0
    nearest, right = ranking.top_index[counts, 0], ranking.top_correct[counts, 0]
    same = gallery_clothes[nearest] == query_clothes[counts]
    found = {OTHER: right & ~same, SAME: right & same, WRONG: ~right}
    return {name: float(rows.mean()) for name, rows in found.items()}


def resting_on_clothes(
    seen: Ranking, hidden: Ranking, query_clothes: npt.NDArray[np.int64], gallery_clothes: npt.NDArray[np.int64]
) -> dict[str, float]:
    """Shares of the queries that have a match under both rankings.

    `seen`: the query's own outfit is in its gallery. `hidden`: the same, without that outfit. Right by the same clothes
    under the first and wrong under the second: nothing but the outfit was recognised.
    """
    counts = (seen.matches > 0) & (hidden.matches > 0)
    right = seen.top_correct[counts, 0]
    same = gallery_clothes[seen.top_index[counts, 0]] == query_clothes[counts]
    without = hidden.top_correct[counts, 0]
    found = {OTHER: right & ~same, STILL: right & same & without, ONLY: right & same & ~without, WRONG: ~right}
    return {name: float(rows.mean()) if counts.any() else float("nan") for name, rows in found.items()}


def same_clothes_among_matches(run: RunFolder, protocol: Protocol) -> FloatArray:
    """[Q] the share of each query's visible matches that wear its clothes; NaN where it has no match."""
    query, gallery = compared(run, protocol)
    asks, answers = own_pairs(query, gallery, protocol)
    same = query.clothes[asks] == gallery.clothes[answers]
    number = np.bincount(asks, minlength=len(query))
    return np.divide(
        np.bincount(asks, weights=same, minlength=len(query)), number, out=np.full(len(query), np.nan), where=number > 0
    )


def without_clothes(run: RunFolder, protocol: Protocol) -> str | None:
    """The protocol that differs from this one by hiding the query's own outfit; None where the run has none."""
    wanted = protocol.ignore | Ignore.SAME_CLOTHES
    return partner(run, protocol, wanted)


def _shown(row: Row, protocol: str) -> Protocol:
    """The protocol, where clothes can be told apart in its nearest answers; else raises NothingToShowError."""
    found = protocols_of(row.runs[0]).get(protocol)
    where = f"{row.dataset}, {protocol}"
    if found is None:
        raise NothingToShowError(f"{where}: the runs do not say what the protocol compares; evaluate them again.")
    if Ignore.SAME_CLOTHES in found.ignore or Ignore.OTHER_CLOTHES in found.ignore:
        raise NothingToShowError(f"{where}: no confusion by clothing, since matches in one kind of clothes are hidden.")
    if found.draws:
        raise NothingToShowError(f"{where}: no confusion by clothing, since galleries are drawn, one image a person.")
    query, gallery = compared(row.runs[0], found)
    if (query.clothes < 0).any() or (gallery.clothes < 0).any():
        raise NothingToShowError(f"{where}: no confusion by clothing, since clothes are not labelled.")
    return found


def parts_of(row: Row, protocol: str) -> dict[str, float]:
    """Mean over the seeds: what right answers rest on where the run can tell, else what the nearest answers wear."""
    found = _shown(row, protocol)
    hidden = without_clothes(row.runs[0], found)
    shares = []
    for run in row.runs:
        query, gallery = compared(run, found)
        seen = Ranking.load(run.ranking(protocol, run.headline))
        if hidden is None:
            shares.append(outcomes(seen, query.clothes, gallery.clothes))
        else:
            without = Ranking.load(run.ranking(hidden, run.headline))
            shares.append(resting_on_clothes(seen, without, query.clothes, gallery.clothes))
    return {name: float(np.mean([share[name] for share in shares])) for name in shares[0]}


def clothing_confusion(rows: Sequence[Row], protocol: str, folder: Path) -> Picture:
    """One bar per configuration: what the nearest answers wear, and whether right ones survive without the outfit.

    Raises NothingToShowError where the protocol or the labels tell nothing about clothes.
    """
    from matplotlib import pyplot
    from matplotlib.patches import Patch

    parts = [parts_of(row, protocol) for row in rows]
    names = list(dict.fromkeys(name for share in parts for name in share))
    run = rows[0].runs[0]
    found = protocols_of(run)[protocol]
    hidden = without_clothes(run, found)
    with paper_style():
        figure, axes = pyplot.subplots(figsize=(DOUBLE, 0.95 + 0.3 * len(rows)))
        for place, share in enumerate(parts):
            _draw_bar(axes, place, share)
        axes.set_yticks(range(len(rows)), [label(row) for row in rows])
        axes.set(xlim=(0, 1), ylim=(len(rows) - 0.5, -0.5), xlabel="queries (%)")
        axes.grid(visible=False, axis="y")
        axes.tick_params(axis="y", length=0)
        in_percent(axes.xaxis)
        axes.spines["left"].set_visible(False)
        keys = [Patch(facecolor=LOOKS[name][0], hatch=LOOKS[name][1], edgecolor="white", label=name) for name in names]
        figure.legend(handles=keys, loc="outside upper center", ncols=len(keys), columnspacing=1.2, handlelength=1.4)
        dataset = rows[0].dataset
        among = np.nanmean(same_clothes_among_matches(run, found))
        lost = "; ".join(f"{row.name} {_lost(share)}" for row, share in zip(rows, parts, strict=True))
        without = (
            f" «Without»: once the query's own outfit is hidden ({hidden} protocol). Of the right answers, so much was "
            f"lost with the outfit: {lost}."
            if hidden
            else ""
        )
        caption = (
            f"Nearest answers by clothing on {dataset}, {protocol} protocol, mean over the seeds. On average "
            f"{100 * among:.1f} % of a query's matches wear its clothes.{without} {in_words(rows)}"
        )
        name = file_name(dataset, protocol, "clothing")
        return save(figure, folder, name, f"Confusion by clothing, {dataset}, {protocol}", caption)


def _lost(share: dict[str, float]) -> str:
    right = 1 - share[WRONG]
    return f"{100 * share[ONLY] / right:.1f} %" if right > 0 else "–"


def _draw_bar(axes: "Axes", place: int, share: dict[str, float]) -> None:
    left = 0.0
    for name, value in share.items():
        colour, hatch = LOOKS[name]
        axes.barh(place, value, left=left, height=0.66, color=colour, hatch=hatch, edgecolor="white", linewidth=0.5)
        if value >= LEAST_WITH_NUMBER:
            dark = colour == COLOURS[0]
            text = axes.text(
                left + value / 2,
                place,
                f"{100 * value:.1f}",
                ha="center",
                va="center",
                fontsize=7,
                color="white" if dark else "black",
            )
            if hatch:
                text.set_bbox({"facecolor": colour, "edgecolor": "none", "pad": 0.8})
        left += value
