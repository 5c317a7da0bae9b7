"""What stands under a picture of retrievals: plain text that says what is shown, of which runs, chosen how."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from benchmarks.selection import marked

from .lists import Lists

if TYPE_CHECKING:
    from .strips import Entry, Line, Strip


def strip_caption(lists: Sequence[Lists], query: "Entry", lines: "Sequence[Line]", row: int) -> str:
    """Of one query."""
    first = lists[0]
    of_run = []
    for one, line in zip(lists, lines, strict=True):
        score = f"{line.score.removesuffix(' †')} %" if line.average_precision == line.average_precision else line.score
        matches, ignored = int(one.ranking.matches[row]), int(one.ranking.ignored[row])
        valid = f"{matches} valid match{'es' * (matches != 1)}, {ignored} entr{'y' if ignored == 1 else 'ies'} ignored"
        of_run.append(f"{_who(line)}: {score}, {valid}.")
    return " ".join(
        [
            f"{_dataset(first)}, {first.protocol.name}, query {row} ({query.path}): "
            f"person {query.person}, clothes {number(query.clothes)}, camera {number(query.camera)}.",
            *of_run,
            *_remarks(first, lines),
        ]
    )


def page_caption(part: "Sequence[Strip]", lists: Sequence[Lists]) -> str:
    """Of the strips of one page."""
    first, options, lines = lists[0], part[0].options, part[0].lines
    queries = "a query" if len(part) == 1 else f"{len(part)} queries"
    nearest = "nearest gallery image" if options.k == 1 else f"{options.k} nearest gallery images"
    hidden = "ignored entries greyed, without a rank" if options.show_ignored else "ignored entries left out"
    who = "; ".join(_who(line) for line in lines)
    said = [
        f"The {nearest} of {queries} of {_dataset(first)} under {first.protocol.name}, {hidden}.",
        "Blue and ✓: the query's person; red and ✗: another person.",
        "Under each image: distance, and person/clothes/camera." if options.labels else "",
        "AP: average precision of the query in percent.",
        f"Lines of a query from the top: {who}." if len(lines) > 1 else f"Run: {who}.",
        *_remarks(first, lines),
        "Heads are hidden." if options.blur_faces else "",
        f"Queries {', '.join(str(strip.row) for strip in part)}.",
    ]
    return " ".join(filter(None, said))


def number(label: int) -> str:
    """A label, «–» where there is none."""
    return str(label) if label >= 0 else "–"


def _dataset(lists: Lists) -> str:
    return str(lists.run.spec()["dataset"]["name"])


def _who(line: "Line") -> str:
    return f"{line.name} ({line.run}, selection {marked(line.selection)})"


def _remarks(lists: Lists, lines: "Iterable[Line]") -> list[str]:
    """What the protocol makes of lists, and what a dagger means."""
    said = []
    if lists.protocol.pool is not None:
        said.append("Tracklets are compared; each is shown by its middle image.")
    if lists.protocol.draws:
        said.append(f"Lists of the first of {lists.protocol.draws} single-shot galleries; AP is the mean over all.")
    if any("†" in marked(line.selection) for line in lines):
        said.append("† the epoch was chosen on the test set.")
    return said
