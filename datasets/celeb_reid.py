"""Celeb-reID and Celeb-reID-light: photographs of celebrities, mostly in other clothes (Huang et al., 2019).

    {Celeb-reID,Celeb-reID-light}/{train,query,gallery}/PERSON_IMAGE_0.jpg        for example 10_12_0.jpg

IMAGE counts the photographs of a person; the last number means nothing. Neither cameras nor outfits are labelled. The
people of the test splits are others than those of train, but are numbered separately, so that numbers return.

The files agree with the lists of the authors' code, CSSC, LaST's code, SiCL, DIFFER and MADE (in
`tests/golden/datasets`). What these make of the missing camera differs, and decides which photographs a query may not
find; so the conventions are protocols of their own, over the same files with another camera column (`CAMERAS`). MADE's
has no protocol: it takes the last number for the camera, which hides every match.
"""

from collections.abc import Sequence
from re import Match

import numpy as np

from . import DATASETS
from .base import Counts, Ignore, IntArray, Protocol, ReIDDataset, Samples
from .errors import UsageError
from .reading import image_names, name_pattern, parsed, require_folders

_NAME = name_pattern(r"(?P<person>\d+)_(?P<image>\d+)_\d+\.jpg")
_FORM = "like Celeb-reID's images, PERSON_IMAGE_0.jpg such as 10_12_0.jpg"


def _none(names: Sequence[Match[str]]) -> IntArray:
    return np.full(len(names), -1)


def _running_index(names: Sequence[Match[str]]) -> IntArray:
    return np.arange(len(names))


def _first_digit(names: Sequence[Match[str]]) -> IntArray:
    return np.array([int(name["image"][0]) - 1 for name in names])


CAMERAS = {"": _none, "-running-index": _running_index, "-first-digit": _first_digit}
"""Ending of a test split's name → [N] camera.

running-index: an image's place in its split; the codes that count so leave the order to the file system, here it is
that of the names. first-digit: that of IMAGE, less 1.
"""

_STANDARD = (
    "SiCL (commit 2100b20), and DIFFER (xliangp/DIFFER, commit 67acb5d) on Celeb-reID-light; the authors say that no "
    "camera is labelled (Huang-3/Celeb-reID, issue 1)"
)
_RUNNING = "CSSC (commit bd018b8), FIRe (commit 00ffdec) and LaST's code (shuxjweb/last, commit 041dd55), on Celeb-reID"
_OFFICIAL = "ReIDCaps, the authors' own evaluator (Huang-3/Celeb-reID, commit aafe1af)"


@DATASETS.register("celeb_reid")
class CelebReID(ReIDDataset):
    """Celeb-reID: photographs of celebrities, mostly in other clothes (Huang et al., 2019).

    Camera and clothes are -1, except for the camera in the splits of the older conventions.
    """

    name = "celeb_reid"
    title = "Celeb-reID"
    year = 2019
    homepage = "https://github.com/Huang-3/Celeb-reID"
    citation = (
        "Huang, Xu, Wu, Zhong, Zhang, Zhang: Beyond Scalar Neuron: Adopting Vector-Neuron Capsules for Long-Term "
        "Person Re-Identification. TCSVT 2019"
    )
    terms = (
        "Research only, no distribution, no commercial use (the authors' readme). The photographs show celebrities and "
        "were collected from the web: their rights are with others, so publish none."
    )
    folder = "Celeb-reID"
    splits = ("train", "query", "gallery")
    one_numbering = False
    statistics = {
        "train": Counts(persons=632, images=20208),
        "query": Counts(persons=420, images=2972),
        "gallery": Counts(persons=420, images=11006),
    }

    def split(self, name: str) -> Samples:
        """Sorted by path; the endings of `CAMERAS`, behind `query` and `gallery`, change the camera column only.

        Raises DataError where the folder is missing or holds a name that is not Celeb-reID's.
        """
        of, dash, ending = name.partition("-")
        known = ["train", *(test + ending for ending in CAMERAS for test in ("query", "gallery"))]
        if name not in known:
            raise UsageError(f"{self.title} has no split {name}: choose one of {', '.join(known)}.")
        require_folders(self.root, self.splits, of, self.title)
        names = image_names(self.root / of, _NAME, _FORM)
        matches = [parsed(_NAME, image) for image in names]
        return Samples(
            paths=tuple(f"{of}/{image}" for image in names),
            person=np.array([int(match["person"]) for match in matches]),
            camera=CAMERAS[dash + ending](matches),
            clothes=_none(matches),
        )

    def protocols(self) -> tuple[Protocol, ...]:
        """`official-2019` hides about a quarter of the matches and measures another area: never mix its numbers."""
        return (
            Protocol("standard", "query", "gallery", Ignore.NOTHING, source=_STANDARD),
            Protocol(
                "running-index",
                "query-running-index",
                "gallery-running-index",
                Ignore.SAME_CAMERA,
                reported=False,
                source=_RUNNING,
            ),
            Protocol(
                "official-2019",
                "query-first-digit",
                "gallery-first-digit",
                Ignore.SAME_CAMERA,
                area="trapezoids",
                reported=False,
                source=_OFFICIAL,
            ),
        )


@DATASETS.register("celeb_reid_light")
class CelebReIDLight(CelebReID):
    """Celeb-reID-light: a part of Celeb-reID in which every image of a person shows other clothes."""

    name = "celeb_reid_light"
    title = "Celeb-reID-light"
    citation = (
        "Huang, Wu, Xu, Zhong: Celebrities-ReID: A Benchmark for Clothes Variation in Long-Term Person "
        "Re-Identification. IJCNN 2019"
    )
    folder = "Celeb-reID-light"
    statistics = {
        "train": Counts(persons=490, images=9021),
        "query": Counts(persons=100, images=887),
        "gallery": Counts(persons=100, images=934),
    }
