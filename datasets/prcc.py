"""PRCC: people who change clothes moderately, 221 people, 3 indoor cameras (Yang et al., TPAMI 2021).

    prcc/rgb/{train,val}/PERSON/CAMERA_cropped_rgbNUMBER.jpg          for example 001/A_cropped_rgb020.jpg
    prcc/rgb/test/CAMERA/PERSON/cropped_rgbNUMBER.jpg                 for example A/059/cropped_rgb010.jpg

Cameras A and B saw everyone in one outfit, C in another. `gallery` is the test images of A, `query_same` those of B,
`query_diff` those of C. `val` holds other images of the people of `train`: nothing can be validated on it, and no
protocol names it. The contour drawings in `sketch` are not read.

The lists agree with those of CAL, AIM, CSSC, MADE, DIFFER, GEFF and LaST's code (`tests/golden/datasets`), which leave
the order to the file system; here it is that of the paths.
"""

from pathlib import Path

import numpy as np

from . import DATASETS
from .base import Counts, Ignore, Protocol, ReIDDataset, Samples
from .errors import UsageError
from .reading import image_names, name_pattern, parsed, person_folders, require_folders

FOLDERS: dict[str, dict[str, str | None]] = {
    "train": {"rgb/train": None},
    "val": {"rgb/val": None},
    "gallery": {"rgb/test/A": "A"},
    "query_same": {"rgb/test/B": "B"},
    "query_diff": {"rgb/test/C": "C"},
    "gallery_ab": {"rgb/test/A": "A", "rgb/test/B": "B"},
}
"""Split → its folders, each with the camera of all its images; None: the camera stands in front of a file's name."""
CAMERAS = "ABC"
_OFFICIAL = tuple(folder for split, folders in FOLDERS.items() if split != "gallery_ab" for folder in folders)

_PERSON = name_pattern(r"\d{3}")
_PERSON_FORM = "three digits such as 059"
_TRAIN = name_pattern(r"(?P<camera>[ABC])_cropped_rgb\d+\.jpg")
_TRAIN_FORM = "like PRCC's training images, CAMERA_cropped_rgbNUMBER.jpg such as A_cropped_rgb020.jpg"
_TEST = name_pattern(r"cropped_rgb\d+\.jpg")
_TEST_FORM = "like PRCC's test images, cropped_rgbNUMBER.jpg such as cropped_rgb010.jpg"

_CAL = "CAL (guxinqian/Simple-CCReID, commit f773d01): all test images of A as gallery"
_PAPER = "Yang et al. 2021: one image per person from A as gallery, 10 draws averaged"
_AB = "CCReid2, a public re-implementation, puts the images of B into the gallery too"


@DATASETS.register("prcc")
class PRCC(ReIDDataset):
    """Cameras A, B, C are 0, 1, 2. Clothes are person × 10, plus 1 under C, which is unique over the dataset."""

    name = "prcc"
    title = "PRCC"
    year = 2021
    citation = (
        "Yang, Wu, Zheng: Person Re-identification by Contour Sketch under Moderate Clothing Change. "
        "TPAMI 2021. arXiv 2002.02295"
    )
    terms = (
        "Its terms are not at hand here; so: research only, no copies to others, and no picture in which a person can "
        "be recognised before they were read."
    )
    folder = "prcc"
    splits = ("train", "val", "gallery", "query_same", "query_diff")
    statistics = {
        "train": Counts(persons=150, images=17896, clothes=300),
        "val": Counts(persons=150, images=5002, clothes=300),
        "gallery": Counts(persons=71, images=3384, clothes=71),  # 71 more outfits in query_diff
        "query_same": Counts(persons=71, images=3873, clothes=71),
        "query_diff": Counts(persons=71, images=3543, clothes=71),
    }

    def split(self, name: str) -> Samples:
        """Sorted by path; `gallery_ab` is `gallery` followed by `query_same`.

        Raises DataError where a folder is missing or holds a name that is not PRCC's.
        """
        if name not in FOLDERS:
            raise UsageError(f"PRCC has no split {name}: choose one of {', '.join(FOLDERS)}.")
        rows: list[tuple[str, int, int]] = []
        for folder, letter in FOLDERS[name].items():
            require_folders(self.root, _OFFICIAL, folder, "PRCC")
            pattern, form = (_TEST, _TEST_FORM) if letter else (_TRAIN, _TRAIN_FORM)
            for person in person_folders(self.root / folder, _PERSON, _PERSON_FORM):
                for image in image_names(self.root / folder / person, pattern, form):
                    camera = CAMERAS.index(letter or parsed(pattern, image)["camera"].upper())
                    rows.append((f"{folder}/{person}/{image}", int(person), camera))
        paths, persons, cameras = zip(*rows, strict=True)
        person, camera = np.array(persons), np.array(cameras)
        return Samples(paths=paths, person=person, camera=camera, clothes=person * 10 + (camera == CAMERAS.index("C")))

    def protocols(self) -> tuple[Protocol, ...]:
        """Between the test folders every rule here hides nothing: cameras and outfits are already set apart.

        The rules are stated all the same, since validation on training identities follows the headline's, and there an
        image's own camera and outfit must not count as matches.
        """
        changing, same = Ignore.SAME_CAMERA | Ignore.SAME_CLOTHES, Ignore.SAME_CAMERA | Ignore.OTHER_CLOTHES
        return (
            Protocol("cloth-changing", "query_diff", "gallery", changing, source=_CAL),
            Protocol("same-clothes", "query_same", "gallery", same, source=_CAL),
            Protocol("cloth-changing-single-shot", "query_diff", "gallery", changing, draws=10, source=_PAPER),
            Protocol("same-clothes-single-shot", "query_same", "gallery", same, draws=10, source=_PAPER),
            Protocol(
                "cloth-changing-gallery-ab", "query_diff", "gallery_ab", Ignore.NOTHING, reported=False, source=_AB
            ),
        )

    def caption_key(self, path: str) -> str:
        """`PERSON/STEM`, for example 001/A_cropped_rgb020. DIFFER has captions of `train` and `val` only."""
        return f"{Path(path).parent.name}/{Path(path).stem}"
