"""Which epoch's weights are reported, and how the choice is made without the test set.

last: the last epoch. validation: the best epoch on training identities that were held out of training. oracle: the best
epoch on the test set; what most released codes report, allowed, and marked † wherever it is printed.
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from datasets.base import IntArray, Protocol, Samples

from .protocols import ignored
from .spec import SelectConfig

INITIAL, LAST, VALIDATION, ORACLE = "initial", "last", "validation", "oracle"
FEWEST_HELD_OUT = 5
"""With fewer identities the best epoch on them is little but luck."""


def marked(selection: str) -> str:
    """The selection as it is printed: a choice made on the test set carries a dagger."""
    return f"{selection} †" if selection == ORACLE else selection


@dataclass(frozen=True)
class Holdout:
    """Training identities set aside to choose the epoch with. Rows of the training split."""

    persons: IntArray
    training: IntArray
    """Images of everyone else."""
    query: IntArray
    """One image of each (person, outfit, camera)."""
    gallery: IntArray
    """All the other images of the held-out persons."""


def hold_out(samples: Samples, protocol: Protocol, config: SelectConfig) -> Holdout | None:
    """Set aside `config.holdout` of the identities, chosen among those who can be asked for under `protocol`.

    None where fewer than FEWEST_HELD_OUT identities can be spared.
    """
    persons = np.unique(samples.person)
    count = round(len(persons) * config.holdout)
    eligible = np.array([person for person in persons if _can_be_asked_for(samples, protocol, person)], dtype=np.int64)
    if count < FEWEST_HELD_OUT or len(eligible) < count or count == len(persons):
        return None
    chosen = np.sort(np.random.default_rng(config.seed).choice(eligible, count, replace=False))
    held = np.isin(samples.person, chosen)
    seen: set[tuple[int, int, int]] = set()
    query = []
    for row in np.flatnonzero(held).tolist():
        place = (int(samples.person[row]), int(samples.clothes[row]), int(samples.camera[row]))
        if place not in seen:
            seen.add(place)
            query.append(row)
    gallery = np.setdiff1d(np.flatnonzero(held), query)
    return Holdout(chosen, np.flatnonzero(~held), np.array(query, dtype=np.int64), gallery)


def _can_be_asked_for(samples: Samples, protocol: Protocol, person: int) -> bool:
    """Whether some image of `person` counts as a match for another one."""
    own = samples.take(np.flatnonzero(samples.person == person))
    return bool((~ignored(protocol, own, own)).any())


@dataclass
class Selector:
    """Follows the score of one rule over the epochs; earlier epochs win ties, as in the official codes."""

    rule: str
    """validation or oracle."""
    epoch: int = 0
    score: float = -1.0

    def offer(self, epoch: int, score: float) -> bool:
        """True when `epoch` is the best so far."""
        if score > self.score:
            self.epoch, self.score = epoch, score
            return True
        return False

    def state(self) -> dict[str, Any]:
        return asdict(self)
