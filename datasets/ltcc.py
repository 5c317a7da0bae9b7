"""LTCC: long-term clothes-changing person re-identification, 152 people, 12 indoor cameras (Qian et al., ACCV 2020).

    LTCC_ReID/{train,query,test}/PID_OUTFIT_cCAMERA_FRAME.png         for example 148_1_c3_014811.png

`test` is the gallery. The outfit counts within a person. Labels are parsed from the file name alone, so that the name
of a folder above cannot change them. The lists agree, row for row, with those of CAL, AIM, CSSC, MADE, DIFFER and GEFF
(`tests/golden/datasets`).
"""

import re
from pathlib import Path

import numpy as np

from . import DATASETS
from .base import Counts, Ignore, Protocol, ReIDDataset, Samples
from .errors import DataError, UsageError

FOLDERS = {"train": "train", "query": "query", "gallery": "test"}
"""Split → folder."""

_NAME = re.compile(r"(?P<person>\d{3})_(?P<outfit>\d{1,2})_c(?P<camera>\d{1,2})_\d{6}\.png", re.IGNORECASE | re.ASCII)
_LEFT_BY_FILE_MANAGERS = {"thumbs.db", "desktop.ini"}
_SOURCE = "Qian et al. 2020; as evaluated by CAL (guxinqian/Simple-CCReID, commit f773d01)"


@DATASETS.register("ltcc")
class LTCC(ReIDDataset):
    """Camera c1 is 0. Clothes are person × 100 + outfit, which is unique over the dataset."""

    name = "ltcc"
    title = "LTCC"
    year = 2020
    homepage = "https://naiq.github.io/LTCC_Perosn_ReID.html"
    citation = (
        "Qian, Wang, Zhang, Zhu, Fu, Xiang, Jiang, Xue: "
        "Long-Term Cloth-Changing Person Re-identification. ACCV 2020. arXiv 2005.12633"
    )
    terms = (
        "Handed out by e-mail against a signed agreement, whose text is not at hand here; so: research only, no copies "
        "to others, and no picture in which a person can be recognised before the agreement was read."
    )
    folder = "LTCC_ReID"
    splits = ("train", "query", "gallery")
    statistics = {
        "train": Counts(persons=77, images=9576, clothes=256),
        "query": Counts(persons=75, images=493),
        "gallery": Counts(persons=75, images=7050),
    }

    def split(self, name: str) -> Samples:
        """Sorted by path. Raises DataError where the folder is missing or holds a name that is not LTCC's."""
        if name not in FOLDERS:
            raise UsageError(f"LTCC has no split {name}: choose one of {', '.join(FOLDERS)}.")
        names = _image_names(self.root, FOLDERS[name])
        labels = np.array([_labels(image) for image in names], dtype=np.int64)
        return Samples(
            paths=tuple(f"{FOLDERS[name]}/{image}" for image in names),
            person=labels[:, 0],
            camera=labels[:, 1],
            clothes=labels[:, 2],
        )

    def protocols(self) -> tuple[Protocol, ...]:
        """People who never change clothes stay in every gallery, as distractors of the cloth-changing protocol.

        SiCL drops them from query and gallery: its numbers follow an easier protocol than these.
        """
        same_camera = Ignore.SAME_CAMERA
        return (
            Protocol("cloth-changing", "query", "gallery", same_camera | Ignore.SAME_CLOTHES, source=_SOURCE),
            Protocol("standard", "query", "gallery", same_camera, source=_SOURCE),
            Protocol("same-clothes", "query", "gallery", same_camera | Ignore.OTHER_CLOTHES, source=_SOURCE),
        )


def _labels(image: str) -> tuple[int, int, int]:
    """(person, camera, clothes) of a file name that `_NAME` accepts."""
    match = _NAME.fullmatch(image)
    assert match is not None  # noqa: S101 - `_image_names` has refused the others
    person = int(match["person"])
    return person, int(match["camera"]) - 1, person * 100 + int(match["outfit"])


def _image_names(root: Path, folder: str) -> list[str]:
    """File names in `root`/`folder`, sorted; DataError unless each is an LTCC name."""
    if not root.is_dir():
        raise DataError(f"{root} does not exist: expected the folder LTCC_ReID with train, query and test in it.")
    present = [name for name in FOLDERS.values() if (root / name).is_dir()]
    if folder not in present:
        there = f"only {' and '.join(present)} there" if present else "none of them there"
        raise DataError(f"{root / folder} does not exist: LTCC has folders train, query and test, {there}.")
    entries = sorted(entry.name for entry in (root / folder).iterdir())
    names = [name for name in entries if not name.startswith(".") and name.lower() not in _LEFT_BY_FILE_MANAGERS]
    if wrong := [name for name in names if not _NAME.fullmatch(name)]:
        raise DataError(
            f"{root / folder / wrong[0]} is not named like LTCC's images, PID_OUTFIT_cCAMERA_FRAME.png such as "
            f"148_1_c3_014811.png ({len(wrong)} of {len(names)} are not): move such files elsewhere."
        )
    if not names:
        raise DataError(f"{root / folder} holds no images: unpack LTCC's archive again.")
    return names
