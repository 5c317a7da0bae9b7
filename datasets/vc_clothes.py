"""VC-Clothes: people rendered by a game engine (GTA V), 512 people, 4 cameras (Wan et al., CVPR Workshops 2020).

    VC-Clothes/{train,query,gallery}/PERSON-CAMERA-OUTFIT-NUMBER.jpg              for example 0300-03-02-01.jpg

The outfit counts within a person. People wear the same under cameras 2 and 3, and other clothes under 4 than under 3:
the protocols make the clothes condition by choosing cameras, not by comparing outfits. The lists agree, row for row,
with those of CAL (all three of its modes), GEFF and IIFR, and as a set with SiCL's (`tests/golden/datasets`).
"""

from dataclasses import replace

import numpy as np

from . import DATASETS
from .base import Counts, Ignore, Protocol, ReIDDataset, Samples
from .errors import UsageError
from .reading import image_names, name_pattern, parsed, require_folders

CAMERAS = {"": (1, 2, 3, 4), "-cameras-34": (3, 4), "-cameras-23": (2, 3)}
"""Ending of a test split's name → the cameras in it, as numbered in the file names, from 1."""

_NAME = name_pattern(r"(?P<person>\d{4})-(?P<camera>0[1-4])-(?P<outfit>\d{2})-\d+\.jpg")
_FORM = "like VC-Clothes' images, PERSON-CAMERA-OUTFIT-NUMBER.jpg such as 0300-03-02-01.jpg"
_CAL = "Wan et al. 2020; as evaluated by CAL (guxinqian/Simple-CCReID, commit f773d01)"
_FILTERED = "CAL (guxinqian/Simple-CCReID, commit f773d01) prints it too, for all cameras"


@DATASETS.register("vc_clothes")
class VCClothes(ReIDDataset):
    """Camera 1 is 0. Clothes are person × 100 + outfit, which is unique over the dataset."""

    name = "vc_clothes"
    title = "VC-Clothes"
    year = 2020
    citation = (
        "Wan, Wu, Qian, Chen, Fu: When Person Re-identification Meets Changing Clothes. "
        "CVPR Workshops 2020. arXiv 2003.04070"
    )
    terms = "Rendered images, no real people. Its terms are not at hand here; so: research only, no copies to others."
    folder = "VC-Clothes"
    splits = ("train", "query", "gallery")
    statistics_verified = False
    statistics = {  # written without the paper at hand; they add up to its 512 people and 19,060 images
        "train": Counts(persons=256, images=9449),
        "query": Counts(persons=256, images=1020),
        "gallery": Counts(persons=256, images=8591),
    }

    def split(self, name: str) -> Samples:
        """Sorted by path; the endings of `CAMERAS`, behind `query` and `gallery`, keep only images of those cameras.

        Raises DataError where the folder is missing or holds a name that is not VC-Clothes'.
        """
        of, dash, ending = name.partition("-")
        known = ["train", *(test + ending for ending in CAMERAS for test in ("query", "gallery"))]
        if name not in known:
            raise UsageError(f"VC-Clothes has no split {name}: choose one of {', '.join(known)}.")
        require_folders(self.root, self.splits, of, "VC-Clothes")
        names = image_names(self.root / of, _NAME, _FORM)
        matches = [parsed(_NAME, image) for image in names]
        person, outfit, camera = (np.array([int(m[key]) for m in matches]) for key in ("person", "outfit", "camera"))
        samples = Samples(
            paths=tuple(f"{of}/{image}" for image in names),
            person=person,
            camera=camera - 1,
            clothes=person * 100 + outfit,
        )
        return samples.take(np.flatnonzero(np.isin(camera, CAMERAS[dash + ending])))

    def protocols(self) -> tuple[Protocol, ...]:
        """CAL computes the first and third on their cameras with the rule of `standard`, and so does this."""
        camera = Ignore.SAME_CAMERA
        changing, same = camera | Ignore.SAME_CLOTHES, camera | Ignore.OTHER_CLOTHES
        return (
            Protocol("cloth-changing", "query-cameras-34", "gallery-cameras-34", camera, source=_CAL),
            Protocol("standard", "query", "gallery", camera, source=_CAL),
            Protocol("same-clothes", "query-cameras-23", "gallery-cameras-23", camera, source=_CAL),
            Protocol("cloth-changing-filtered", "query", "gallery", changing, reported=False, source=_FILTERED),
            Protocol("same-clothes-filtered", "query", "gallery", same, reported=False, source=_FILTERED),
        )

    def validation(self) -> Protocol:
        """Held-out training identities under all cameras: there the clothes condition has to come from the labels."""
        return replace(super().validation(), ignore=Ignore.SAME_CAMERA | Ignore.SAME_CLOTHES)
