"""LaST: 10,862 people in frames of films (Shu et al., TCSVT 2021).

    last/train/PERSON/PERSON_IMAGE_VIDEO_FRAME_BOX_CLOTHES.jpg    for example 000051_003_00013_0270_04_001.jpg
    last/{val,test}/query/….jpg
    last/{val,test}/gallery/PERSON/….jpg

The person is read from the file's name and never from the folder's: test/gallery/005895 holds images of 005859. Some
names have two underscores after the person. The lists agree with those of the official code, CAL, FIRe, MADE and GEFF
(`tests/golden/datasets`).
"""

from dataclasses import replace
from typing import Literal

import numpy as np

from . import DATASETS
from .base import Counts, DatasetConfig, Ignore, Protocol, ReIDDataset, Samples
from .errors import UsageError
from .reading import image_names, name_pattern, parsed, person_folders, require_folders

FOLDERS = {
    "train": "train",
    "val_query": "val/query",
    "val_gallery": "val/gallery",
    "query": "test/query",
    "gallery": "test/gallery",
}
"""Split → folder; all but the queries have a folder for each person in it."""

_NAME = name_pattern(r"(?P<person>\d{6})_+\d+_\d+_\d+_\d+_(?P<clothes>\d{3})\.jpg")
_FORM = "like LaST's images, PERSON_IMAGE_VIDEO_FRAME_BOX_CLOTHES.jpg such as 000051_003_00013_0270_04_001.jpg"
_PERSON = name_pattern(r"\d{6}")
_PERSON_FORM = "six digits such as 000051"
_LARGEST_PERSON = 10**6
"""Above every person of six digits."""
_SOURCE = "Shu et al. 2021; as evaluated by their code (shuxjweb/last, commit 041dd55) and CAL (commit f773d01)"


class LaSTConfig(DatasetConfig):
    """Who counts as one person in training."""

    identity: Literal["person", "outfit"] = "person"
    """outfit: train with each outfit as a class of its own, the official `last_cloth` variant; tests stay the same."""


@DATASETS.register("last")
class LaST(ReIDDataset):
    """No cameras. Training clothes are person × 1000 + outfit, or -1 where the outfit is 000; tests have no labels.

    Person 0 of the galleries is everybody who walks through the films besides: nobody asks for them, and they stay in.
    """

    name = "last"
    title = "LaST"
    year = 2021
    homepage = "https://github.com/shuxjweb/last"
    citation = (
        "Shu, Wang, Zang, Zhang, Chen, Li, Tian: "
        "Large-Scale Spatio-Temporal Person Re-identification: Algorithms and Benchmark. TCSVT 2021. arXiv 2105.15076"
    )
    terms = "Academic research use only. Frames of films: the rights in the pictures are the studios'."
    folder = "last"
    splits = tuple(FOLDERS)
    statistics = {  # people of the galleries: 56 and 5,806, but it is not said whether person 0 is counted
        "train": Counts(persons=5000, images=71248),
        "val_query": Counts(persons=56, images=100),
        "val_gallery": Counts(images=21279),
        "query": Counts(persons=5805, images=10176),
        "gallery": Counts(images=125353),
    }
    Config = LaSTConfig
    config: LaSTConfig

    def split(self, name: str) -> Samples:
        """Sorted by path. Raises DataError where a folder is missing or empty or holds a name that is not LaST's.

        With `identity=outfit` the training persons are 10⁶ + person × 1000 + outfit, above every test person's number;
        images whose outfit is 000 are one more class of their person.
        """
        if name not in FOLDERS:
            raise UsageError(f"LaST has no split {name}: choose one of {', '.join(FOLDERS)}.")
        folder = FOLDERS[name]
        require_folders(self.root, tuple(FOLDERS.values()), folder, "LaST")
        below = [folder]
        if name not in ("val_query", "query"):
            below = [f"{folder}/{person}" for person in person_folders(self.root / folder, _PERSON, _PERSON_FORM)]
        files = [(path, image) for path in below for image in image_names(self.root / path, _NAME, _FORM)]
        matches = [parsed(_NAME, image) for _, image in files]
        person, label = (np.array([int(m[key]) for m in matches]) for key in ("person", "clothes"))
        outfit = person * 1000 + label
        unlabelled = np.full(len(files), -1)
        return Samples(
            paths=tuple(f"{path}/{image}" for path, image in files),
            person=_LARGEST_PERSON + outfit if name == "train" and self.config.identity == "outfit" else person,
            camera=unlabelled,
            clothes=np.where(label > 0, outfit, -1) if name == "train" else unlabelled,
        )

    def protocols(self) -> tuple[Protocol, ...]:
        """Nothing is ignored: the official code gives every image a camera of its own."""
        return (Protocol("standard", "query", "gallery", Ignore.NOTHING, source=_SOURCE),)

    def validation(self) -> Protocol:
        """The headline protocol between LaST's own validation splits."""
        return replace(self.protocols()[0], name="validation", query="val_query", gallery="val_gallery")

    def expected(self) -> dict[str, Counts]:
        """Of outfits taken for people nobody publishes the number."""
        counts = super().expected()
        if self.config.identity == "outfit" and "train" in counts:
            return {**counts, "train": replace(counts["train"], persons=None)}
        return counts
