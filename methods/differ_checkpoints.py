"""Checkpoints that DIFFER's released code wrote: what the tensors say of the configuration."""

from collections.abc import Mapping
from typing import NamedTuple

from torch import Tensor

from datasets.errors import DataError

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
        "embed_dim": state["pos_embed"].shape[-1],
        "patch_size": state["patch_embed.proj.weight"].shape[-1],
        # the last block is called head_bio there, the last norm norm_bio
        "depth": len({key.split(".")[1] for key in state if key.startswith("blocks.")}) + 1,
    }
    persons = len(state["head.weight"]) if "head.weight" in state else 0
    cameras = len(state[CAMERAS]) if CAMERAS in state else 0
    text_width = next((len(state[key]) for key in TEXT_HEADS if key in state), 0)
    return state, Sizes(backbone, persons, cameras, text_width)
