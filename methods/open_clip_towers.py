"""Image towers of open_clip models: `open_clip:NAME`, or `open_clip:NAME.TAG` where its published weights are wanted.

The feature is what the trunk pools: after the last norm, ahead of CLIP's projection into the space that it shares with
text (ViT-B-16: 768 numbers, not 512). It is what timm's CLIP models give, too. The text tower is not kept, and its
weights are not needed.

Towers that open_clip takes from timm (EVA02, SigLIP, ConvNeXt, PE, …) are built as such, so that everything said of
timm's backbones holds for them; its own vision transformers (OpenAI's, LAION's, DataComp's, …) are built here.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import open_clip
import torch.nn.functional as F
from torch import Tensor, cat

from datasets.errors import DataError, UsageError, did_you_mean

from .backbones import OPEN_CLIP, Backbone, announce_random_weights, build_backbone, patch_maps, whole_patches
from .base import Places
from .weights import load_weights

NO_TEXT = open_clip.CLIPTextCfg(context_length=1, vocab_size=1, width=8, heads=1, layers=1)
"""The smallest text tower, since open_clip builds no model without one."""


class OpenClipTower(Backbone):
    """One of open_clip's own vision transformers."""

    def __init__(self, trunk: Any, image_size: tuple[int, int]):
        trunk.proj = None  # into the space shared with text
        super().__init__(trunk, takes_tokens=True, width=trunk.ln_post.normalized_shape[0])
        height, width = trunk.image_size
        self.padding = (0, width - image_size[1], 0, height - image_size[0])
        """Pixels to add left, right, above and below."""

    def forward(self, images: Tensor, token_offset: Tensor | None = None) -> Tensor:
        """The steps of open_clip's transformer, with `token_offset` [B, 1, W] added where timm's add it."""
        trunk = self.trunk
        patches = trunk.conv1(F.pad(images, self.padding)).flatten(2).mT  # [B, patches, W]
        tokens = cat([trunk.class_embedding.expand(len(images), 1, -1), patches], dim=1) + trunk.positional_embedding
        if token_offset is not None:
            tokens = tokens + token_offset
        pooled, _ = trunk._pool(trunk.transformer(trunk.ln_pre(trunk.patch_dropout(tokens))))
        return pooled

    def places(self) -> Places:
        grid = self.trunk.grid_size
        return Places(self.trunk.transformer.resblocks[-1].ln_1, lambda tokens: patch_maps(tokens, grid))

    def reset_final_norm(self) -> None:
        self.trunk.ln_post.reset_parameters()


def build_tower(
    name: str,
    image_size: tuple[int, int],
    weights_file: Path | None,
    pretrained: bool | None,
    pad_images: bool,
    architecture: Mapping[str, int],
) -> Backbone:
    """The image tower called `name`; arguments and errors as for `build_backbone`."""
    config = _config(name)
    vision = config["vision_cfg"]
    if isinstance(vision.get("layers"), list):
        raise UsageError(
            f"{name} pools by attention over a square map: choose timm's ResNet with the same weights, such as "
            "method.backbone=resnet50_clip_gap.openai."
        )
    published = _published(name) if pretrained and weights_file is None else None
    if "timm_model_name" in vision:
        backbone = _from_timm(vision, image_size, pad_images, architecture)
    else:
        backbone = _own(name, config, image_size, pad_images, architecture)
    file = weights_file if published is None else _downloaded(name, published)
    if file is not None:
        load_weights(backbone.trunk, file, name)
    elif pretrained is None:
        announce_random_weights(name)
    return backbone


def _config(name: str) -> dict[str, Any]:
    """open_clip's description of the model."""
    model = name.removeprefix(OPEN_CLIP).partition(".")[0]
    config = open_clip.get_model_config(model) if model in open_clip.list_models() else None
    if config is None:
        hint = did_you_mean(model, open_clip.list_models()) or " `open_clip.list_models()` names them all."
        raise UsageError(f"Unknown method.backbone={name}: open_clip has no model {model}.{hint}")
    return config


def _from_timm(
    vision: Mapping[str, Any], image_size: tuple[int, int], pad_images: bool, architecture: Mapping[str, int]
) -> Backbone:
    options: dict[str, Any] = dict(architecture)
    if vision.get("timm_pool", "avg"):
        options["global_pool"] = vision.get("timm_pool", "avg")
    if vision.get("timm_drop_path"):
        options["drop_path_rate"] = vision["timm_drop_path"]
    timm_name = vision["timm_model_name"]
    return build_backbone(timm_name, image_size=image_size, pretrained=False, pad_images=pad_images, **options)


def _own(
    name: str,
    config: Mapping[str, Any],
    image_size: tuple[int, int],
    pad_images: bool,
    architecture: Mapping[str, int],
) -> OpenClipTower:
    vision = config["vision_cfg"] | {"output_tokens": False}
    width = architecture.get("embed_dim", vision["width"])
    heads = architecture.get("num_heads", vision["width"] // vision.get("head_width", 64))
    if width % heads:
        raise UsageError(f"method.embed_dim={width} should be a multiple of method.num_heads={heads}.")
    patch = architecture.get("patch_size", vision["patch_size"])
    size = whole_patches(name, (patch, patch), image_size, pad_images)
    vision |= {"image_size": size, "patch_size": patch, "width": width, "head_width": width // heads}
    vision["layers"] = architecture.get("depth", vision["layers"])
    clip = open_clip.CLIP(
        config["embed_dim"], open_clip.CLIPVisionCfg(**vision), NO_TEXT, quick_gelu=config.get("quick_gelu", False)
    )
    return OpenClipTower(clip.visual, image_size)


def _published(name: str) -> dict[str, Any]:
    """open_clip's description of the weights that `name` ends with."""
    model, _, tag = name.removeprefix(OPEN_CLIP).partition(".")
    tags = open_clip.list_pretrained_tags_by_model(model)
    if not tags:
        raise UsageError(f"Nobody published weights of {name}: set method.weights_file or method.pretrained=false.")
    if tag not in tags:
        raise UsageError(
            f"method.backbone={name} does not say which weights:{did_you_mean(tag, tags)} Write "
            f"{OPEN_CLIP}{model}.TAG with one of {', '.join(tags)}."
        )
    published = open_clip.get_pretrained_cfg(model, tag)
    _refuse_other_activation(model, tag, published.get("quick_gelu", False))
    return published


def _downloaded(name: str, published: dict[str, Any]) -> Path:
    """The weights' file, fetched or from open_clip's cache."""
    try:
        return Path(open_clip.download_pretrained(published))
    except (OSError, RuntimeError) as error:
        raise DataError(
            f"The weights of {name} cannot be downloaded ({str(error).partition('.')[0]}): set method.weights_file to "
            "a local copy, or method.pretrained=false."
        ) from None


def _refuse_other_activation(model: str, tag: str, wanted: bool) -> None:
    """Weights trained with the quick approximation of GELU load into a model with the exact one, and are then worse.

    `wanted`: whether the weights were.
    """
    twin = model.removesuffix("-quickgelu") if model.endswith("-quickgelu") else f"{model}-quickgelu"
    configs = {one: open_clip.get_model_config(one) for one in (model, twin) if one in open_clip.list_models()}
    quick = {one: bool(config and config.get("quick_gelu", False)) for one, config in configs.items()}
    if quick[model] != wanted and quick.get(twin) == wanted:
        raise UsageError(
            f"The weights {tag} were trained with another activation than {model} has: write "
            f"method.backbone={OPEN_CLIP}{twin}.{tag}."
        )
