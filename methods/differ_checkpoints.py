"""Checkpoints that DIFFER's released code wrote: what the tensors say of the configuration."""

from collections.abc import Mapping
from typing import NamedTuple

from torch import Tensor

from datasets.errors import DataError

from .weights import sizes_of

CAMERAS = "camera_embed"
TEXT_HEADS = ("head_clip_bio.weight", "head_clip_bio.fc2.weight")
"""Last layer of the biometric projection, linear or mlp."""


class Sizes(NamedTuple):
    backbone: dict[str, int]
    """What `DifferConfig` calls embed_dim, patch_size and depth."""
    persons: int
    cameras: int
    text_width: int
    """0: the file holds no projection."""


def read(state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], Sizes]:
    """The state dict without `module.`, and its sizes. Raises DataError where it is not DIFFER's."""
    state = {key.removeprefix("module."): value for key, value in state.items()}  # nn.DataParallel
    if not {"norm_bio.weight", "pos_embed", "patch_embed.proj.weight"} <= state.keys():
        raise DataError("The checkpoint holds no norm_bio.weight, pos_embed and patch_embed: it is not DIFFER's.")
    backbone = {
        "embed_dim": sizes_of(state, "pos_embed", 3, "DIFFER")[2],
        "patch_size": sizes_of(state, "patch_embed.proj.weight", 4, "DIFFER")[3],
        # the last block is called head_bio there, the last norm norm_bio
        "depth": len({key.split(".")[1] for key in state if key.startswith("blocks.")}) + 1,
    }
    persons = sizes_of(state, "head.weight", 2, "DIFFER")[0] if "head.weight" in state else 0
    text_width = next((sizes_of(state, key, 2, "DIFFER")[0] for key in TEXT_HEADS if key in state), 0)
    return state, Sizes(backbone, persons, _cameras(state, backbone["embed_dim"]), text_width)


def _cameras(state: Mapping[str, Tensor], width: int) -> int:
    """How many camera embeddings, [cameras, 1, width], there are; 0: the model has none."""
    if CAMERAS not in state:
        return 0
    cameras, *token = sizes_of(state, CAMERAS, 3, "DIFFER")
    if token != [1, width]:
        raise DataError(
            f"The checkpoint is damaged or not DIFFER's: {CAMERAS} is {cameras}×{token[0]}×{token[1]} beside tokens of "
            f"width {width}, not {cameras}×1×{width}; download it again, or choose the method that it belongs to."
        )
    return cameras
