"""Text features of captions, in DIFFER's file layout or from a dataset's own sentences.

A caption folder holds `<text model>/train.npz` (`data` [N*F, D]: F consecutive rows per image; `metadata` [N]: names of
the images) and, where identities have summaries, `train_caption_summary_biometric.json`
({person: {"text": …, "ft_<text model>": [[D numbers]]}}). That is the layout of DIFFER's release (xliangp/DIFFER,
commit 67acb5d), whose folders are called `<text model>-<version>`. Nothing is ever unpickled.
"""

import json
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ..base import IntArray, ReIDDataset, Samples
from ..config import Strict
from ..errors import DataError
from ..files import replacing, write_json
from .encoders import FloatArray, encode_texts, hashing_width

ASPECTS = ("biometrics", "hairstyle", "clothing", "pose", "interaction", "environment")
"""What the six captions of an image describe, in the order of the files."""

FEATURES = "train.npz"
SUMMARIES = "train_caption_summary_biometric.json"


class CaptionConfig(Strict):
    """Which text features a method that needs captions gets."""

    text_model: str = "hashing-64"
    """hashing-D (words hashed to D numbers, needs no weights) or a folder of caption files, such as EVA02-CLIP-B-16."""
    summary: bool = False
    """Also read one feature per identity, of the summary of its biometric captions."""
    missing: Literal["error", "drop"] = "error"
    """What to do with training images that have no caption: stop, or train without them."""


@dataclass(frozen=True)
class CaptionFeatures:
    """The text features of M images, F aspects each."""

    rows: IntArray
    """[M] rows of the samples that have captions, ascending."""
    features: FloatArray
    """[M, F, D]"""
    summary: FloatArray | None
    """[M, D] of the image's identity; None unless asked for."""


def caption_features(
    dataset: ReIDDataset, samples: Samples, config: CaptionConfig, folder: Path | None
) -> CaptionFeatures:
    """The text features of `samples`: encoded here from the dataset's own sentences, or read from `folder`.

    Raises DataError where files are missing or malformed, or where images have no caption and `missing` is "error".
    """
    sentences = dataset.caption_texts(samples)
    if hashing_width(config.text_model) and sentences is not None:
        if config.summary:
            raise DataError(
                f"{dataset.name} describes images but has no summaries of identities: set captions.summary=false."
            )
        return CaptionFeatures(np.arange(len(samples)), _encode_repeated(config.text_model, sentences), None)
    if folder is None:
        mend = "name the folder of its caption files with caption_folder=DIR"
        mend += "." if sentences is None else ", or encode its own sentences with captions.text_model=hashing-64."
        raise DataError(f"No caption features of {dataset.name} for captions.text_model={config.text_model}: {mend}")
    model = _stored_model(folder, config.text_model)
    rows_of, features = _read_features(folder / model / FEATURES)
    stored = np.array([rows_of.get(dataset.caption_key(path), -1) for path in samples.paths], dtype=np.int64)
    known = stored >= 0
    _require(known, samples.paths, "a caption", folder / model / FEATURES, config)
    if not config.summary:
        return CaptionFeatures(np.flatnonzero(known), features[stored[known]], None)

    by_person = _read_summaries(folder / SUMMARIES, model, config.text_model)
    has_summary = np.array([int(person) in by_person for person in samples.person], dtype=bool)
    _require(has_summary, samples.person.tolist(), "an identity summary", folder / SUMMARIES, config)
    known &= has_summary
    _require(known, samples.paths, "a caption or an identity summary", folder, config)
    rows = np.flatnonzero(known)
    summary = np.stack([by_person[int(person)] for person in samples.person[rows]])
    if summary.shape[1] != features.shape[2]:
        raise DataError(
            f"{folder / SUMMARIES} holds features of length {summary.shape[1]} for {model}, whose captions have length "
            f"{features.shape[2]}: encode the summaries with the same text model."
        )
    return CaptionFeatures(rows, features[stored[rows]], summary)


def require_caption_files(folder: Path, config: CaptionConfig) -> None:
    """Raise DataError, at a glance, where `folder` has no files of the text model."""
    _stored_model(folder, config.text_model)


def save_caption_features(
    folder: Path,
    text_model: str,
    keys: Sequence[str],
    features: FloatArray,
    summaries: Mapping[str, tuple[str, FloatArray]] | None = None,
) -> None:
    """Write caption files in DIFFER's layout.

    `keys` [N]: image names as `ReIDDataset.caption_key` gives them; `features` [N, F, D]; `summaries`: raw person
    number → (text, feature [D]). Features of other text models in the summary file stay as they are.
    Raises DataError for a repeated key.
    """
    images, aspects, width = features.shape
    if len(keys) != images:
        raise ValueError(f"{len(keys)} keys for {images} rows of features")
    if len(set(keys)) != images:
        raise DataError(
            f"{images - len(set(keys))} image names are repeated: each image needs a caption key of its own."
        )
    with replacing(folder / text_model / FEATURES) as temporary, temporary.open("wb") as file:
        data = np.asarray(features, dtype=np.float32).reshape(images * aspects, width)
        np.savez(file, data=data, metadata=np.array(keys, dtype=np.str_))
    if summaries is None:
        return
    path = folder / SUMMARIES
    merged: dict[str, dict[str, Any]] = _read_json(path) if path.is_file() else {}
    for person, (text, feature) in summaries.items():
        numbers = np.asarray(feature, dtype=np.float64).tolist()
        merged.setdefault(person, {}).update({"text": text, f"ft_{text_model}": [numbers]})
    write_json(path, merged)


def _encode_repeated(text_model: str, sentences: Sequence[tuple[str, ...]]) -> FloatArray:
    """[N, F, D]; each different sentence is encoded once."""
    texts, inverse = np.unique(np.array(sentences, dtype=np.str_), return_inverse=True)
    return encode_texts(text_model, texts.tolist())[inverse.reshape(len(sentences), -1)]


def _stored_model(folder: Path, text_model: str) -> str:
    """Name of the subfolder of `folder` for `text_model`: that name, or the only one `<text_model>-<version>`."""
    stored = sorted(path.parent.name for path in folder.glob(f"*/{FEATURES}"))
    if (name := _match(stored, text_model)) is not None:
        return name
    wanted = f"{folder / text_model}*/{FEATURES}"
    if not stored:
        raise DataError(
            f"{wanted} is missing, and no other text model's either: name the right folder, caption_folder=DIR."
        )
    near = [name for name in stored if name.startswith(f"{text_model}-")]
    problem = "is there more than once" if near else "is missing"
    raise DataError(
        f"{wanted} {problem}: choose one that is there with captions.text_model={'|'.join(near or stored)}."
    )


def _match(names: Iterable[str], text_model: str) -> str | None:
    """`text_model` itself where it is among `names`, else the only one that starts with it and a hyphen."""
    names = set(names)
    versions = [name for name in names if name.startswith(f"{text_model}-")]
    if text_model in names:
        return text_model
    return versions[0] if len(versions) == 1 else None


def _read_features(path: Path) -> tuple[dict[str, int], FloatArray]:
    """Row of each image name (the first, where a name is repeated, as in the official code), and features [N, F, D]."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            data, names = archive["data"], archive["metadata"]
    except KeyError as error:
        raise DataError(f"{path} lacks an array: it must hold `data` and `metadata` ({error.args[0]}).") from None
    except (ValueError, OSError, EOFError, TypeError, AttributeError, zipfile.BadZipFile) as error:
        raise DataError(
            f"{path} cannot be read without unpickling ({error}): "
            f"save it again with numpy.savez as a numeric `data` and a string `metadata` array."
        ) from None
    if names.ndim != 1 or names.dtype.kind != "U" or data.ndim != 2 or data.dtype.kind != "f":
        raise DataError(
            f"{path} holds data {data.dtype}{list(data.shape)} and metadata {names.dtype}{list(names.shape)}: "
            f"expected floating-point data [N*F, D] and unicode metadata [N]."
        )
    if not len(names) or not len(data) or len(data) % len(names):
        raise DataError(f"{path} holds {len(data)} rows for {len(names)} images: expected the same number per image.")
    if not np.isfinite(data).all():
        bad_row = int(np.argmin(np.isfinite(data).all(axis=1)))
        image = names[bad_row * len(names) // len(data)]
        raise DataError(f"{path} holds NaN or infinite numbers, first for {image}: encode the captions again.")
    rows_of = {name: row for row, name in reversed(list(enumerate(names.tolist())))}
    return rows_of, data.reshape(len(names), -1, data.shape[1]).astype(np.float32)


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"{path} is missing: set captions.summary=false or put the file there.") from None
    except ValueError as error:
        raise DataError(f"{path} is not valid JSON ({error}): copy the file again.") from None


def _read_summaries(path: Path, model: str, text_model: str) -> dict[int, FloatArray]:
    """Person number → feature [D]. Keys are decimal person numbers, zero-padded or not."""
    summaries = _read_json(path)
    try:
        available = {
            name.removeprefix("ft_") for entry in summaries.values() for name in entry if name.startswith("ft_")
        }
        stored = model if model in available else _match(available, text_model)
        if stored is None:
            there = "|".join(sorted(available)) or "none"
            raise DataError(f"{path} has no features of {model}: choose captions.text_model among {there}.")
        by_person = {
            int(person): np.asarray(entry[f"ft_{stored}"], dtype=np.float32).reshape(-1)
            for person, entry in summaries.items()
            if f"ft_{stored}" in entry
        }
    except (AttributeError, TypeError, ValueError) as error:
        raise DataError(f'{path} is not {{"person": {{"ft_{model}": [[numbers]]}}}} ({error}).') from None
    if len({feature.shape for feature in by_person.values()}) > 1:
        raise DataError(f"{path} holds features of different lengths for ft_{stored}: encode the summaries again.")
    if bad := [person for person, feature in by_person.items() if not np.isfinite(feature).all()]:
        raise DataError(f"{path} holds NaN or infinite numbers, first for person {bad[0]}: encode the summaries again.")
    return by_person


def _require(
    known: npt.NDArray[np.bool_], names: Sequence[Any], lacking: str, path: Path, config: CaptionConfig
) -> None:
    """Raise DataError where not every image is known, or none is, whatever `missing` says."""
    missing = np.flatnonzero(~known).tolist()
    if not missing or (config.missing == "drop" and known.any()):
        return
    first = ", ".join(list(dict.fromkeys(str(names[row]) for row in missing))[:3])
    mend = "is this the right file?" if not known.any() else "complete the file or set captions.missing=drop."
    raise DataError(f"{len(missing)} of {len(known)} images lack {lacking} in {path} (first: {first}): {mend}")
