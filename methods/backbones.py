"""Backbones by name: a timm model without its classifier, one feature per image, local or downloaded weights.

`open_clip:NAME` stands for the image tower of an open_clip model: see open_clip_towers.py.
"""

import logging
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import torch
from pydantic import PositiveInt
from torch import Tensor, nn

from datasets.errors import DataError, UsageError, did_you_mean

from .base import MethodConfig, Places
from .weights import load_weights

logger = logging.getLogger("ccreid")

ALIASES: dict[str, tuple[str, dict[str, Any]]] = {
    "eva02_clip_l": ("eva02_large_patch14_clip_224.merged2b", {}),  # DIFFER, MADE: 303 M parameters
    "eva02_clip_b": ("eva02_base_patch16_clip_224.merged2b", {}),
    # The architecture of eva02_clip_l made small, for tests and the synthetic dataset; there are no weights for it.
    "eva02_clip_tiny": (
        "eva02_large_patch14_clip_224",
        {"patch_size": 8, "embed_dim": 128, "depth": 4, "num_heads": 4},
    ),
    "resnet50": ("resnet50.tv_in1k", {}),  # torchvision's first weights, those of the literature
    "resnet18": ("resnet18.tv_in1k", {}),
    # The last stage of resnet50, three bottlenecks, behind narrow and short ones; there are no weights for it.
    "resnet_tiny": ("resnet50", {"layers": (1, 1, 1, 3), "channels": (16, 32, 64, 128)}),
}
"""Our names for timm's, with the architecture's overrides."""

TOKEN_MODULES = ["eva", "vision_transformer"]
"""timm files whose models are a sequence of tokens: they need the image size, and take a token offset."""
ARCHITECTURE = ("patch_size", "embed_dim", "depth", "num_heads")
"""Keys of the configuration that change a transformer's architecture, under timm's names."""
OPEN_CLIP = "open_clip:"
"""Beginning of the names of open_clip's image towers."""


class BackboneConfig(MethodConfig):
    """The backbone's share of a method's configuration."""

    names: ClassVar[tuple[str, ...]] = tuple(ALIASES)
    """The short names that the method takes, as a message lists them."""

    backbone: str = "resnet50"
    """eva02_clip_l, eva02_clip_b, eva02_clip_tiny, resnet50, resnet18, resnet_tiny, any timm model name, or
    open_clip:NAME for the image tower of an open_clip model (open_clip:NAME.TAG says which weights)."""
    weights_file: Path | None = None
    """Local pretrained weights, .safetensors or PyTorch; goes before `pretrained`."""
    pretrained: bool | None = None
    """true: timm or open_clip downloads the weights; false: random; unset: random, with a warning."""
    patch_size: PositiveInt | None = None
    """Transformers: side of a patch in pixels; unset: the architecture's own."""
    embed_dim: PositiveInt | None = None
    """Transformers: width of a token; unset: the architecture's own."""
    depth: PositiveInt | None = None
    """Transformers: number of blocks; unset: the architecture's own."""
    num_heads: PositiveInt | None = None
    """Transformers: attention heads; unset: the architecture's own."""
    pad_images: bool = False
    """Transformers: pad images right and below to whole patches, instead of refusing other sizes."""
    last_stride: Literal[1, 2] = 1
    """ResNets: stride of the last stage; 1 doubles the final map, as re-ID does since PCB."""

    def for_checkpoint(self) -> Self:
        return self.model_copy(update={"weights_file": None, "pretrained": False})

    def build(self, height: int, width: int) -> "Backbone":
        """The configured backbone for images of that size."""
        architecture = self.model_dump(include=set(ARCHITECTURE), exclude_none=True)
        return build_backbone(
            self.backbone,
            image_size=(height, width),
            weights_file=self.weights_file,
            pretrained=self.pretrained,
            pad_images=self.pad_images,
            last_stride=self.last_stride,
            names=self.names,
            **architecture,
        )


class Backbone(nn.Module):
    """A timm model without its classifier: images [B, 3, H, W] → features [B, width]."""

    def __init__(self, trunk: Any, takes_tokens: bool, width: int | None = None):
        super().__init__()
        self.trunk = trunk
        self.takes_tokens = takes_tokens
        """Whether `forward` accepts a token offset."""
        # Not num_features where they differ: some heads have a layer of their own ahead of the classifier.
        self.width: int = getattr(trunk, "head_hidden_size", trunk.num_features) if width is None else width

    def forward(self, images: Tensor, token_offset: Tensor | None = None) -> Tensor:
        """`token_offset` [B, 1, width] is added to every token ahead of the first block (transformers only)."""
        if not self.takes_tokens:
            return self.trunk(images)
        embedded = self.trunk._pos_embed(self.trunk.patch_embed(images))
        tokens, rotation = embedded if isinstance(embedded, tuple) else (embedded, None)  # [B, 1+patches, width]
        if token_offset is not None:
            tokens = tokens + token_offset
        tokens = self.trunk.norm_pre(tokens)
        of_each_block = getattr(self.trunk, "rope_mixed", False)
        for number, block in enumerate(self.trunk.blocks):
            turn = rotation[number] if rotation is not None and of_each_block else rotation
            tokens = block(tokens) if turn is None else block(tokens, rope=turn)
        return self.trunk.forward_head(self.trunk.norm(tokens), pre_logits=True)

    def feature_maps(self, images: Tensor) -> Tensor:
        """[B, 3, H, W] → [B, W, h, w], what a convolutional network pools. Raises UsageError where there are none."""
        if self.takes_tokens:
            raise UsageError("A transformer ends in tokens, not in feature maps: choose a ResNet as method.backbone.")
        maps = self.trunk.forward_features(images)
        if maps.ndim != 4 or maps.shape[1] != self.width:
            raise UsageError("This backbone does not end in feature maps [B, width, h, w]: choose a ResNet.")
        return maps

    def places(self) -> Places | None:
        """The last maps; of a transformer the tokens that the last block attends to, since none but the class token's
        own are read after it. None where the architecture is not known.
        """
        if not self.takes_tokens:
            return last_maps(self.trunk)
        norm = getattr(self.trunk.blocks[-1], "norm1", None)
        grid = self.trunk.patch_embed.grid_size
        return None if norm is None else Places(norm, lambda tokens: patch_maps(tokens, grid))

    def reset_final_norm(self) -> None:
        """Set the last LayerNorm of a transformer to weight 1, bias 0."""
        norm = self.trunk.norm if isinstance(self.trunk.norm, nn.LayerNorm) else self.trunk.fc_norm
        norm.reset_parameters()


def last_maps(trunk: Any) -> Places | None:
    """Of a timm model that ends in maps, as far as timm says which module these come from."""
    stages = getattr(trunk, "feature_info", None)
    if not stages:
        return None
    stages = stages if isinstance(stages, list) else stages.info
    module = trunk.get_submodule(stages[-1]["module"])
    # The last block of a stage, since a method may go through the blocks by itself.
    module = module[-1] if isinstance(module, nn.Sequential) and len(module) else module
    channels_last = getattr(trunk, "output_fmt", None) == "NHWC"
    return Places(module, lambda maps: maps.movedim(-1, 1) if channels_last else maps)


def patch_maps(tokens: Tensor, grid: tuple[int, int]) -> Tensor:
    """[B, n, W] → [B, W, h, w] for a `grid` of h × w patches, which stand behind the class token and others."""
    return tokens[:, tokens.shape[1] - grid[0] * grid[1] :].mT.unflatten(2, grid)


def build_backbone(
    name: str,
    *,
    image_size: tuple[int, int],
    weights_file: Path | None = None,
    pretrained: bool | None = None,
    pad_images: bool = False,
    last_stride: Literal[1, 2] = 1,
    names: Iterable[str] = tuple(ALIASES),
    **architecture: Any,
) -> Backbone:
    """The backbone called `name` for images of `image_size` (height, width); arguments as in `BackboneConfig`.

    `names`: what is suggested where the name is unknown.

    Raises UsageError for an unknown name, an option the architecture lacks, or a size that would be cropped silently;
    DataError for weights that are missing, unsafe or of another architecture.
    """
    import timm  # here and below: seconds that a command which builds no model does not need
    from timm.models import is_model_in_modules

    if name.startswith(OPEN_CLIP):
        from .open_clip_towers import build_tower  # 1 s that the others do not need

        return build_tower(name, image_size, weights_file, pretrained, pad_images, architecture)
    timm_name, overrides = ALIASES.get(name, (name, {}))
    _check_name(name, timm_name, names)
    options: dict[str, Any] = {"num_classes": 0} | overrides | architecture
    takes_tokens = is_model_in_modules(timm_name, TOKEN_MODULES)
    if not takes_tokens:
        _require_options(name, timm_name, architecture)
    if takes_tokens:
        options |= _token_grid(name, timm_name, options, image_size, pad_images)
    elif (published := timm.get_pretrained_cfg(timm_name)) is not None and published.fixed_input_size:
        options |= _fixed_size(name, timm_name, options, image_size, published.input_size[1:])
    trunk = _create(name, timm_name, options, pretrained=bool(pretrained) and weights_file is None)
    if not takes_tokens and "img_size" not in options:
        whole_patches(name, _patch(trunk), image_size, None)
    if last_stride == 1 and is_model_in_modules(timm_name, ["resnet"]):
        _remove_last_stride(trunk, name)
    if weights_file is not None:
        load_weights(trunk, weights_file, name)
    elif pretrained is None:
        announce_random_weights(name)
    return Backbone(trunk, takes_tokens)


def announce_random_weights(name: str) -> None:
    """Say so where nobody asked for them."""
    logger.warning(
        "%s starts from random weights: set method.weights_file to a local file, method.pretrained=true to "
        "download them, or method.pretrained=false if random weights are meant.",
        name,
    )


def _check_name(name: str, timm_name: str, names: Iterable[str]) -> None:
    import timm

    architecture, _, tag = timm_name.partition(".")
    if not timm.is_model(architecture):
        hint = did_you_mean(name, names) or did_you_mean(name, timm.list_models())
        raise UsageError(f"Unknown method.backbone={name}.{hint} Names: {', '.join(names)}, or any of timm's models.")
    tagged = timm.list_models(f"{architecture}.*", pretrained=True)
    if tag and timm_name not in tagged:
        raise UsageError(f"method.backbone={name} names weights timm does not know: choose {' or '.join(tagged)}.")


def _require_options(name: str, timm_name: str, architecture: Mapping[str, Any]) -> None:
    """Raise UsageError where the model does not take some of `architecture`, each of which is tried alone."""
    import timm

    unknown = []
    for option, value in architecture.items():
        try:
            with torch.device("meta"):
                timm.create_model(timm_name, **{option: value})
        except TypeError:
            unknown.append(option)
        except (ValueError, AssertionError, RuntimeError):
            pass  # known, and refused for its value where everything is put together
    if unknown:
        raise UsageError(
            f"method.backbone={name} has no {', '.join(unknown)} to choose: set "
            f"{' '.join(f'method.{option}=null' for option in unknown)}."
        )


def _patch_convolutions(trunk: nn.Module) -> list[nn.Conv2d]:
    """Those that cut the image into patches side by side, without padding: what is over at an edge, they drop."""
    return [
        layer
        for layer in trunk.modules()
        if isinstance(layer, nn.Conv2d)
        and layer.in_channels == 3
        and layer.padding in ("valid", (0, 0))
        and max(layer.stride) > 1
        and all(kernel <= stride for kernel, stride in zip(layer.kernel_size, layer.stride, strict=True))
    ]


def _patch(trunk: Any, also: Any = 1) -> tuple[int, int]:
    """Height and width that the image has to be a multiple of lest pixels are dropped; 1 where there are no patches.

    `also`: side or sides of a patch that are known otherwise.
    """
    from timm.layers.helpers import to_2tuple

    sides = [to_2tuple(also), *(layer.stride for layer in _patch_convolutions(trunk))]
    return math.lcm(*(height for height, _ in sides)), math.lcm(*(width for _, width in sides))


def _refuse_rest(convolution: Any, images: tuple[Tensor]) -> None:
    """Hook: raise ValueError where images, perhaps resized by the model itself, do not divide into patches."""
    if any(size % stride for size, stride in zip(images[0].shape[2:], convolution.stride, strict=True)):
        raise ValueError("pixels beyond the last whole patch would be dropped")


def _token_grid(
    name: str, timm_name: str, options: dict[str, Any], image_size: tuple[int, int], pad_images: bool
) -> dict[str, Any]:
    """timm's options for a transformer on images of `image_size`, which must hold whole patches or be padded."""
    with torch.device("meta"):
        trunk = _create(name, timm_name, options, pretrained=False)
    heads = trunk.blocks[0].attn.num_heads
    step = heads * (4 if getattr(trunk, "rope", None) is not None else 1)  # rotation: pairs of numbers for either axis
    if trunk.embed_dim % step:
        raise UsageError(
            f"method.embed_dim={trunk.embed_dim} does not suit method.num_heads={heads}: it should be a multiple of "
            f"{step}, such as {-(-trunk.embed_dim // step) * step}."
        )
    size = whole_patches(name, trunk.patch_embed.patch_size, image_size, pad_images)
    return {"img_size": size} | ({"dynamic_img_size": True, "dynamic_img_pad": True} if size != image_size else {})


def whole_patches(
    name: str, patch: tuple[int, int], image_size: tuple[int, int], pad_images: bool | None
) -> tuple[int, int]:
    """`image_size`, which must divide into patches, or the next larger size that does where images are to be padded.

    `pad_images` None: they cannot be. Raises UsageError with the nearest sizes, since a patch embedding would drop the
    pixels beyond the last whole patch.
    """
    smaller = (image_size[0] // patch[0] * patch[0], image_size[1] // patch[1] * patch[1])
    larger = (math.ceil(image_size[0] / patch[0]) * patch[0], math.ceil(image_size[1] / patch[1]) * patch[1])
    if smaller == image_size or pad_images:
        return larger
    sizes = " or ".join(f"{height}×{width}" for height, width in (smaller, larger) if height and width)
    raise UsageError(
        f"Images of {image_size[0]}×{image_size[1]} (image.height, image.width) do not divide into {name}'s patches of "
        f"{patch[0]}×{patch[1]} pixels: use {sizes}{'' if pad_images is None else ', or method.pad_images=true'}."
    )


def _fixed_size(
    name: str, timm_name: str, options: dict[str, Any], image_size: tuple[int, int], own: tuple[int, ...]
) -> dict[str, Any]:
    """timm's options for another model that is built for one size, such as Swin or BEiT: tried out without weights.

    `own`: the size of its published weights.
    """
    import timm

    sized: dict[str, Any] = {"img_size": image_size}
    try:
        with torch.device("meta"):
            trunk: Any = timm.create_model(timm_name, **options, **sized).eval()
            known = getattr(getattr(trunk, "patch_embed", None), "patch_size", 1)
            whole_patches(name, _patch(trunk, known), image_size, None)
            for convolution in _patch_convolutions(trunk):
                convolution.register_forward_pre_hook(_refuse_rest)
            trunk(torch.empty(1, 3, *image_size))
    except (TypeError, ValueError, AssertionError, RuntimeError):
        if own == image_size:
            return {}
        raise UsageError(
            f"{name} is built for images of {own[0]}×{own[1]} and does not take {image_size[0]}×{image_size[1]}: set "
            f"image.height={own[0]} and image.width={own[1]}, or choose another method.backbone."
        ) from None
    return sized


def _create(name: str, timm_name: str, options: dict[str, Any], *, pretrained: bool) -> Any:
    import timm

    try:
        return timm.create_model(timm_name, pretrained=pretrained, **options)
    except TypeError as error:
        raise UsageError(f"method.backbone={name} does not have one of the options given for it ({error}).") from None
    except OSError as error:
        raise DataError(
            f"The weights of {name} cannot be downloaded ({str(error).partition('.')[0]}): set method.weights_file to "
            "a local copy, or method.pretrained=false."
        ) from None
    except RuntimeError as error:
        if not pretrained:
            raise
        raise UsageError(
            f"timm has no weights that fit method.backbone={name} with these options "
            f"({str(error).partition(chr(10))[0]}): remove method.patch_size, embed_dim, depth and num_heads, or set "
            "method.pretrained=false."
        ) from None


def _remove_last_stride(trunk: Any, name: str) -> None:
    # By hand: timm's output_stride=16 would dilate the last stage, which pretrained weights were not made for.
    first = trunk.layer4[0]
    layers = [module for module in first.modules() if not list(module.children())]
    strided = [layer for layer in layers if getattr(layer, "stride", 1) in (2, (2, 2))]
    if not all(isinstance(layer, nn.Conv2d) for layer in strided):
        raise UsageError(f"{name} pools in its last stage: set method.last_stride=2 for it.")
    for convolution in strided:
        convolution.stride = (1, 1)
