"""A table as data. What is bold, underlined or grey is said here once; each renderer says it in its own language.

Every text is plain: nothing in it is markup, and a renderer escapes all of it.
"""

import hashlib
import math
import re
import unicodedata
from collections import Counter
from dataclasses import dataclass
from typing import Literal

from benchmarks.statistics import Estimate

SCORES, DIFFERENCES, RANKS, ABLATION, SUITE = "scores", "differences", "ranks", "ablation", "suite"
"""Kinds of tables: all methods under all protocols; one protocol with intervals; further scores; one method's terms; a
paper's table."""
MISSING = "–"
CHECK = "✓"
FROM_MEMORY = "‡"
"""Stands behind a published number that nobody looked up again."""
LONGEST_NAME = 60
"""Characters of a file's name; a longer one is cut and told apart by a hash."""
BIDIRECTIONAL = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
"""Characters that turn the direction of the text after them, and could make a table say something else."""


@dataclass(frozen=True)
class Column:
    title: str
    group: str = ""
    """Neighbours of one group, such as a protocol, share a heading above their own."""
    align: Literal["left", "right", "center"] = "right"
    unit: str = ""


@dataclass(frozen=True)
class Cell:
    text: str = ""
    value: float | str | None = None
    """What the column is sorted by; None sorts like the text, or last where the text is a dash."""
    best: bool = False
    """The highest of its column: bold."""
    close: bool = False
    """Not significantly worse than the highest: underlined."""
    published: bool = False
    """Not measured here: grey."""
    notes: tuple[str, ...] = ()
    """Marks of the footnotes that explain it."""


@dataclass(frozen=True)
class Number:
    """A score with all that is known of it: a line of the CSV. Scores and differences in percent, not rounded."""

    dataset: str
    protocol: str
    metric: str
    method: str
    configuration: str
    """Beginning of the run ids that all seeds share; empty for a published number."""
    name: str
    """As the tables call it."""
    ablation: str
    kind: Literal["measured", "published"]
    selection: str
    seeds: int | None
    unfinished: int | None
    """Runs of this configuration that failed, were stopped or are still running."""
    mean: float | None
    deviation: float | None
    low: float | None = None
    high: float | None = None
    reference: str = ""
    """Which row the difference is to."""
    difference: float | None = None
    difference_low: float | None = None
    difference_high: float | None = None
    p: float | None = None
    p_holm: float | None = None
    """Corrected for the number of comparisons with the reference under this protocol, of this metric."""
    effect: float | None = None
    """Cohen's d_z over people; no percent."""
    detectable: float | None = None
    source: str = ""
    certainty: str = ""


@dataclass(frozen=True)
class Table:
    kind: str
    document: str
    """Tables of one document are written into one file; also the beginning of the file's name."""
    name: str
    """File name without its ending: ASCII letters, digits, hyphens, underscores. Unique among the tables."""
    title: str
    caption: str
    """Dataset, protocols, selection, seeds, what failed, how the intervals were made."""
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    footnotes: tuple[tuple[str, str], ...] = ()
    """(mark, text) in the order in which the cells name them."""
    remarks: tuple[str, ...] = ()
    """The part of the caption that must not be overlooked, such as failed runs; it is in the caption too."""
    numbers: tuple[Number, ...] = ()
    mixed: bool = False
    """Some rows, not all, are of epochs that were chosen on the test set: these are never marked."""

    def legend(self, published: str) -> str:
        """What the cells' looks mean, naming only those that occur; `published`: how such a cell looks."""
        cells = [cell for row in self.rows for cell in row]
        parts = []
        if any(cell.best for cell in cells):
            parts.append("Bold: the highest of a column" + (" among rows without †." if self.mixed else "."))
        if any(cell.close for cell in cells):
            parts.append(
                "Underlined: not significantly worse than the highest (paired by identity, p ≥ 0.05 after Holm's "
                "correction within the table)."
            )
        if any(cell.published for cell in cells):
            parts.append(f"{published}: published, not measured here.")
        if any(FROM_MEMORY in cell.text for cell in cells):
            parts.append(f"{FROM_MEMORY}: known by heart, not looked up again.")
        return " ".join(parts)

    def headings(self, between: str) -> list[str]:
        """For a language whose headings cannot span columns: the title, after its group where the title alone could
        be another column's."""
        titles = Counter(column.title for column in self.columns if column.group)
        return [
            f"{column.group}{between}{column.title}" if column.group and titles[column.title] > 1 else column.title
            for column in self.columns
        ]


def clean(text: str) -> str:
    """One line without control characters: line breaks become spaces, what cannot be written a replacement mark."""
    return "".join(
        "\ufffd" if unicodedata.category(one) == "Cs" else one
        for one in " ".join(text.split())
        if unicodedata.category(one) != "Cc" and one not in BIDIRECTIONAL
    )


def file_name(*parts: str) -> str:
    """`parts` joined by hyphens, as a file name and LaTeX label; another text gives another name."""
    text = "-".join(parts)
    safe = re.sub(r"[^A-Za-z0-9_-]+", "-", text).strip("-")
    if safe == text and len(text) <= LONGEST_NAME:
        return text
    return f"{safe[:LONGEST_NAME]}-{hashlib.sha256(text.encode('utf-8', 'replace')).hexdigest()[:8]}".lstrip("-")


# --- numbers as text, in percent with one decimal ---


def percent(score: float | None, *, sign: bool = False) -> str:
    """A fraction; with a true minus, and a dash where there is none."""
    if score is None or math.isnan(score):
        return MISSING
    return f"{100 * score:{'+' if sign else ''}.1f}".replace("-", "−")


def mean_text(found: Estimate) -> str:
    """«12.3 ± 0.4», without the spread for a single seed."""
    if math.isnan(found.mean):
        return MISSING
    return percent(found.mean) + (f" ± {percent(found.deviation)}" if found.seeds > 1 else "")


def interval_text(low: float, high: float, *, sign: bool = False) -> str:
    if math.isnan(low) or math.isnan(high):
        return MISSING
    return f"{percent(low, sign=sign)} … {percent(high, sign=sign)}"


def p_text(p: float) -> str:
    if math.isnan(p):
        return MISSING
    return f"{p:.3f}" if p >= 0.001 else "< 0.001"
