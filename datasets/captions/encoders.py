"""Sentences to feature vectors: hashed words, which need no weights, and DIFFER's frozen EVA02-CLIP text towers."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import DataError, UsageError

FloatArray = npt.NDArray[np.float32]
Progress = Callable[[int, int], None]
"""Called with (texts encoded, texts in all)."""

OPEN_CLIP_NAMES = {
    "EVA02-CLIP-B-16": "EVA02-B-16",
    "EVA02-CLIP-L-14": "EVA02-L-14",
    "EVA02-CLIP-bigE-14": "EVA02-E-14",
}
"""DIFFER's name of a text model → open_clip's. Widths 512, 768 and 1024."""

_HASH_BUCKETS = 4096
_TEXTS_PER_FORWARD = 128


def encode_texts(
    text_model: str,
    texts: Sequence[str],
    weights_file: Path | None = None,
    device: str = "cpu",
    progress: Progress | None = None,
) -> FloatArray:
    """[n, D] features of `texts`.

    hashing-D: hashed words and word pairs through a fixed Gaussian projection, of length 1 (0 for a text without
    words); the same on every machine. DIFFER's names: the text tower of an EVA02-CLIP, read from `weights_file`
    (open_clip's safetensors or .pt of the whole model or of the text tower alone) and run on `device` (cpu or cuda) in
    batches, not normalised; words beyond its 77 tokens do not count. `progress` hears of each batch.
    Raises UsageError for an unknown name, DataError for a missing or unfit file.
    """
    if width := hashing_width(text_model):
        return _encode_hashing(texts, width)
    if text_model not in OPEN_CLIP_NAMES:
        known = ", ".join(OPEN_CLIP_NAMES)
        raise UsageError(f"Unknown text model {text_model}: choose hashing-D, such as hashing-64, or one of {known}.")
    if weights_file is None or not weights_file.is_file():
        given = "no file was given" if weights_file is None else f"{weights_file} does not exist"
        raise DataError(
            f"The text model {text_model} needs a local weight file, and {given}: "
            f"fetch open_clip's weights of {OPEN_CLIP_NAMES[text_model]} once and name the file."
        )
    return _encode_open_clip(OPEN_CLIP_NAMES[text_model], texts, weights_file, device, progress)


def hashing_width(text_model: str) -> int | None:
    """D of "hashing-D"; None for another model."""
    match = re.fullmatch(r"hashing-([1-9]\d{0,4})", text_model)
    return int(match[1]) if match else None


def _encode_hashing(texts: Sequence[str], width: int) -> FloatArray:
    from sklearn.feature_extraction.text import HashingVectorizer  # 1 s: only when text is encoded

    if not texts:
        return np.zeros((0, width), dtype=np.float32)
    hashed: Any = HashingVectorizer(n_features=_HASH_BUCKETS, ngram_range=(1, 2)).transform(texts)
    # numpy promises that this legacy stream never changes; float64 keeps the rounding of sums out of the result.
    projection = np.random.RandomState(0).standard_normal((_HASH_BUCKETS, width))
    features = hashed @ projection
    length = np.linalg.norm(features, axis=1, keepdims=True)
    return (features / np.where(length > 0, length, 1)).astype(np.float32)


def _encode_open_clip(
    name: str, texts: Sequence[str], weights_file: Path, device: str, progress: Progress | None
) -> FloatArray:
    import open_clip
    import torch
    from open_clip.factory import load_state_dict
    from open_clip.transformer import TextTransformer

    architecture = open_clip.get_model_config(name)
    assert architecture is not None  # noqa: S101 - the names are open_clip's own
    try:
        weights: Any = load_state_dict(str(weights_file), device="cpu", weights_only=True)
        text_weights = {key[5:]: value for key, value in weights.items() if key.startswith("text.")}
        # Only the text tower is built: the image tower of the largest model would take 17 GB.
        tower = TextTransformer(output_dim=architecture["embed_dim"], **architecture["text_cfg"]).eval()
        tower.load_state_dict(text_weights or weights)
    except Exception as error:  # whatever a file of unknown origin makes its reader raise
        reason = str(error).strip().partition("\n")[0]
        raise DataError(f"{weights_file} does not hold open_clip's weights of {name} ({reason}).") from None
    tokens = open_clip.get_tokenizer(name)([*texts, ""])  # "": it takes no empty list
    features = []
    with torch.inference_mode():
        tower.to(device)
        for batch in tokens.split(_TEXTS_PER_FORWARD):
            features.append(tower(batch.to(device)).float().cpu())
            if progress is not None:
                progress(min(len(features) * _TEXTS_PER_FORWARD, len(texts)), len(texts))
    return torch.cat(features)[:-1].numpy()
