"""A dataset and the folder of its text files, for the verbs that make or encode text."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from datasets.base import ReIDDataset
from datasets.config import Strict
from datasets.errors import UsageError, did_you_mean

from ..data import caption_folder, open_dataset
from ..resolve import resolve_dataset
from ..spec import Session

Options = TypeVar("Options", bound=Strict)


@dataclass(frozen=True)
class TextFolder:
    dataset: ReIDDataset
    session: Session
    folder: Path
    """Where the dataset's text files lie: caption_folder=DIR, or captions/ beside the dataset."""


def open_text_folder(name: str, values: Mapping[str, Any], kind: type[Options]) -> tuple[TextFolder, Options]:
    """`values`: keys of `kind`, of the dataset and of the session. Raises UsageError for an unknown or unfit one."""
    own = {key: value for key, value in values.items() if key in kind.model_fields}
    others = {key: value for key, value in values.items() if key not in own}
    for key in others:
        hint = did_you_mean(key, [*kind.model_fields, *Session.model_fields])
        if key not in Session.model_fields and "." not in key and hint:
            raise UsageError(f"Unknown key {key} (command line).{hint}")
    config, session = resolve_dataset(name, others)
    options = _validated(kind, own)
    dataset = open_dataset(config, session)
    folder = caption_folder(dataset, session)
    if folder is None:
        raise UsageError(f"dataset={name} has no folder for text files: say caption_folder=DIR.")
    return TextFolder(dataset, session, folder), options


def _validated(kind: type[Options], values: Mapping[str, Any]) -> Options:
    try:
        return kind.model_validate(values)
    except ValidationError as failure:
        error = failure.errors(include_url=False)[0]
    key = str(error["loc"][0])
    doc = " ".join((kind.model_fields[key].description or "").split()).rstrip(".")
    if error["type"] == "missing":
        raise UsageError(f"{key}= is missing. It is: {doc}.")
    raise UsageError(f"{key}={error['input']}: {error['msg'].removeprefix('Value error, ')}. It is: {doc}.")
