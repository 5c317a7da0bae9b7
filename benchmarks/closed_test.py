"""A dataset without its test split: for whoever chooses a configuration, so that none is chosen by looking there.

The object that tuning works with has no other way to labels than `split`, and `split` knows nothing but the training
images and the dataset's own validation splits.
"""

from functools import cache
from pathlib import Path

from datasets.base import DatasetConfig, ReIDDataset, Samples


class TestSplitClosedError(RuntimeError):
    """Code that tunes asked for labels of the test split: a mistake in this program, never the user's."""

    __test__ = False  # no test of pytest's


@cache
def without_test(kind: type[ReIDDataset]) -> type[ReIDDataset]:
    """The adapter `kind`, whose `split` refuses everything but training and validation images."""

    class Closed(kind):
        def __init__(self, root: Path, config: DatasetConfig | None = None, mask_folder: Path | None = None):
            super().__init__(root, config, mask_folder)
            validation = self.validation()
            known = {"train", validation.query, validation.gallery}
            self.splits = tuple(name for name in kind.splits if name in known)  # pyright: ignore[reportAttributeAccessIssue]

        def split(self, name: str) -> Samples:
            """Raises TestSplitClosedError for images that only the test may see."""
            if name not in self.splits:
                raise TestSplitClosedError(f"{self.name}: the split {name} was asked for while its test is closed.")
            return super().split(name)

    Closed.__name__, Closed.__qualname__, Closed.__module__ = kind.__name__, kind.__qualname__, kind.__module__
    return Closed
