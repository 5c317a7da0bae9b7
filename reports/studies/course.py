"""How trials fared while they were trained, and where pruned ones were cut."""

from pathlib import Path

from benchmarks.studies import Study

from ..figures.names import shortened
from ..figures.style import COLOURS, DOUBLE, NothingToShowError, Picture, paper_style, save
from .axes import whole_ticks
from .points import COMPLETE, DEFAULT
from .words import default_of, objectives, study_text

MANY = 60
LETTERS = 32


def course(study: Study, folder: Path) -> Picture:
    """The estimate of each trial after each epoch, seed after seed.

    Raises NothingToShowError where none was reported, as in studies with several objectives.
    """
    from matplotlib import pyplot

    goal = objectives(study)[0]
    told = [trial for trial in study.trials if trial.course]
    if not told:
        raise NothingToShowError(f"{study.name}: no courses of trials, since none reported its epochs.")
    default, best = default_of(study), study.best
    width = 0.5 if len(told) >= MANY else 0.8
    last = max(max(trial.course) for trial in told)
    with paper_style():
        figure, axes = pyplot.subplots(figsize=(DOUBLE, 2.5))
        seeds = range(-(-last // study.epochs))
        prunes = study.pruner != "none"
        for number in seeds:
            start = number * study.epochs
            if prunes:
                axes.axvspan(start, start + study.first_pruned_epoch, color="#EFEFEF", linewidth=0, zorder=0)
            if number:
                axes.axvline(start, color="#777777", linewidth=0.8, zorder=1)
            seed = study.seeds[number] if number < len(study.seeds) else "?"
            axes.annotate(
                f"seed {seed}", (start, 1), (3, 3), ("data", "axes fraction"), "offset points", fontsize=7, va="bottom"
            )
        for trial in told:
            steps = sorted(trial.course)
            values = [goal.shown(trial.course[step]) for step in steps]
            cut = trial.state == "pruned"
            if trial is default or trial is best:
                style = {"color": DEFAULT if trial is default else "black", "linewidth": 1.6, "zorder": 4}
                axes.plot(steps, values, "--" if trial is default else "-", **style)
            else:
                colour = {"pruned": COLOURS[1], "failed": COLOURS[1]}.get(trial.state, COMPLETE)
                axes.plot(
                    steps, values, color=colour, linewidth=width, alpha=0.9 if cut else 0.45, zorder=3 if cut else 2
                )
            if trial.state in ("pruned", "failed"):
                marker = {"pruned": "o", "failed": "x"}[trial.state]
                axes.plot(steps[-1], values[-1], marker, color=COLOURS[1], markersize=3.5, zorder=3.5)
            elif len(steps) == 1:
                axes.plot(steps[-1], values[-1], "o", color=COMPLETE, markersize=2.5)
        for axis_label, text in ((axes.set_xlabel, "epochs, seed after seed"), (axes.set_ylabel, goal.label)):
            axis_label(shortened(text, LETTERS))
        axes.set_xlim(0, 1.01 * last + 0.2)
        whole_ticks(axes.xaxis)
        axes.legend(handles=_legend(study, prunes), loc="lower right", ncols=2)
        shade = f" Grey: no pruning yet (before epoch {study.first_pruned_epoch} of a seed)." if prunes else ""
        caption = (
            f"Estimate of {study.objectives[0]} while trials were trained: the mean of the seeds that are finished and "
            f"of the running seed's best epoch so far. Dots: where trials were pruned.{shade} {study_text(study)}"
        )
        return save(figure, folder, "course", "Courses of the trials", caption)


def _legend(study: Study, prunes: bool) -> list:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    states = {trial.state for trial in study.trials if trial.course}
    found: list = [Line2D([], [], color=COMPLETE, linewidth=1, alpha=0.6, label="trial")]
    look = {"color": COLOURS[1], "linewidth": 1, "markersize": 3.5}
    found += [Line2D([], [], marker="o", label="pruned", **look)] * ("pruned" in states)
    found += [Line2D([], [], marker="x", label="failed", **look)] * ("failed" in states)
    default, best = default_of(study), study.best
    shown_default = default is not None and default.course
    found += [Line2D([], [], color=DEFAULT, linewidth=1.6, linestyle="--", label="defaults")] * bool(shown_default)
    found += [Line2D([], [], color="black", linewidth=1.6, label="best")] * bool(
        best is not None and best.course and best is not default
    )
    return [*found, *[Patch(color="#EFEFEF", label="no pruning yet")] * prunes]
