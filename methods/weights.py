"""Pretrained weights from a local file into a backbone: read safely, renamed, resized, and checked.

Known layouts: timm, open_clip (`visual.trunk.…`), EVA's own names (`visual.blocks.0.mlp.w1…`), torchvision ResNets,
DIFFER's released checkpoints (`module.head_bio.…`), and this project's own (`backbone.trunk.…`).
"""

import logging
import math
import pickle
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from datasets.errors import DataError

logger = logging.getLogger("ccreid")

WRAPPERS = ("state_dict", "model_state_dict", "model", "model_ema", "module")
"""Keys under which training codes store the state dict beside other things."""

BEGINNINGS = (b"PK\x03\x04", b"\x80")
"""First bytes of the files that torch.save writes: a zip archive, and before PyTorch 1.6 a pickle."""

NUMPY_SCALARS = ("numpy.dtype", "numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar")
"""What a pickled numpy scalar calls, by numpy 1 and 2: scores that training codes store beside the weights."""

PREFIXES = ("module.", "backbone.trunk.", "visual.trunk.", "visual.")
"""Where one of these occurs, the backbone is what lies under it and everything else is another part of the model."""

RENAMED = (
    (re.compile(r"\.mlp\.w1\."), ".mlp.fc1_g."),  # EVA's SwiGLU, gate
    (re.compile(r"\.mlp\.w2\."), ".mlp.fc1_x."),
    (re.compile(r"\.mlp\.w3\."), ".mlp.fc2."),
    (re.compile(r"\.mlp\.ffn_ln\."), ".mlp.norm."),
    (re.compile(r"\.attn\.inner_attn_ln\."), ".attn.norm."),
    (re.compile(r"^norm_bio\."), "norm."),  # DIFFER
)


def load_weights(trunk: nn.Module, path: Path, name: str) -> None:
    """Copy the tensors of `path` into `trunk`, a timm model called `name` in messages.

    Positional embeddings are resized to the trunk's grid; a classifier and other parts the trunk lacks are left out and
    logged. Raises DataError where the file cannot be read safely or holds another architecture.
    """
    fit_weights(trunk, read_state_dict(path), str(path), name)


def fit_weights(trunk: nn.Module, state: Mapping[str, Tensor], path: str, name: str) -> list[str]:
    """`load_weights` from a state dict; `path` stands for it in messages. Returns the names that were not used."""
    own = trunk.state_dict()
    found = _fit_positions(rename(state, own), trunk)
    unfit = [key for key in own if key in found and found[key].shape != own[key].shape]
    missing = [key for key in own if key not in found and not _may_be_missing(key)]
    if unfit or missing:
        examples = [f"{key} is {_shape(found[key])} there, {_shape(own[key])} in the model" for key in unfit[:2]]
        examples += [f"{key} is not there" for key in missing[: 3 - len(examples)]]
        matching = len(own) - len(unfit) - len([key for key in own if key not in found])
        raise DataError(
            f"{path} holds weights of another architecture than {name}: {matching} of {len(own)} tensors fit "
            f"({'; '.join(examples)}); choose the method.backbone that belongs to the file."
        )
    trunk.load_state_dict({key: found[key] for key in own if key in found}, strict=False)
    unused = sorted(found.keys() - own.keys())
    absent = sorted(own.keys() - found.keys())
    logger.info("%s: %d of %d tensors loaded; not used: %s", path, len(own) - len(absent), len(own), _listed(unused))
    if absent:
        logger.warning("%s does not hold %s: left at their initial values.", path, _listed(absent))
    return unused


def read_state_dict(path: Path, key: str = "method.weights_file") -> dict[str, Tensor]:
    """The tensors of a .safetensors file, or of a PyTorch file read without unpickling; `key` named it. DataError.

    Numpy scalars beside the tensors are skipped, without running any code of numpy's.
    """
    _require_weights(path, key)
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        with torch.serialization.safe_globals([(_Skipped, name) for name in NUMPY_SCALARS]):
            content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise DataError(
            f"{path} holds Python objects besides tensors and is not unpickled, because that can run code: "
            "save its state dict alone, or convert it to .safetensors."
        ) from None
    except Exception as error:  # a damaged pickle may end in anything: KeyError, IndexError, UnicodeDecodeError, …
        reason = re.split(r"\n|\. ", str(error))[0] or type(error).__name__
        raise DataError(f"{path} is not a readable weights file ({reason}): download it again.") from None
    while isinstance(content, Mapping) and (wrapper := _wrapper(content)):
        content = content[wrapper]
    if not isinstance(content, Mapping) or not any(isinstance(value, Tensor) for value in content.values()):
        raise DataError(f"{path} holds no state dict: give a file that maps parameter names to tensors.")
    return {str(key): value for key, value in content.items() if isinstance(value, Tensor)}


def _require_weights(path: Path, key: str) -> None:
    """Raise DataError where `path`, the value of `key`, cannot be a file of weights by its name or its first bytes."""
    if path.is_dir():
        raise DataError(f"{path} is a folder: name the weights file in it by {key}.")
    if not path.is_file():
        raise DataError(f"The weights file {path} does not exist: check {key}.")
    with path.open("rb") as file:
        start = file.read(16)
    if not start:
        raise DataError(f"{path} is empty: download it again.")
    if path.suffix == ".safetensors" or start.startswith(BEGINNINGS):
        return
    text = start.decode(errors="replace")
    said = f"it begins with {text!r}" if text.replace("\n", " ").isprintable() else "by its first bytes"
    raise DataError(
        f"{path} is neither a PyTorch file nor called .safetensors ({said}): download it again, or name the right file."
    )


def rename(state: Mapping[str, Tensor], own: Mapping[str, Any]) -> dict[str, Tensor]:
    """`state` under timm's names; `own` are the names of the backbone that will take it."""
    for prefix in PREFIXES:
        if any(key.startswith(prefix) for key in state):
            state = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
    last = max((int(key.split(".")[1]) for key in own if key.startswith("blocks.")), default=0)
    renamed = {}
    for key, value in state.items():
        if "rope" in key:
            continue  # rotary tables are computed for the image size
        for pattern, replacement in RENAMED:
            key = pattern.sub(replacement, key)
        key = re.sub(r"^head_bio\.", f"blocks.{last}.", key)  # DIFFER keeps the last block under this name
        if (separate := re.sub(r"\.attn\.([qv])_bias$", r".attn.\1_proj.bias", key)) in own:
            key = separate
        renamed[key] = value
    return renamed


def _fit_positions(state: dict[str, Tensor], trunk: Any) -> dict[str, Tensor]:
    """`state` with its positional embedding [1, 1+N, W] resized to the trunk's grid, bicubic with antialiasing.

    A table of a square number of patches is taken for a square grid. open_clip's own transformers have one of [1+N, W].
    """
    from timm.layers.pos_embed import resample_abs_pos_embed

    if (flat := state.get("positional_embedding")) is not None and flat.ndim == 2 and hasattr(trunk, "grid_size"):
        if math.isqrt(len(flat) - 1) ** 2 != len(flat) - 1:
            return state
        table = resample_abs_pos_embed(flat[None], new_size=list(trunk.grid_size), num_prefix_tokens=1)
        return state | {"positional_embedding": table[0]}
    table, own = state.get("pos_embed"), getattr(trunk, "pos_embed", None)
    if table is None or own is None or table.ndim != 3 or table.shape[2] != own.shape[2]:
        return state
    prefix = 0 if trunk.no_embed_class else trunk.num_prefix_tokens
    patches = table.shape[1] - prefix
    if math.isqrt(patches) ** 2 != patches:
        return state  # not square: fits as it is, or is refused with its shape
    grid = list(trunk.patch_embed.grid_size)
    return state | {"pos_embed": resample_abs_pos_embed(table, new_size=grid, num_prefix_tokens=prefix)}


def _may_be_missing(key: str) -> bool:
    return key.startswith(("norm.", "fc_norm.")) or key.endswith("num_batches_tracked")


def _wrapper(content: Mapping[str, Any]) -> str | None:
    return next((key for key in WRAPPERS if isinstance(content.get(key), Mapping)), None)


def _shape(tensor: Tensor) -> str:
    return "×".join(map(str, tensor.shape)) or "a scalar"


def _listed(keys: list[str], most: int = 8) -> str:
    more = f" and {len(keys) - most} more" if len(keys) > most else ""
    return (", ".join(keys[:most]) or "nothing") + more


class _Skipped:
    """Takes the place of a pickled object that nobody needs, and does nothing with what it is made of."""

    def __init__(self, *_: Any):
        pass

    def __setstate__(self, _: Any) -> None:
        pass


def sizes_of(state: Mapping[str, Tensor], name: str, dimensions: int, of: str) -> tuple[int, ...]:
    """Shape of the tensor `name` of a checkpoint of `of`; DataError unless it is there, with so many `dimensions`."""
    if name not in state:
        raise DataError(f"The file is not a checkpoint of {of}: it lacks {name}.")
    if state[name].ndim != dimensions or not state[name].numel():
        raise DataError(
            f"The checkpoint is damaged or not {of}'s: {name} is {_shape(state[name])} where {of}'s has {dimensions} "
            "dimensions and none is 0; download it again, or choose the method that it belongs to."
        )
    return tuple(state[name].shape)


def load_official(
    method: nn.Module, state: Mapping[str, Tensor], our_name: Callable[[str], str], needless: Callable[[str], bool]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Copy `state`, written by the authors' code, into `method`; (names in it not used, names of ours not in it).

    `our_name`: a name of theirs → ours. `needless`: whether the test does without one of ours. Raises DataError where
    the file lacks another one, or holds one in another size.
    """
    own = method.state_dict()
    theirs = {our_name(name): name for name in state}
    for name, tensor in own.items():
        if name not in theirs and not needless(name):
            raise DataError(f"The checkpoint is incomplete: nothing in it becomes our {name}.")
        if name in theirs and (found := state[theirs[name]]).shape != tensor.shape:
            raise DataError(
                f"The checkpoint is of another architecture: {theirs[name]} is {_shape(found)} there, {_shape(tensor)} "
                "as configured; choose the method.backbone that belongs to it."
            )
    method.load_state_dict({name: state[theirs[name]] for name in own if name in theirs}, strict=False)
    ignored = tuple(sorted(theirs[name] for name in theirs.keys() - own.keys()))
    return ignored, tuple(sorted(own.keys() - theirs.keys()))
