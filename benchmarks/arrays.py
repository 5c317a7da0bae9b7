"""Columns of a run's evidence as npz files: written whole or not at all, read without unpickling."""

import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from datasets.errors import DataError
from datasets.files import replacing

T = TypeVar("T")

RUN_AGAIN = "restore it, or delete the run's folder and run it again"
"""The mend for what only the training can make."""
MADE_ANEW = "delete it; `report` makes it anew"
"""The mend for what is made from a finished run."""


def write_arrays(path: Path, columns: Mapping[str, np.ndarray | None], *, compressed: bool = True) -> None:
    """Those columns that are not None."""
    write = np.savez_compressed if compressed else np.savez
    kept: dict[str, Any] = {name: column for name, column in columns.items() if column is not None}
    with replacing(path) as temporary, temporary.open("wb") as file:
        write(file, **kept)


def read_arrays(path: Path, make: Callable[[dict[str, np.ndarray]], T], what: str, mend: str) -> T:
    """What `make` makes of the columns. Raises DataError where `path` is missing or is not `what`."""
    try:
        with np.load(path, allow_pickle=False) as file:
            return make({name: file[name] for name in file.files})
    except FileNotFoundError:
        raise DataError(f"{path} is missing: {mend}.") from None
    except (OSError, EOFError, ValueError, TypeError, KeyError, AttributeError, zipfile.BadZipFile) as error:
        raise DataError(f"{path} is not {what} ({error}): {mend}.") from None
