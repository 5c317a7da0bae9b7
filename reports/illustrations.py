"""The pictures of a report, made and put inside its pages: figures of rows, of runs, and retrieved images."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.comparison import Row, run_names
from benchmarks.records import RunFolder
from benchmarks.reopening import Reopened, reopen
from datasets.errors import CCReIDError
from datasets.files import replacing

from .figures.names import file_name
from .figures.style import NothingToShowError, Picture
from .page import Gallery, Shown, shown
from .preparing import Problems
from .retrieval import Options, Strip, choose_queries, common_protocol, save_pages, strips
from .retrieval.choosing import DISAGREE
from .retrieval.lists import read_lists
from .run_facts import RunFacts
from .tables.same_files import on_same_files

if TYPE_CHECKING:
    from .figures.everything import Made

OVERVIEW_QUERIES = "disagree:4+best:2+worst:4"
RUN_QUERIES = "best:2+worst:3"
KINDS = {"worst": "The hardest queries", "best": "The easiest queries", "random": "Queries drawn at random"}
NEAREST = "The nearest gallery images of a query: blue and ✓ its person, red and ✗ someone else."


@dataclass
class Illustrator:
    """Makes pictures under `out` and remembers what could not be made."""

    out: Path
    places: Mapping[str, Any]
    """Keys of the session: where the dataset's files are."""
    blur_faces: bool
    problems: Problems
    names: Mapping[str, str] = field(default_factory=dict)
    """Run id → what its configuration is called in the tables; else what `run_names` says."""
    remarks: list[str] = field(default_factory=list)
    """Why a figure does not apply to some runs; no problem."""

    @cached_property
    def options(self) -> Options:
        return Options(blur_faces=self.blur_faces, places=self.places)

    # --- figures ---

    def of_rows(self, rows: Sequence[Row], runs: Sequence[RunFacts]) -> list[Gallery]:
        """Comparisons between configurations, one gallery for the test images of each dataset; `runs` are those whose
        maps are shown.
        """
        from .figures.bias import bias_figure
        from .figures.everything import figures_of_rows

        folder, found = self.out / "figures", []
        for where, group in by_test_images(rows):
            finished = [row for row in group if row.runs]
            ids = {run.run_id for row in finished for run in row.runs}
            made = [*self._made(figures_of_rows(group, folder), f"figures of {where}")]
            made += self._made(_if_any(lambda of=finished: bias_figure(of, folder)), f"clothing bias on {where}")
            made += self.heat_maps([run for run in runs if run.run_id in ids], where)
            found.append(Gallery(where, tuple(made)))
        return [gallery for gallery in found if gallery.pictures]

    def of_run(self, facts: RunFacts) -> list[Gallery]:
        """Everything that one run shows."""
        from .figures.everything import figures_of_run

        folder = self.out / "figures" / facts.run_id
        figures = figures_of_run(self._reopened(facts) or facts.run, folder, blur_faces=self.blur_faces)
        made = [*self._made(figures, "figures", facts), *self.heat_maps([facts])]
        return [Gallery("Training, features, maps", tuple(made))] if made else []

    def heat_maps(self, runs: Sequence[RunFacts], where: str | None = None) -> list[Shown]:
        """Where the models of `runs`, of one dataset, look; nothing where none of them has maps."""
        from .figures.heat_maps import heat_map_figure

        opened = [found for facts in runs if (found := self._reopened(facts))]
        facts = runs[0] if len(runs) == 1 else None
        folder = self.out / "figures" / (facts.run_id if facts else "")
        if facts is None and where is not None and runs and where != runs[0].dataset:
            folder /= file_name(where)
        names = self._named([one.run for one in opened])
        made = _if_any(lambda: heat_map_figure(opened, folder, names, blur_faces=self.blur_faces) if opened else None)
        return list(self._made(made, "heat maps", facts))

    def training_of(self, facts: RunFacts) -> list[Gallery]:
        """The training curves alone, of a seed whose other pictures are not made, or of a run that is not finished."""
        from .figures.training import training_curves

        def curves() -> Iterator[Picture]:
            yield training_curves(facts.run, self.out / "figures" / facts.run_id)

        made = tuple(self._made(curves(), "training curves", facts))
        return [Gallery("Training", made)] if made else []

    def _named(self, runs: Sequence[RunFolder]) -> list[str]:
        return [name for run in runs if (name := self.names.get(run.run_id))] or run_names(runs)

    def _reopened(self, facts: RunFacts) -> Reopened | None:
        """With the dataset's files, or None where they are not there."""
        try:
            reopened = reopen(facts.run, self.places, lambda event: None)
            reopened.dataset  # noqa: B018 (read when it is first asked for)
        except CCReIDError as error:
            if not any(str(error) in said for said in self.problems.of(facts)):
                self.problems.add(f"pictures that show images: {error}", facts)
            return None
        return reopened

    def _made(self, pictures: "Iterable[Made]", what: str, facts: RunFacts | None = None) -> Iterator[Shown]:
        """Pictures one by one; what could not be made, or had to be left out of one, is noted."""
        with self.problems.noted(what, facts):
            try:
                for picture in pictures:
                    if isinstance(picture, str):
                        self.remarks.append(picture)
                    elif isinstance(picture, CCReIDError):
                        self.problems.add(f"{what}: {picture}", facts)
                    else:
                        for sentence in picture.left_out:
                            if not self.problems.known(sentence):
                                self.problems.add(f"{picture.title} is without a seed: {sentence}", facts)
                        yield shown(picture.title, picture.caption, picture.png)
            except NothingToShowError as reason:
                self.remarks.append(str(reason))

    # --- retrieval ---

    def retrieved(
        self, runs: Sequence[RunFacts], how: str, folder: Path | None = None, where: str | None = None
    ) -> list[Gallery]:
        """Queries chosen as `how` says («worst:4+best:2»), one line for each of `runs`, which share a dataset.

        With a `folder` the strips also lie there, and pages of them for print, PNG and PDF. `where`: what the dataset
        is called, when not by its name.
        """
        runs = [one for one in runs if self._reopened(one)]  # one without its plugin is named, and the others are shown
        if not runs:
            return []
        found: list[Gallery] = []
        every: dict[int, Strip] = {}
        dataset, alone = where or runs[0].dataset, runs[0] if len(runs) == 1 else None
        with self.problems.noted(f"retrieval on {dataset}", alone):
            folders = [one.run for one in runs]
            names = self._named(folders)
            protocol = common_protocol(folders)
            for part in _parts(how):
                if part.startswith(DISAGREE) and alone:
                    continue
                with self.problems.noted(f"retrieval on {dataset}", alone):  # a choice without a query ends no other
                    made = strips(folders, protocol, choose_queries(folders, protocol, part), self.options, names)
                    every |= {strip.row: strip for strip in made}
                    pictures = tuple(self._strip(strip, folder) for strip in made)
                    found.append(Gallery(f"{_title(part, names)}, {dataset}, {protocol}", pictures, NEAREST))
            if folder is not None:
                save_pages(list(every.values()), read_lists(folders, protocol), folder)
        return found

    def _strip(self, strip: Strip, folder: Path | None) -> Shown:
        image = strip.image()
        if folder is not None:
            with replacing(folder / f"{strip.name}.png") as temporary:
                image.save(temporary, format="png")
        return shown(f"Query {strip.row}: person {strip.query.person}", strip.caption, image, photographs=True)


def by_test_images(rows: Sequence[Row]) -> Iterator[tuple[str, list[Row]]]:
    """(the dataset, with its files where it has several states; its rows, which bear that name) as in the tables."""
    for dataset in dict.fromkeys(row.dataset for row in rows):
        for files, group in on_same_files([row for row in rows if row.dataset == dataset]):
            where = f"{dataset} ({files})" if files else dataset
            yield where, [replace(row, dataset=where) for row in group]


def _if_any(make: Callable[[], Picture | None]) -> Iterator[Picture]:
    picture = make()
    if picture is not None:
        yield picture


def _parts(how: str) -> list[str]:
    """«worst:4+best:2» → both; a plus may also stand in the path of a query."""
    parts = how.split("+")
    return parts if all(":" in part for part in parts) else [how]


def _title(part: str, names: Sequence[str]) -> str:
    if part.startswith(DISAGREE):
        return f"Where {names[0]} and {names[-1]} disagree most"
    return KINDS.get(part.partition(":")[0], "Chosen queries")
