"""The tables of a study: every trial, and what was confirmed on fresh seeds."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from string import ascii_lowercase

from benchmarks.studies import Confirmation, Confirmed, Study, Trial, Value

from ..tables.captions import caption
from ..tables.table import CHECK, MISSING, Cell, Column, Table, file_name, interval_text, p_text, percent
from ..tables.writing import write
from ..wording import counted
from .words import Objective, best_first, interval_of, objectives, short_names, signed, study_text, value_text

TRIALS, CONFIRMATION, TESTED = "trials", "confirmation", "tested"
"""Kinds of tables."""
IN_A_PAPER = 20
"""Trials of the LaTeX table."""
KEYS = "searched keys"


def study_tables(study: Study, *, most: int | None = None) -> list[Table]:
    """Those that there is something for; at most so many trials."""
    found = study.confirmation
    confirmed = [confirmation_table(study, found)] if found else []
    tested = [tested_table(study, found)] if found and found.tested else []
    return [*confirmed, *tested, *([trials_table(study, most)] if study.trials else [])]


def write_study_tables(study: Study, folder: Path, formats: Sequence[str]) -> list[Path]:
    """trials.…, confirmation.… and tested.… in each format; in LaTeX the best trials alone, which must fit a page."""
    others = [name for name in formats if name != "tex"]
    files = write(study_tables(study), folder, others)
    return files + write(study_tables(study, most=IN_A_PAPER), folder, ["tex"] * ("tex" in formats))


# --- trials ---


def trials_table(study: Study, most: int | None = None) -> Table:
    """The best first, then pruned ones by how far they came, then the others; scores in percent."""
    goals, order = objectives(study), best_first(study)
    shown = order[:most]
    columns = (
        Column("trial"),
        *(Column(goal.name, unit="" if goal.minimised else "%") for goal in goals),
        *(Column(name, KEYS) for name in _names(study)),
        Column("state", align="left"),
        Column("seeds"),
        Column("note", align="left"),
    )
    cut = f" Shown: the first {len(shown)} of {len(order)}." if len(shown) < len(order) else ""
    return Table(
        kind=TRIALS,
        document=TRIALS,
        name=file_name(study.name, TRIALS),
        title=f"Trials of {study.name}",
        caption=caption(
            f"Trials, the best first; scores in percent.{cut}",
            _keys_text(study),
            _counted_too(study),
            study_text(study),
        ),
        columns=columns,
        rows=tuple(_of_trial(trial, study, goals) for trial in shown),
        remarks=(_counted_too(study),),
    )


def _of_trial(trial: Trial, study: Study, goals: Sequence[Objective]) -> tuple[Cell, ...]:
    best = study.best
    values = [
        _value_cell(goal, trial.values[goal.place], best=goal.place == 0 and trial is best and not goal.minimised)
        if trial.state == "complete"
        else Cell(MISSING)
        for goal in goals
    ]
    return (
        Cell(str(trial.number), trial.number),
        *values,
        *_params(trial.params, study),
        Cell(trial.state),
        Cell(f"{len(trial.by_seed)}/{len(study.seeds)}", len(trial.by_seed)),
        Cell(_note(trial, study)),
    )


def _value_cell(goal: Objective, value: float | None, *, best: bool = False) -> Cell:
    return Cell(MISSING) if value is None else Cell(goal.text(value), goal.shown(value), best=best)


def _params(params: Mapping[str, Value], study: Study) -> list[Cell]:
    return [_param(params[key.key]) if key.key in params else Cell(MISSING) for key in study.space]


def _param(value: Value) -> Cell:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return Cell(value_text(value), float(value) if number else None)  # type: ignore[arg-type]


def _note(trial: Trial, study: Study) -> str:
    parts = ["defaults"] * trial.is_default
    parts += [f"repeats trial {trial.replaces}"] * (trial.replaces is not None)
    parts += ["Pareto front"] * (trial.number in study.pareto)
    if trial.state == "pruned" and trial.course:
        number, epoch = divmod(max(trial.course) - 1, study.epochs)
        seed = study.seeds[number] if number < len(study.seeds) else MISSING
        parts.append(f"seed {seed}, epoch {epoch + 1}")
    return "; ".join(parts)


def _names(study: Study) -> list[str]:
    return list(short_names([dimension.key for dimension in study.space]).values())


def _keys_text(study: Study) -> str:
    """Which keys the short names of the columns stand for; nothing where they are whole."""
    names = short_names([dimension.key for dimension in study.space])
    said = ", ".join(f"{name} is {key}" for key, name in names.items() if name != key)
    return f"Searched keys: {said}." if said else ""


def _counted_too(study: Study) -> str:
    """What has no value, which must not be overlooked."""
    counts = {state: sum(t.state == state for t in study.trials) for state in ("pruned", "failed", "lost")}
    said = ", ".join(f"{number} {state}" for state, number in counts.items() if number)
    return f"Counted, not hidden: {said} of {counted(len(study.trials), 'trial')}." if said else ""


# --- confirmation ---


def confirmation_table(study: Study, found: Confirmation) -> Table:
    """The best trials and the defaults: what the sweep saw, and what fresh seeds say."""
    goal = objectives(study)[0]
    marks = iter(ascii_lowercase)
    footnotes = [(row.name, next(marks, "*"), text) for row in found.rows if (text := " ".join(row.failures))]
    columns = (
        Column("configuration", align="left"),
        Column("tuned", goal.name, unit="" if goal.minimised else "%"),
        Column("confirmed", goal.name, unit="" if goal.minimised else "%"),
        Column("seeds", goal.name),
        Column("over defaults", goal.name),
        Column("shrinkage", goal.name),
        Column("95 % interval", goal.name),
        Column("chosen", align="center"),
        *(Column(name, KEYS) for name in _names(study)),
    )
    seeds = ", ".join(map(str, found.seeds))
    explained = (
        f"Tuned: what the sweep saw; confirmed: mean ± standard deviation over fresh seeds ({seeds}), on the same "
        "held-out identities. Over defaults: mean difference to the defaults over the fresh seeds that both have. "
        "Shrinkage: tuned minus confirmed, with its 95 % interval (Student's t, seeds' scatter pooled over the rows). "
        f"{CHECK}: the highest confirmed value, {found.chosen}."
    )
    return Table(
        kind=CONFIRMATION,
        document=CONFIRMATION,
        name=file_name(study.name, CONFIRMATION),
        title=f"{study.name}, confirmed on fresh seeds",
        caption=caption(explained, _keys_text(study), study_text(study)),
        columns=columns,
        rows=tuple(
            _confirmed(row, study, found, goal, [m for name, m, _ in footnotes if name == row.name])
            for row in found.rows
        ),
        footnotes=tuple((mark, text) for _, mark, text in footnotes),
        remarks=(_counted_too(study),),
    )


def _confirmed(
    row: Confirmed, study: Study, found: Confirmation, goal: Objective, notes: Sequence[str]
) -> tuple[Cell, ...]:
    scores = list(row.by_seed.values())
    spread = f" ± {goal.text(statistics.stdev(scores))}" if len(scores) > 1 else ""
    mean, shrinkage = row.mean, found.shrinkage.get(row.name)
    confirmed = Cell(MISSING) if mean is None else Cell(f"{goal.text(mean)}{spread}", goal.shown(mean))
    chosen = row.name == found.chosen
    return (
        Cell(row.name, notes=tuple(notes)),
        _value_cell(goal, row.tuned),
        Cell(confirmed.text, confirmed.value, best=chosen and not goal.minimised),
        Cell(str(len(scores)), len(scores)),
        _difference(row, found, goal),
        Cell(MISSING) if shrinkage is None else Cell(signed(goal, shrinkage.mean), goal.shown(shrinkage.mean)),
        Cell(MISSING) if shrinkage is None else Cell(interval_of(goal, shrinkage)),
        Cell(CHECK if chosen else ""),
        *_params(row.params, study),
    )


def _difference(row: Confirmed, found: Confirmation, goal: Objective) -> Cell:
    """To the defaults, seed by seed."""
    defaults = next((one for one in found.rows if one.name == "defaults"), None)
    both = [seed for seed in row.by_seed if defaults is not None and seed in defaults.by_seed]
    if defaults is None or row is defaults or not both:
        return Cell(MISSING)
    mean = sum(row.by_seed[seed] - defaults.by_seed[seed] for seed in both) / len(both)
    return Cell(signed(goal, mean), goal.shown(mean))


# --- the test split ---


def tested_table(study: Study, found: Confirmation) -> Table:
    """The chosen configuration against the defaults, on images that no choice was made by."""
    columns = (
        Column("protocol", align="left"),
        Column("metric", align="left"),
        Column(found.chosen, unit="%"),
        Column("defaults", unit="%"),
        Column("difference"),
        Column("95 % interval"),
        Column("p (Holm)"),
        Column("detectable"),
    )
    explained = (
        f"Test split, opened after {found.chosen} was chosen: means over the fresh seeds "
        f"({', '.join(map(str, found.seeds))}), paired by person; intervals over people and seeds, p corrected by "
        "Holm's method over the rows; detectable: the difference that would have been found four times in five."
    )
    return Table(
        kind=TESTED,
        document=TESTED,
        name=file_name(study.name, TESTED),
        title=f"{study.name}, {found.chosen} against the defaults on the test split",
        caption=caption(explained, study_text(study)),
        columns=columns,
        rows=tuple(
            (
                Cell(row.protocol),
                Cell(row.metric),
                Cell(percent(row.chosen), 100 * row.chosen),
                Cell(percent(row.defaults), 100 * row.defaults),
                Cell(percent(row.difference, sign=True), 100 * row.difference),
                Cell(interval_text(row.low, row.high, sign=True)),
                Cell(p_text(row.p_holm), row.p_holm),
                Cell(percent(row.detectable), 100 * row.detectable),
            )
            for row in found.tested
        ),
    )


def without_keys(table: Table) -> Table:
    """For a terminal's width; the parameters also stand in the table of trials."""
    kept = [place for place, column in enumerate(table.columns) if column.group != KEYS]
    rows = tuple(tuple(row[place] for place in kept) for row in table.rows)
    return replace(table, columns=tuple(table.columns[place] for place in kept), rows=rows)
