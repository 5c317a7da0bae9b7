"""Every figure that some runs can have; what cannot be shown is said in words."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from benchmarks.comparison import Row, fair
from benchmarks.records import RunFolder
from benchmarks.reopening import Reopened
from datasets.errors import CCReIDError

from .captions import text_clusters
from .clothing_ranks import clothing_ranks
from .cmc import cmc
from .confusion import clothing_confusion
from .distances import distances
from .embedding import tsne
from .queries import average_precision_against
from .spread import seed_spread
from .style import NothingToShowError, Picture
from .training import training_curves

Made = Picture | str | CCReIDError
"""A figure; why it does not apply; or what is wrong with the files that it is made of, while the others go on."""


def figures_of_rows(rows: Sequence[Row], folder: Path) -> Iterator[Made]:
    """Comparisons between configurations, one dataset after the other.

    Under each protocol: cumulative matches, seeds, clothing. Under the first: each configuration against the first one
    that may be a reference, query by query. Then how each was trained.
    """
    by_dataset: dict[str, list[Row]] = {}
    for row in rows:
        by_dataset.setdefault(row.dataset, []).append(row)
    for dataset, of_dataset in by_dataset.items():
        finished = [row for row in of_dataset if row.runs]
        yield from (
            f"{dataset}, {row.name}: no scores, since no run is finished." for row in of_dataset if not row.runs
        )
        names = list(dict.fromkeys(name for row in finished for name in row.protocols()))
        for number, protocol in enumerate(names):
            scored = [row for row in finished if protocol in row.protocols()]
            lacking = ", ".join(row.name for row in finished if row not in scored)
            if lacking:
                yield f"{dataset}, {protocol}: without {lacking}, not scored under it."
            yield from _tried(lambda scored=scored, protocol=protocol: cmc(scored, protocol, folder))
            yield from _tried(lambda scored=scored, protocol=protocol: seed_spread(scored, protocol, folder))
            yield from _tried(lambda scored=scored, protocol=protocol: clothing_confusion(scored, protocol, folder))
            reference = fair(scored)[0]
            for row in scored if number == 0 else ():
                if row != reference:
                    yield from _tried(
                        lambda row=row, reference=reference, protocol=protocol: average_precision_against(
                            row, reference, protocol, folder
                        )
                    )
        if finished:
            yield from _tried(lambda finished=finished: clothing_ranks(finished, folder))
        for row in of_dataset:
            yield from _tried(lambda row=row: training_curves(row, folder))


def figures_of_run(run: RunFolder | Reopened, folder: Path, *, blur_faces: bool = False) -> Iterator[Made]:
    """What one run shows: pictures, or why there is none. Images and captions are shown of a reopened run only."""
    kept = run.run if isinstance(run, Reopened) else run
    yield from _tried(lambda: training_curves(kept, folder))
    if kept.status()["state"] != "done":
        yield f"{kept.run_id}: no figures of its features, since it is not finished."
        return
    yield from _tried(lambda: distances(kept, folder))
    yield from _tried(lambda: tsne(kept, folder))
    if isinstance(run, Reopened):
        yield from _tried(lambda: text_clusters(run, folder, blur_faces=blur_faces))
    else:
        yield f"{kept.run_id}: no clusters of captions, since the dataset's files were not opened."


def _tried(make: Callable[[], Picture]) -> Iterator[Made]:
    try:
        yield make()
    except NothingToShowError as reason:
        yield str(reason)
    except CCReIDError as error:
        yield error
