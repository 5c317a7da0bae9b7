"""How much of the variation between trials each searched key explains."""

from pathlib import Path

from benchmarks.studies import Study

from ..figures.names import shortened
from ..figures.style import COLOURS, SINGLE, NothingToShowError, Picture, in_percent, paper_style, save
from ..wording import counted
from .words import complete, short_names, study_text

LETTERS = 22


def importance(study: Study, folder: Path) -> Picture:
    """A bar for each searched key. Raises NothingToShowError where too few trials are complete to know."""
    from matplotlib import pyplot

    shares = sorted(study.importance.items(), key=lambda item: -item[1])
    if not shares:
        raise NothingToShowError(
            f"{study.name}: no importance of the searched keys, since too few trials are complete to tell it."
        )
    names = short_names([dimension.key for dimension in study.space])
    with paper_style():
        figure, axes = pyplot.subplots(figsize=(SINGLE, 0.55 + 0.22 * len(shares)))
        values = [share for _, share in shares]
        axes.barh(range(len(shares)), values, height=0.66, color=COLOURS[0], linewidth=0)
        for place, share in enumerate(values):
            text = f"{100 * share:.0f}" if share >= 0.01 or share == 0 else "< 1"
            axes.annotate(text, (share, place), xytext=(3, 0), textcoords="offset points", va="center", fontsize=7)
        axes.set_yticks(range(len(shares)), [shortened(names.get(key, key), LETTERS) for key, _ in shares])
        axes.set_ylim(len(shares) - 0.4, -0.6)
        axes.set_xlim(0, 1.12 * max(max(values), 0.01))
        axes.tick_params(axis="y", length=0)
        axes.grid(visible=False, axis="y")
        axes.set_xlabel("share of the variation (%)")
        in_percent(axes.xaxis)
        caption = (
            f"Importance of the searched keys for {study.objectives[0]}: PED-ANOVA (Watanabe et al., IJCAI 2023) over "
            f"{counted(len(complete(study)), 'complete trial')}. A share speaks of the ranges that were searched, and "
            f"few trials tell it roughly. {study_text(study)}"
        )
        return save(figure, folder, "importance", "Importance", caption)
