"""Which epoch's weights are reported, and how the choice is made without the test set.

last: the last epoch. validation: the best epoch on training identities that were held out of training. oracle: the best
epoch on the test set; what most released codes report, allowed, and marked † wherever it is printed.
"""

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from datasets.base import IntArray, Protocol, Samples

from .protocols import ignored

if TYPE_CHECKING:
    from .spec import SelectConfig

INITIAL, LAST, VALIDATION, ORACLE = "initial", "last", "validation", "oracle"
HELD_QUERY, HELD_GALLERY = "held-out-query", "held-out-gallery"
"""Names of the two splits that held-out training identities are divided into."""
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
    """One image of each (person, outfit, camera); where tracklets are compared, one of each (person, outfit)."""
    gallery: IntArray
    """All the other images of the held-out persons."""


def hold_out(samples: Samples, protocol: Protocol, config: "SelectConfig") -> Holdout | None:
    """Set aside `config.holdout` of the identities, chosen among those who can be asked for under `protocol`.

    None where fewer than FEWEST_HELD_OUT identities can be spared.
    """
    persons = np.unique(samples.person)
    count = round(len(persons) * config.holdout)
    eligible = np.array([person for person in persons if _can_be_asked_for(samples, protocol, person)], dtype=np.int64)
    if count < FEWEST_HELD_OUT or len(eligible) < count or count == len(persons):
        return None
    chosen = np.sort(np.random.default_rng(config.seed).choice(eligible, count, replace=False))
    held = np.flatnonzero(np.isin(samples.person, chosen))
    asks = held[_asking(samples.take(held), protocol)]
    return Holdout(chosen, np.setdiff1d(np.arange(len(samples)), held), asks, np.setdiff1d(held, asks))


def _asking(samples: Samples, protocol: Protocol) -> IntArray:
    """Rows of `samples` that become queries: the first image, or all of the first tracklet, of each kind."""
    if protocol.pool is None or samples.tracklet is None:
        kinds = np.stack([samples.person, samples.clothes, samples.camera])
        return np.sort(np.unique(kinds, axis=1, return_index=True)[1])
    # A tracklet has its camera to itself (CCVID numbers walks), so that the outfit alone decides.
    first = np.unique(np.stack([samples.person, samples.clothes]), axis=1, return_index=True)[1]
    return np.flatnonzero(np.isin(samples.tracklet, samples.tracklet[first]))


def _can_be_asked_for(samples: Samples, protocol: Protocol, person: int) -> bool:
    """Whether some image of `person` counts as a match for another one."""
    own = samples.take(np.flatnonzero(samples.person == person))
    if protocol.pool is not None and own.tracklet is not None:
        own = own.take(np.sort(np.unique(own.tracklet, return_index=True)[1]))
    visible = ~ignored(protocol, own, own)
    np.fill_diagonal(visible, False)
    return bool(visible.any())


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
