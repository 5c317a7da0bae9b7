"""LTCC: long-term clothes-changing person re-identification, 152 people, 12 indoor cameras (Qian et al., ACCV 2020).

    LTCC_ReID/{train,query,test}/PID_OUTFIT_cCAMERA_FRAME.png         for example 148_1_c3_014811.png
    LTCC_ReID/info/cloth-change_id_test.txt                           numbers of the test people who change clothes

`test` is the gallery. The outfit counts within a person. Labels are parsed from the file name alone, so that the name
of a folder above cannot change them. The lists agree, row for row, with those of CAL, AIM, CSSC, MADE, DIFFER and GEFF,
and the lists of `-changers` with SiCL's (`tests/golden/datasets`).
"""

import numpy as np

from . import DATASETS
from .base import Counts, Ignore, Protocol, ReIDDataset, Samples
from .errors import DataError, UsageError
from .reading import image_names, name_pattern, parsed, require_folders

FOLDERS = {"train": "train", "query": "query", "gallery": "test"}
"""Split → folder."""
CHANGERS = "info/cloth-change_id_test.txt"

_NAME = name_pattern(r"(?P<person>\d{3})_(?P<outfit>\d{1,2})_c(?P<camera>\d{1,2})_\d{6}\.png")
_FORM = "like LTCC's images, PID_OUTFIT_cCAMERA_FRAME.png such as 148_1_c3_014811.png"
_SOURCE = "Qian et al. 2020; as evaluated by CAL (guxinqian/Simple-CCReID, commit f773d01)"
_SICL = "SiCL (commit 2100b20): people who never change clothes are taken out of query and gallery"


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
        """Sorted by path; `query-changers` and `gallery-changers` hold only people who change clothes.

        Raises DataError where the folder is missing or holds a name that is not LTCC's.
        """
        of, only, _ = name.partition("-changers")
        if of not in FOLDERS or name not in (of, "query-changers", "gallery-changers"):
            known = [*FOLDERS, "query-changers", "gallery-changers"]
            raise UsageError(f"LTCC has no split {name}: choose one of {', '.join(known)}.")
        folder = FOLDERS[of]
        require_folders(self.root, ("train", "query", "test"), folder, "LTCC")
        names = image_names(self.root / folder, _NAME, _FORM)
        matches = [parsed(_NAME, name) for name in names]
        person, outfit, camera = (np.array([int(m[key]) for m in matches]) for key in ("person", "outfit", "camera"))
        samples = Samples(
            paths=tuple(f"{folder}/{image}" for image in names),
            person=person,
            camera=camera - 1,
            clothes=person * 100 + outfit,
        )
        return samples.take(np.flatnonzero(np.isin(person, self._changers()))) if only else samples

    def protocols(self) -> tuple[Protocol, ...]:
        """People who never change clothes stay in every gallery, as distractors of the cloth-changing protocol."""
        changing, camera = Ignore.SAME_CAMERA | Ignore.SAME_CLOTHES, Ignore.SAME_CAMERA
        few = ("query-changers", "gallery-changers")
        return (
            Protocol("cloth-changing", "query", "gallery", changing, source=_SOURCE),
            Protocol("standard", "query", "gallery", camera, source=_SOURCE),
            Protocol("same-clothes", "query", "gallery", camera | Ignore.OTHER_CLOTHES, source=_SOURCE),
            Protocol("cloth-changing-changers", *few, changing, reported=False, source=_SICL),
            Protocol("standard-changers", *few, camera, reported=False, source=_SICL),
        )

    def _changers(self) -> list[int]:
        file = self.root / CHANGERS
        try:
            return [int(word) for word in file.read_text(encoding="utf-8").split()]
        except (OSError, ValueError):
            raise DataError(
                f"{file} is missing or is not a list of numbers: the protocols of changers need it; "
                f"copy it from the dataset's archive or choose evaluate.protocols=reported."
            ) from None
