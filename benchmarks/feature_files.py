"""Features that another code base computed, matched with a dataset's images by path.

An npz file with `features` [N, D] and `paths` [N]: the images' paths, relative to the dataset's folder or longer, or,
where tracklets are compared, the tracklets' folders. docs/evaluation.md has the ten lines that write one.
"""

import hashlib
import zipfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from datasets.base import IntArray
from datasets.errors import DataError

from .scoring import Embed
from .splits import Splits


@dataclass(frozen=True)
class FeatureFile:
    path: Path
    features: npt.NDArray[np.float32]
    """[N, D]"""
    paths: tuple[str, ...]
    """[N] with forward slashes."""

    @classmethod
    def read(cls, path: Path) -> Self:
        """Raises DataError where the file is missing, or does not hold what it should."""
        try:
            with np.load(path, allow_pickle=False) as file:
                features, paths = file["features"], file["paths"]
        except FileNotFoundError:
            raise DataError(f"{path} does not exist: name an npz file with features [N, D] and paths [N].") from None
        except KeyError as error:
            raise DataError(f"{path} lacks an array: it must hold `features` and `paths` ({error.args[0]}).") from None
        except (OSError, EOFError, ValueError, TypeError, AttributeError, zipfile.BadZipFile) as error:
            raise DataError(
                f"{path} is damaged, or holds Python objects, which are not unpickled ({error}): save it again with "
                f"numpy.savez, as a numeric `features` and a string `paths` array."
            ) from None
        if (
            features.ndim != 2
            or not features.shape[1]
            or features.dtype.kind != "f"
            or paths.ndim != 1
            or paths.dtype.kind != "U"
        ):
            raise DataError(
                f"{path} holds features {features.dtype}{list(features.shape)} and paths "
                f"{paths.dtype}{list(paths.shape)}: expected floating-point features [N, D] and string paths [N]."
            )
        if len(features) != len(paths):
            raise DataError(f"{path} holds {len(features)} features for {len(paths)} paths: expected one for each.")
        if len(bad := np.flatnonzero(~np.isfinite(features).all(axis=1))):
            raise DataError(
                f"{path} holds NaN or infinite numbers, first for {paths[bad[0]]}: compute these features again."
            )
        names = tuple(name.replace("\\", "/") for name in paths.tolist())
        return cls(path, features.astype(np.float32), names)

    @property
    def digest(self) -> str:
        """Hexadecimal digits that name the content."""
        digest = hashlib.sha256(self.features.tobytes())
        digest.update("\n".join(self.paths).encode())
        return digest.hexdigest()

    def embed(self, splits: Splits) -> Embed:
        """What looks features up. A frame that has none of its own gets that of its folder, its tracklet's."""
        wanted: dict[str, int] = {}

        def embedded(split: str, rows: IntArray) -> Tensor:
            samples = splits.samples(split)
            paths = [samples.paths[row] for row in rows]
            if not wanted:
                wanted.update(self._rows_by_suffix())
            found = [self._find(wanted, path, samples.tracklet is not None) for path in paths]
            if missing := [path for path, row in zip(paths, found, strict=True) if row is None]:
                raise DataError(
                    f"{self.path} lacks {len(missing)} of the {len(paths)} images of {split} (first: {missing[0]}): "
                    f"paths should end like that one; here the first is {self.paths[0] if self.paths else 'missing'}."
                )
            return torch.from_numpy(self.features[np.array(found, dtype=np.int64)])

        return embedded

    def _rows_by_suffix(self) -> dict[str, int]:
        """Every ending of every path, cut at slashes → its row, or -1 where two paths end like that."""
        rows: dict[str, int] = {}
        for row, path in enumerate(self.paths):
            parts = [part for part in path.split("/") if part not in ("", ".")]
            for start in range(len(parts)):
                ending = "/".join(parts[start:])
                rows[ending] = -1 if ending in rows else row
        return rows

    def _find(self, rows: dict[str, int], path: str, in_tracklet: bool) -> int | None:
        for name in (path, str(PurePosixPath(path).parent))[: 1 + in_tracklet]:
            if (row := rows.get(name)) is not None:
                if row < 0:
                    raise DataError(f"{self.path} has two features for {name}: keep one.")
                return row
        return None
