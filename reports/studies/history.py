"""What each trial reached, in the order in which they began, and the best so far."""

from pathlib import Path

from benchmarks.studies import Study

from ..figures.names import shortened
from ..figures.style import COLOURS, DOUBLE, Picture, paper_style, save
from .axes import whole_ticks
from .points import draw_points, legend_marks, marked_text, need_complete
from .words import objectives, study_text

LETTERS = 32


def history(study: Study, folder: Path) -> Picture:
    """One panel for each objective. Raises NothingToShowError where no trial is complete."""
    from matplotlib import lines, pyplot

    trials = need_complete(study, "history")
    goals = objectives(study)
    with paper_style():
        figure, panels = pyplot.subplots(
            len(goals), 1, figsize=(DOUBLE, 0.35 + 2.1 * len(goals)), sharex=True, squeeze=False
        )
        for axes, goal in zip(panels.flat, goals, strict=True):
            best, steps = None, []
            for trial in trials:
                value = trial.values[goal.place]
                best = value if best is None or goal.better(value, best) else best
                steps.append((trial.number, goal.shown(best)))
            last = max(trial.number for trial in study.trials)
            steps.append((last + 0.4, steps[-1][1]))
            axes.plot(*zip(*steps, strict=True), color=COLOURS[2], linewidth=1.2, drawstyle="steps-post", zorder=2)
            draw_points(axes, study, {trial.number: trial.number for trial in study.trials}, goal, 16)
            axes.set_ylabel(shortened(goal.label, LETTERS))
            axes.set_xlim(-0.02 * last - 0.6, 1.02 * last + 0.6)
            whole_ticks(axes.xaxis)
        panels[-1, 0].set_xlabel("trial")
        marks = legend_marks(study)
        line = lines.Line2D([], [], color=COLOURS[2], linewidth=1.2, drawstyle="steps-post", label="best so far")
        figure.legend(handles=[*marks, line], loc="outside upper center", ncols=len(marks) + 1, columnspacing=1.4)
        caption = f"Each trial's value by its number. {marked_text(study)} Line: the best so far. {study_text(study)}"
        return save(figure, folder, "history", "History", caption)
