"""A study's page in a report, with its figures and tables beside it.

OUT/studies/NAME.html           everything that the study shows
OUT/studies/NAME/figures/       PNG and PDF
OUT/studies/NAME/tables/        Markdown, LaTeX, CSV, HTML
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from benchmarks.studies import Dimension, Study

from ..figures.style import Picture
from ..page import Gallery, anchor, duration, shown, write_page
from ..tables import Table, to_html, to_latex
from .commands import chosen_params, go_on, train_chosen
from .everything import figures_of_study
from .listing import Line, line_of
from .tables import CONFIRMATION, IN_A_PAPER, study_tables, write_study_tables
from .words import (
    by_importance,
    complete,
    default_of,
    interval_of,
    objectives,
    range_text,
    signed,
    states_text,
    study_text,
    value_text,
)

READING = (
    "No trial has seen the test split: a value is the mean over seeds on identities held out of the training split.",
    "The best of many noisy trials looks better than it is. Only the confirmed value, on seeds that the sweep had not "
    "used, may be reported; shrinkage says how much of the tuned value was luck.",
    "Pruned, failed and lost trials are counted wherever trials are counted. A lost trial's worker died or had to "
    "stop, and another trial with the same parameters took its place.",
)


@dataclass(frozen=True)
class StudyLink:
    """A line of the report's first page."""

    line: Line
    page: str


def write_study(study: Study, out: Path, formats: Sequence[str]) -> StudyLink:
    """Make the page, and the figures and tables beside it; the same study gives the same bytes."""
    stem = page_stem(study.name)
    made = list(figures_of_study(study, out / stem / "figures"))
    write_study_tables(study, out / stem / "tables", formats)
    write_page(out / f"{stem}.html", "study.html", _context(study, made, stem))
    return StudyLink(line_of(study), f"{stem}.html")


def page_stem(name: str) -> str:
    """A study's name as one that every disk and every browser takes."""
    plain = name.isascii() and name.replace("-", "").replace("_", "").isalnum()
    return name if plain and len(name) < 150 else anchor(name)


def _context(study: Study, made: Sequence[Picture | str], stem: str) -> dict[str, Any]:
    about = study_text(study)  # said once above all pictures, which also have to stand alone
    pictures = {
        one.name: shown(one.title, one.caption.removesuffix(about).rstrip(), one.png)
        for one in made
        if isinstance(one, Picture)
    }
    confirmed = pictures.pop("confirmation", None)
    found = chosen_params(study)
    context: dict[str, Any] = {
        "title": study.name,
        "lead": _lead(study),
        "study": study,
        "about": about,
        "merits": _merits(study),
        "confirmation": Gallery("", (confirmed,)) if confirmed else None,
        "figures": Gallery("", tuple(pictures.values())) if pictures else None,
        "remarks": [one for one in made if isinstance(one, str)],
        "tables": {table.kind: _shown(table, study) for table in study_tables(study)},
        "space": [_searched(key, study) for key in by_importance(study)],
        "failed": [trial for trial in study.trials if trial.state == "failed"],
        "chosen": found[0] if found else None,
        "go_on": go_on(study),
        "train": train_chosen(study) if found else None,
        "reading": READING,
        "stem": stem,
    }
    return context | {"sections": _sections(context)}


def _lead(study: Study) -> str:
    seconds = sum(trial.seconds or 0 for trial in study.trials)
    parts = [f"{study.method} on {study.dataset}", states_text(study)[:-1], f"sampler {study.sampler}"]
    return " · ".join([*parts, *([f"{duration(seconds)} of training"] if seconds else [])])


def _merits(study: Study) -> list[tuple[str, str, str]]:
    """(what, number, more): the numbers that a reader asks for first."""
    goal, best, default, found = objectives(study)[0], study.best, default_of(study), study.confirmation
    merits = []
    if default is not None:
        merits.append(("defaults, tuning seeds", goal.text(default.values[0]), goal.label))
    if best is not None:
        merits.append(
            (f"best of {len(complete(study))} trials, tuning seeds", goal.text(best.values[0]), f"trial {best.number}")
        )
    for row in found.rows if found else ():
        if found and row.name == found.chosen and row.by_seed:
            seeds = ", ".join(map(str, sorted(row.by_seed)))
            merits.append((f"confirmed on fresh seeds {seeds}", goal.text(row.mean), row.name))
    top = found.rows[0] if found and found.rows else None
    if found and top is not None and top.name in found.shrinkage:
        luck = found.shrinkage[top.name]
        interval = f"95 %: {interval_of(goal, luck)}"
        merits.append((f"shrinkage of {top.name}", signed(goal, luck.mean), interval))
    return merits


def _shown(table: Table, study: Study) -> dict[str, Any]:
    """As `parts.numbered` takes it; LaTeX as it lies in the folder."""
    short = next(one for one in study_tables(study, most=IN_A_PAPER) if one.kind == table.kind)
    html = Markup(to_html(table))  # noqa: S704 (escaped by its renderer)
    return {"title": table.title, "html": html, "latex": to_latex(short)}


def _searched(key: Dimension, study: Study) -> dict[str, Any]:
    best, found = study.best, chosen_params(study)
    return {
        "key": key.key,
        "range": range_text(key),
        "default": value_text(key.default),
        "best": value_text(best.params[key.key]) if best and key.key in best.params else "–",
        "chosen": value_text(found[1][key.key]) if found and key.key in found[1] else "–",
        "importance": study.importance.get(key.key),
    }


def _sections(context: dict[str, Any]) -> list[str]:
    """Headings, in the order of the template."""
    there = {
        "Confirmation": CONFIRMATION in context["tables"],
        "Figures": context["figures"] or context["remarks"],
        "Searched keys": True,
        "Trials": context["study"].trials,
        "How to go on": True,
        "How to read this": True,
    }
    return [name for name, is_there in there.items() if is_there]
