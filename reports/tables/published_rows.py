"""What the papers report, as grey rows among ours, each with a footnote that says where it was read."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from benchmarks.comparison import Row
from benchmarks.published import UNKNOWN, Published
from benchmarks.selection import marked

from .table import FROM_MEMORY, MISSING, Cell, Number

CERTAINTY = {
    "paper": "read in the authors' own paper or repository",
    "secondary": "quoted by others",
    "memory": "known by heart, not looked up again",
}


@dataclass
class Footnotes:
    """Marks a, b, c, … in the order in which texts first occur."""

    _marks: dict[str, str] = field(default_factory=dict)

    def mark(self, text: str) -> str:
        return self._marks.setdefault(text, _letters(len(self._marks)))

    def listed(self) -> tuple[tuple[str, str], ...]:
        return tuple((mark, text) for text, mark in self._marks.items())


def _letters(number: int) -> str:
    """0 → a, 25 → z, 26 → aa."""
    return (_letters(number // 26 - 1) if number >= 26 else "") + chr(ord("a") + number % 26)


def other_images(rows: Sequence[Row]) -> list[str]:
    """A sentence where some of the runs were scored on images that are not those of the papers."""
    facts = [run.data() for row in rows for run in row.runs]
    if any(of_run.get("synthesized") for of_run in facts):
        return ["Runs were scored on images that `synthesize` drew: the published numbers are of other images."]
    apart = next((said for of_run in facts for said in of_run.get("differences", ())), None)
    return [f"Runs and published numbers may be of different images: {apart}"] if apart else []


def known(entry: Published, metrics: Iterable[str]) -> bool:
    return any(_score(entry, metric) is not None for metric in metrics)


def _score(entry: Published, metric: str) -> float | None:
    return getattr(entry, metric, None)


def published_cells(entry: Published | None, metrics: Iterable[str], footnotes: Footnotes) -> list[Cell]:
    """One cell for each metric; a dash where the paper's number is not known."""
    cells = []
    for metric in metrics:
        score = _score(entry, metric) if entry else None
        if entry is None or score is None:
            cells.append(Cell(MISSING, published=True))
            continue
        text = f"{score:.1f}{f' {FROM_MEMORY}' if entry.certainty == 'memory' else ''}"
        cells.append(Cell(text, score, published=True, notes=(footnotes.mark(_source_text(entry)),)))
    return cells


def _source_text(entry: Published) -> str:
    selection = "how the epoch was chosen is not known" if entry.selection == UNKNOWN else marked(entry.selection)
    network = "" if entry.backbone == UNKNOWN else f" {entry.backbone}."
    note = f" {entry.note[0].upper()}{entry.note[1:]}." if entry.note else ""
    return f"Published: {entry.source} ({CERTAINTY[entry.certainty]}; {selection}).{network}{note}"


def selections_text(entries: Iterable[Published]) -> str:
    """Each rule once; a rule that is not known is a dash."""
    rules = dict.fromkeys(MISSING if entry.selection == UNKNOWN else marked(entry.selection) for entry in entries)
    return ", ".join(rules)


def published_numbers(entries: Sequence[Published], metrics: Iterable[str], ablation: str = "") -> list[Number]:
    return [
        Number(
            dataset=entry.dataset,
            protocol=entry.protocol,
            metric=metric,
            method=entry.method,
            configuration="",
            name=entry.row or entry.method,
            ablation=ablation,
            kind="published",
            selection=entry.selection,
            seeds=None,
            unfinished=None,
            mean=score,
            deviation=None,
            source=entry.source,
            certainty=entry.certainty,
        )
        for metric in metrics
        for entry in entries
        if (score := _score(entry, metric)) is not None
    ]
