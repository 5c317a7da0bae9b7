"""The verb `report`: tables, figures, retrieved images and pages of the chosen runs, in one folder.

    OUT/index.html          every table, comparison and picture, and every run with its state
    OUT/runs/RUN.html       one page a run
    OUT/tables/             Markdown, LaTeX, CSV, HTML
    OUT/figures/            PNG and PDF
    OUT/retrieval/          PNG and PDF
    OUT/studies/NAME.html   one page a sweep, its figures and tables in a folder beside it

A run that is damaged or not finished is listed with its state and the reason; the others are shown as if it were not
there. Nothing of it depends on the day: the same runs give the same bytes.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.run_states import DAMAGED
from datasets.errors import UsageError, did_you_mean

from .choosing import KEYS as WHICH
from .console import Reporter
from .illustrations import OVERVIEW_QUERIES, RUN_QUERIES, Illustrator, by_test_images
from .overview_page import TableSection, table_sections, write_overview
from .page import Gallery
from .preparing import Problems, prepare
from .run_facts import RunFacts, read_run
from .run_page import RunPage
from .studies.choosing import chosen_studies, runs_beside
from .wording import counted

if TYPE_CHECKING:
    from benchmarks.comparison import Row
    from benchmarks.studies import Study

    from .studies.page import StudyLink

PLACES = ("data", "mask_folder", "caption_folder", "cache", "device", "workers", "batch_size")
KEYS = (*WHICH, "out", "format", "queries", "faces", "quiet", *PLACES)


@dataclass(frozen=True)
class Asked:
    """What the words of the command line ask for."""

    out: Path
    formats: tuple[str, ...]
    queries: str
    blur_faces: bool
    quiet: bool
    places: Mapping[str, Any]

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> "Asked":
        """Raises UsageError for a word that is not known."""
        from .retrieval.choosing import check_kind
        from .tables import read_formats

        known = [key.removesuffix(".name") for key in KEYS]
        for key in values:
            if key not in KEYS:
                raise UsageError(f"Unknown key {key}.{did_you_mean(key, known)} Available: {', '.join(known)}.")
        formats = read_formats(values.get("format"))
        for part in str(values.get("queries", OVERVIEW_QUERIES)).split("+"):
            check_kind(part)
        return cls(
            Path(str(values.get("out", "report"))).expanduser(),
            formats,
            str(values.get("queries", OVERVIEW_QUERIES)),
            _one_of(values, "faces", "show", "blur") == "blur",
            _one_of(values, "quiet", "false", "true") == "true",
            {key: values[key] for key in PLACES if key in values},
        )


def _one_of(values: Mapping[str, Any], key: str, usual: str, other: str) -> str:
    value = values.get(key, usual)
    if value not in (usual, other):
        raise UsageError(f"{key}={value}: write {key}={other}, or {key}={usual}, the default.")
    return str(value)


def write_report(values: Mapping[str, Any]) -> Iterator[str]:
    """Make everything that the words ask for; says what was written, last the path of index.html.

    Raises UsageError for words that are not known and where there are no runs at all.
    """
    asked = Asked.of(values)
    studies, unreadable = chosen_studies(values)
    runs = [read_run(run) for run in runs_beside(values, studies)]
    for facts in runs:
        if not facts.counts:
            yield f"{facts.run_id}: {facts.state}, in no table. {facts.reason}"
    problems = Problems(of_all=unreadable)
    rows = _rows(runs)
    with Reporter(quiet=asked.quiet) as reporter:
        prepare([run for run in runs if run.counts], _shown_seeds(rows), asked.places, reporter, problems)
        yield from _written(asked, runs, rows, studies, problems, reporter)


def _written(
    asked: Asked,
    runs: Sequence[RunFacts],
    rows: "Sequence[Row]",
    studies: "Sequence[Study]",
    problems: Problems,
    reporter: Reporter,
) -> Iterator[str]:
    """Tables, figures, retrieved images, pages; last the page that leads to all of them."""
    sections = _tables(rows, asked, problems)
    if sections:
        yield f"{asked.out / 'tables'}: {sum(len(section.tables) for section in sections)} tables"
    names = {run.run_id: row.name for row in rows for run in row.runs}
    illustrator = Illustrator(asked.out, asked.places, asked.blur_faces, problems, names)
    reporter.say(f"drawing figures of {counted(len(rows), 'configuration')}")
    by_data = _by_data(runs, rows)
    where = {row.runs[0].run_id: where for where, group in by_test_images(rows) for row in group if row.runs}
    figures = illustrator.of_rows(rows, [facts for of_data in by_data.values() for facts in of_data])
    reporter.say("drawing retrieved images")
    retrieval = [
        gallery
        for name, of_dataset in by_data.items()
        for gallery in illustrator.retrieved(
            of_dataset, asked.queries, asked.out / "retrieval" / name, where[of_dataset[0].run_id]
        )
    ]
    reporter.say(f"drawing {counted(len(runs), 'page')} of runs")
    pages = []
    for number, facts in enumerate(runs):
        reporter({"event": "progress", "what": "pages", "done": number, "total": len(runs)})
        pages.append(_run_page(facts, runs, rows, illustrator, problems))
        pages[-1].write(asked.out / "runs")
    pictures = [*figures, *(gallery for page in pages for gallery in page.figures)]
    yield f"{asked.out / 'figures'}: {_number_of(pictures)} figures"
    yield f"{asked.out / 'retrieval'}: {_number_of(retrieval)} queries"
    yield f"{asked.out / 'runs'}: {len(pages)} pages, one a run"
    links = _studies(studies, asked, problems)
    if links:
        yield f"{asked.out / 'studies'}: {len(links)} pages, one a sweep"
    yield from problems.summary()
    index = asked.out / "index.html"
    yield str(write_overview(index, runs, sections, retrieval, figures, problems.summary(), illustrator.remarks, links))


def _studies(studies: "Sequence[Study]", asked: Asked, problems: Problems) -> "list[StudyLink]":
    """A page for each study."""
    from .studies.page import write_study

    links = []
    for study in studies:
        with problems.noted(f"study {study.name}"):
            links.append(write_study(study, asked.out / "studies", asked.formats))
    return links


def _number_of(galleries: Sequence[Gallery]) -> int:
    return sum(len(gallery.pictures) for gallery in galleries)


def _rows(runs: Sequence[RunFacts]) -> list["Row"]:
    """Configurations of which some run is not damaged or can tell its spec; damaged seeds count as unfinished ones."""
    from benchmarks.comparison import rows_of

    known = {facts.run_id for facts in runs if facts.state != DAMAGED or facts.spec}
    rows = rows_of([facts.run for facts in runs])
    return [row for row in rows if any(run.run_id in known for run in (*row.runs, *row.unfinished))]


def _shown_seeds(rows: Sequence["Row"]) -> set[str]:
    """Ids of the runs whose pictures are shown: the first finished seed of each configuration."""
    return {row.runs[0].run_id for row in rows if row.runs}


def _tables(rows: Sequence["Row"], asked: Asked, problems: Problems) -> list[TableSection]:
    from .tables import ablation_tables, result_tables, write_tables

    with problems.noted("tables"):
        write_tables(rows, asked.out / "tables", asked.formats)
        return table_sections(result_tables(rows), ablation_tables(rows))
    return []


def _by_data(runs: Sequence[RunFacts], rows: Sequence["Row"]) -> dict[str, list[RunFacts]]:
    """The shown seeds asked the same queries of the same images, in the rows' order; by the name of a folder."""
    from .figures.names import file_name

    by_id, groups = {facts.run_id: facts for facts in runs}, {}
    for facts in (by_id[row.runs[0].run_id] for row in rows if row.runs):
        splits = {name: split.get("fingerprint") for name, split in facts.data.get("splits", {}).items()}
        groups.setdefault(repr((facts.spec["dataset"], sorted(splits.items()))), []).append(facts)
    named: dict[str, list[RunFacts]] = {}
    for of_data in groups.values():
        number = sum(others[0].dataset == of_data[0].dataset for others in named.values())
        named[file_name(of_data[0].dataset, *([str(number + 1)] if number else []))] = of_data
    return named


def _run_page(
    facts: RunFacts, runs: Sequence[RunFacts], rows: Sequence["Row"], illustrator: Illustrator, problems: Problems
) -> RunPage:
    """A page with every picture for the first seed of a configuration, with the training curves for the others."""
    shown = _shown_seeds(rows)
    if facts.run_id in shown:
        figures = illustrator.of_run(facts)
        elsewhere = None
    else:
        figures = illustrator.training_of(facts) if facts.state != DAMAGED else []
        first = [one for one in runs if one.configuration == facts.configuration and one.run_id in shown]
        elsewhere = first[0] if first else None
    retrieval = illustrator.retrieved([facts], RUN_QUERIES) if facts.counts else []
    return RunPage(facts, tuple(figures), tuple(retrieval), elsewhere, problems.of(facts))
