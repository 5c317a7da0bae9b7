"""What a protocol means on labels, and choosing among the protocols of a dataset."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol as Structure

import numpy as np
import numpy.typing as npt

from datasets.base import Ignore, IntArray, Protocol
from datasets.errors import DataError, UsageError, did_you_mean

BoolArray = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.floating]

RULES = (
    (Ignore.SAME_CAMERA, "camera", np.equal),
    (Ignore.SAME_CLOTHES, "clothes", np.equal),
    (Ignore.OTHER_CLOTHES, "clothes", np.not_equal),
    (Ignore.SAME_TRACKLET, "tracklet", np.equal),
)
"""Each flag: the label that it compares, and how."""


class Labels(Structure):
    """Label columns [N], -1 where unlabelled. `Samples` has them, and so have `Features`."""

    @property
    def person(self) -> IntArray: ...
    @property
    def camera(self) -> IntArray: ...
    @property
    def clothes(self) -> IntArray: ...
    @property
    def tracklet(self) -> IntArray | None: ...


@dataclass(frozen=True)
class LabelRows:
    """Some rows of the columns of `Labels`."""

    person: IntArray
    camera: IntArray
    clothes: IntArray
    tracklet: IntArray | None

    @classmethod
    def of(cls, labels: Labels, rows: IntArray) -> "LabelRows":
        tracklet = None if labels.tracklet is None else labels.tracklet[rows]
        return cls(labels.person[rows], labels.camera[rows], labels.clothes[rows], tracklet)


def ignored(
    protocol: Protocol,
    query: Labels,
    gallery: Labels,
    query_rows: IntArray | None = None,
    gallery_rows: IntArray | None = None,
) -> BoolArray:
    """[Q, G] whether a query must not see a gallery entry; only ever True for entries of the query's own person.

    With `query_rows` and `gallery_rows` (shapes that broadcast together): for these pairs instead of for all.
    Raises DataError where two images of one person cannot be compared because a label is missing.
    """
    query_rows = np.arange(len(query.person))[:, None] if query_rows is None else query_rows
    gallery_rows = np.arange(len(gallery.person))[None] if gallery_rows is None else gallery_rows
    same_person = query.person[query_rows] == gallery.person[gallery_rows]
    hidden = np.zeros(same_person.shape, dtype=bool)
    for flag, label, compare in RULES:
        if flag in protocol.ignore:
            asked, given = getattr(query, label), getattr(gallery, label)
            if asked is None or given is None:
                raise DataError(_unlabelled(protocol, label))
            asked, given = asked[query_rows], given[gallery_rows]
            if (same_person & ((asked < 0) | (given < 0))).any():
                raise DataError(_unlabelled(protocol, label))
            hidden |= compare(asked, given)
    return hidden & same_person


def choose(protocols: Sequence[Protocol], names: str | Sequence[str] = "all") -> list[Protocol]:
    """The protocols of a dataset that `names` asks for, in the dataset's order.

    "headline": the first one; "reported": those that the field reports today; "all": older conventions too.
    Raises UsageError for an unknown name.
    """
    wanted = [names] if isinstance(names, str) else list(names)
    groups = {"headline": [protocols[0]], "reported": [p for p in protocols if p.reported], "all": list(protocols)}
    known = [*(protocol.name for protocol in protocols), *groups]
    for name in wanted:
        if name not in known:
            raise UsageError(f"Unknown protocol {name}.{did_you_mean(name, known)} Available: {', '.join(known)}.")
    if not wanted:
        raise UsageError(f"No protocol is chosen. Available: {', '.join(known)}.")
    return [
        protocol
        for protocol in protocols
        if protocol.name in wanted or any(protocol in groups[name] for name in wanted if name in groups)
    ]


def draw_single_shot(person: IntArray, draws: int) -> IntArray:
    """[draws, identities] rows of `person` [G]: galleries of one image per identity, each in ascending order.

    Draw d, counted from 0, takes of the n images of identity p the one at place h mod n, in the order of the rows; h is
    the big-endian number in the first 8 bytes of the SHA-256 of "single-shot draw d person p". So an identity's images
    depend on nothing else: not on the other identities, and not on any library's random numbers.
    """
    images = {int(identity): np.flatnonzero(person == identity) for identity in np.unique(person)}
    galleries = [
        sorted(
            rows[_hashed(f"single-shot draw {number} person {identity}") % len(rows)]
            for identity, rows in images.items()
        )
        for number in range(draws)
    ]
    return np.array(galleries, dtype=np.int64)


def _hashed(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


def _unlabelled(protocol: Protocol, label: str) -> str:
    return (
        f"The protocol {protocol.name} compares the {label} of two images of one person, but some images have no "
        f"{label} label: label them, or choose a protocol that does not need it."
    )
