"""What a report needs beyond a run's scores, and a run may lack: kept features, its clothing bias, heat maps.

They are computed where the run's weights and the dataset's files are there. The model is `benchmarks`' business.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from benchmarks.data import Listener
from datasets.errors import CCReIDError

from .run_facts import RunFacts


@dataclass
class Problems:
    """What could not be made, and why: one sentence each, once."""

    of_all: list[str] = field(default_factory=list)
    of_run: dict[str, list[str]] = field(default_factory=dict)
    """By run id."""

    @contextmanager
    def noted(self, what: str, run: RunFacts | None = None) -> Iterator[None]:
        """Go on after an error that a user can mend, and remember it."""
        try:
            yield
        except CCReIDError as error:
            self.add(f"{what}: {error}", run)

    def add(self, sentence: str, run: RunFacts | None = None) -> None:
        found = self.of_all if run is None else self.of_run.setdefault(run.run_id, [])
        if sentence not in found:
            found.append(sentence)

    def known(self, reason: str) -> bool:
        """Whether a sentence with this reason is there already."""
        return any(reason in said for said in (*self.of_all, *(one for found in self.of_run.values() for one in found)))

    def of(self, run: RunFacts) -> tuple[str, ...]:
        return tuple(self.of_run.get(run.run_id, ()))

    def summary(self) -> list[str]:
        """Everything, a sentence that holds for several runs once."""
        runs_of: dict[str, list[str]] = {}
        for run, sentences in self.of_run.items():
            for sentence in sentences:
                runs_of.setdefault(sentence, []).append(run)
        of_runs = [f"{', '.join(runs)}: {sentence}" for sentence, runs in runs_of.items()]
        return [*self.of_all, *of_runs]


def prepare(
    runs: Sequence[RunFacts], with_heat_maps: set[str], places: Mapping[str, Any], listen: Listener, problems: Problems
) -> None:
    """Complete the finished `runs`; `with_heat_maps`: ids of those whose pictures are shown.

    `places`: keys of the session, such as data and device. What cannot be made is noted, and the others go on.
    """
    from benchmarks.clothing_bias import ensure_bias
    from benchmarks.distribution import joined
    from benchmarks.experiment import make_repeatable
    from benchmarks.heat_maps import ensure_heat_maps
    from benchmarks.reopening import reopen

    for facts in runs:
        with problems.noted("features, clothing bias and heat maps", facts):
            reopened = reopen(facts.run, places, listen)
            if not _has_features(facts):
                with problems.noted("features", facts), joined(reopened.session.device) as world:
                    make_repeatable(world)
                    reopened.ensure_features(world)
            with problems.noted("clothing bias", facts):
                ensure_bias(reopened)
            if facts.run_id in with_heat_maps:
                with problems.noted("heat maps", facts):
                    ensure_heat_maps(reopened)


def _has_features(facts: RunFacts) -> bool:
    """Known from the run's folder alone: who has moved the dataset's files away can still have figures."""
    from benchmarks.run_features import has_features

    protocols = facts.data.get("protocols", [])
    splits = {protocol[side] for protocol in protocols for side in ("query", "gallery")}
    return bool(splits) and has_features(facts.run, facts.headline, *sorted(splits))
