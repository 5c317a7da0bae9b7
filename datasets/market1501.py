"""Market-1501: 1,501 people, 6 outdoor cameras, no change of clothes: a check of the harness (Zheng et al., ICCV 2015).

    Market-1501-v15.09.15/bounding_box_train/PERSON_cCAMERAsSEQUENCE_FRAME_BOX.jpg     such as 0002_c1s1_000451_03.jpg
    Market-1501-v15.09.15/query, bounding_box_test                                     the same form

`bounding_box_test` is the gallery. Its person -1 are bad detections, which never count: they are left out here, as in
torchreid and fast-reid, whose lists agree as sets (`tests/golden/datasets`). Its person 0 are distractors, which stay.
"""

import numpy as np

from . import DATASETS
from .base import Counts, Ignore, Protocol, ReIDDataset, Samples
from .errors import UsageError
from .reading import image_names, name_pattern, parsed, require_folders

FOLDERS = {"train": "bounding_box_train", "query": "query", "gallery": "bounding_box_test"}
"""Split → folder."""
BAD_DETECTION = -1

_REST = r"_c(?P<camera>[1-6])s\d_\d+_\d+\.jpg"
_PERSON = name_pattern(r"(?P<person>(?!0000)\d{4})" + _REST)
_GALLERY = name_pattern(r"(?P<person>-1|\d{4})" + _REST)
_FORM = "like Market-1501's images, PERSON_cCAMERAsSEQUENCE_FRAME_BOX.jpg such as 0002_c1s1_000451_03.jpg"
_SOURCE = "Zheng et al. 2015; as evaluated by torchreid (commit f8cd150) and fast-reid (commit c9bc3ce)"


@DATASETS.register("market1501")
class Market1501(ReIDDataset):
    """Camera c1 is 0. Outfits are not labelled."""

    name = "market1501"
    title = "Market-1501"
    year = 2015
    citation = "Zheng, Shen, Tian, Wang, Wang, Tian: Scalable Person Re-identification: A Benchmark. ICCV 2015"
    terms = "Research only, no distribution, no commercial use (the readme in the archive)."
    folder = "Market-1501-v15.09.15"
    splits = ("train", "query", "gallery")
    statistics = {
        "train": Counts(persons=751, images=12936),
        "query": Counts(persons=750, images=3368),
        # 19,732 files less 3,819 bad detections; 750 people and the number 0 of the 2,798 distractors
        "gallery": Counts(persons=751, images=15913),
    }

    def split(self, name: str) -> Samples:
        """Sorted by path. Raises DataError where the folder is missing or holds a name that is not Market-1501's."""
        if name not in FOLDERS:
            raise UsageError(f"Market-1501 has no split {name}: choose one of {', '.join(FOLDERS)}.")
        folder, pattern = FOLDERS[name], _GALLERY if name == "gallery" else _PERSON
        require_folders(self.root, tuple(FOLDERS.values()), folder, "Market-1501")
        names = image_names(self.root / folder, pattern, _FORM)
        matches = [parsed(pattern, image) for image in names]
        person, camera = (np.array([int(match[key]) for match in matches]) for key in ("person", "camera"))
        samples = Samples(
            paths=tuple(f"{folder}/{image}" for image in names),
            person=person,
            camera=camera - 1,
            clothes=np.full(len(names), -1),
        )
        return samples.take(np.flatnonzero(person != BAD_DETECTION))

    def protocols(self) -> tuple[Protocol, ...]:
        return (Protocol("standard", "query", "gallery", Ignore.SAME_CAMERA, source=_SOURCE),)
