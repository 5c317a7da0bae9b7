"""Reading the folders of an official release: which files are its images, in which order, and nothing by guess."""

import re
from collections.abc import Sequence
from pathlib import Path

from .errors import DataError

_LEFT_BY_FILE_MANAGERS = {"thumbs.db", "desktop.ini"}


def name_pattern(pattern: str) -> re.Pattern[str]:
    """A file name's form, to be matched in full; capitals do not matter."""
    return re.compile(pattern, re.IGNORECASE | re.ASCII)


def image_names(folder: Path, pattern: re.Pattern[str], form: str) -> list[str]:
    """The file names in `folder`, sorted.

    Hidden files and file managers' leftovers do not count. Raises DataError where the folder is missing, holds no
    images, or holds a name that `pattern` does not accept in full; `form` says what it should be.
    """
    names = [name for name in _entries(folder) if name.lower() not in _LEFT_BY_FILE_MANAGERS]
    if wrong := [name for name in names if not pattern.fullmatch(name)]:
        raise DataError(
            f"{folder / wrong[0]} is not named {form} ({len(wrong)} of {len(names)} are not): "
            f"move such files elsewhere."
        )
    if not names:
        raise DataError(f"{folder} holds no images: unpack the dataset's archive again.")
    return names


def person_folders(folder: Path, pattern: re.Pattern[str], form: str) -> list[str]:
    """The names of the folders in `folder`, one per person, sorted. Raises DataError as `image_names` does."""
    names = [name for name in _entries(folder) if name.lower() not in _LEFT_BY_FILE_MANAGERS]
    if wrong := [name for name in names if not (pattern.fullmatch(name) and (folder / name).is_dir())]:
        raise DataError(f"{folder / wrong[0]} is not a person's folder, {form}: move such files elsewhere.")
    if not names:
        raise DataError(f"{folder} holds no people: unpack the dataset's archive again.")
    return names


def parsed(pattern: re.Pattern[str], name: str) -> re.Match[str]:
    """The parts of a name that `image_names` has let through."""
    match = pattern.fullmatch(name)
    assert match is not None, name  # noqa: S101
    return match


def require_folders(root: Path, folders: Sequence[str], wanted: str, dataset: str) -> None:
    """Raise DataError, saying what is there, unless `root` has the folder or file `wanted`, one of `folders`."""
    if not root.is_dir():
        raise DataError(f"{root} does not exist: expected the folder of {dataset} with {_and(folders)} in it.")
    if not (root / wanted).exists():
        present = [name for name in folders if (root / name).exists()]
        there = (
            f"only {_and(present)} there."
            if present
            else f"none of them there: name the folder of {dataset}, or one that holds it under its official name."
        )
        raise DataError(f"{root / wanted} does not exist: {dataset} has {_and(folders)}, {there}")


def _entries(folder: Path) -> list[str]:
    try:
        return sorted(entry.name for entry in folder.iterdir() if not entry.name.startswith("."))
    except FileNotFoundError:
        raise DataError(f"{folder} does not exist: unpack the dataset's archive again.") from None
    except NotADirectoryError:
        raise DataError(f"{folder} is not a folder: unpack the dataset's archive again.") from None
    except OSError as error:
        raise DataError(f"{folder} cannot be read: {error.strerror}.") from None


def _and(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
