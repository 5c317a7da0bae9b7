"""Zero-shot: a pretrained image tower as it is, compared by cosine. Nothing is trained.

No paper of its own: what a tower knows of people before it has seen any of them is the floor under every method that
starts from it, and the first thing to measure of a new tower. Without pretrained weights it is the floor of random
features, which on the synthetic world is all there is to have.

    test      the tower's pooled feature f(x), of the image alone and not of its mirror image, compared by cosine

The image's size, mean and standard deviation are the experiment's (image.*). The recipe has those of the default tower,
each ablation row those of its own; a tower that was trained with others than the configured ones is announced.
"""

import logging
from typing import Any, ClassVar

from torch import Tensor

from . import METHODS
from .backbones import ALIASES, ARCHITECTURE, OPEN_CLIP, BackboneConfig
from .base import Facts, Method, MethodConfig

logger = logging.getLogger("ccreid")

Triple = tuple[float, float, float]

IMAGENET: dict[str, Any] = {"image.mean": (0.485, 0.456, 0.406), "image.std": (0.229, 0.224, 0.225)}
CLIP: dict[str, Any] = {
    "image.mean": (0.48145466, 0.4578275, 0.40821073),
    "image.std": (0.26862954, 0.26130258, 0.27577711),
}
HALF: dict[str, Any] = {"image.mean": (0.5, 0.5, 0.5), "image.std": (0.5, 0.5, 0.5)}


class ZeroShotConfig(BackboneConfig):
    backbone: str = "open_clip:ViT-B-16-quickgelu.openai"
    """The tower: open_clip:NAME.TAG, one of our short names (eva02_clip_l, resnet50, …), or any timm model name."""
    pretrained: bool | None = True
    """true: timm or open_clip downloads the weights; false: random weights."""


ZERO_SHOT: dict[str, Any] = CLIP | {
    "image.height": 256,
    "image.width": 128,
    "image.interpolation": "bicubic",
    "train.epochs": 0,
    "select.rule": "last",
    "evaluate.flip": False,
}
OWN_SIZES: dict[str, Any] = dict.fromkeys((f"method.{size}" for size in ARCHITECTURE), None)
"""The architecture as it was published: the synthetic recipe's sizes are those of its own small tower."""
# A small tower of the same kind from random weights: the floor of random features.
SYNTHETIC = ZERO_SHOT | {
    "method.backbone": "open_clip:ViT-B-16-quickgelu",
    "method.pretrained": False,
    "method.patch_size": 8,
    "method.embed_dim": 128,
    "method.depth": 4,
    "method.num_heads": 4,
    "image.height": 64,
    "image.width": 32,
}


@METHODS.register("zeroshot")
class ZeroShot(Method):
    """A tower and nothing else."""

    Config: ClassVar[type[MethodConfig]] = ZeroShotConfig
    title = "A pretrained image tower without training"
    recipes = {"synthetic": SYNTHETIC, "*": ZERO_SHOT}
    ablations = {
        "full": {},
        "eva02_clip_l": OWN_SIZES | {"method.backbone": "eva02_clip_l", "image.height": 224, "image.width": 224},
        "clip_laion": OWN_SIZES | {"method.backbone": "open_clip:ViT-B-16.laion2b_s34b_b88k"},
        "siglip2": OWN_SIZES | {"method.backbone": "open_clip:ViT-B-16-SigLIP2.webli"} | HALF,
        "dinov2": OWN_SIZES
        | {"method.backbone": "vit_base_patch14_dinov2.lvd142m", "image.height": 252, "image.width": 126}
        | IMAGENET,
        "dinov3": OWN_SIZES | {"method.backbone": "vit_base_patch16_dinov3.lvd1689m"} | IMAGENET,
        "imagenet": OWN_SIZES | {"method.backbone": "resnet50", "image.interpolation": "bilinear"} | IMAGENET,
    }
    phases: ClassVar[tuple[str, ...]] = ()  # no optimiser: `losses` is never called

    config: ZeroShotConfig

    def __init__(self, config: ZeroShotConfig, facts: Facts):
        super().__init__(config, facts)
        self.backbone = config.build(facts.height, facts.width).requires_grad_(False)
        own = normalisation_of(config.backbone)
        if (config.pretrained or config.weights_file) and own not in (None, (facts.mean, facts.std)):
            logger.warning(
                "%s was trained with image.mean=%s image.std=%s, the experiment has %s and %s.",
                config.backbone,
                *(list(values) for values in (*own, facts.mean, facts.std)),
            )

    def embed(self, images: Tensor, cameras: Tensor | None = None, **extras: Tensor) -> Tensor:
        """[B, 3, H, W] → f [B, W]."""
        return self.backbone(images)


def normalisation_of(name: str) -> tuple[Triple, Triple] | None:
    """Mean and standard deviation of the images that the tower's published weights were trained on, where known."""
    if name.startswith(OPEN_CLIP):
        import open_clip  # 1 s that the others do not need

        model, _, tag = name.removeprefix(OPEN_CLIP).partition(".")
        weights = open_clip.get_pretrained_cfg(model, tag)
        return (weights["mean"], weights["std"]) if weights else None
    import timm

    published: Any = timm.get_pretrained_cfg(ALIASES.get(name, (name, {}))[0])
    return None if published is None else (published.mean, published.std)
