"""DIFFER: identity features disentangled from clothes and hair by caption features (Liang and Rawat, CVPR 2025).

Paper: Xin Liang, Yogesh S. Rawat, "DIFFER: Disentangling Identity Features via Semantic Cues for Clothes-Changing
Person Re-ID", CVPR 2025, arXiv 2503.22912. Official code: xliangp/DIFFER, commit 67acb5d (2025-11-19).

One feature f = LN(CLS) of EVA02-CLIP-L serves four terms; f alone is used at test. With y the person, t⁰ the caption
feature of what lasts (biometrics), tᵏ those of what does not (hairstyle, clothing, …), N the L2 normalisation, R the
identity with gradient -α (the reversal), τ the temperature, and the numbering ours:

    (1) identity       cross entropy of W f on y
    (2) triplet        batch-hard with soft margin on f
    (3) biometric      InfoNCE of N(W_b f) against N(t⁰), each image's own caption being the positive
    (4) non_biometric  Σ_k InfoNCE of N(W_k R(f)) against N(tᵏ): W_k learns to find the factor in f, f unlearns it
    (5) tokens         x + p + s·E[camera]: a learned embedding of the camera on every token of the transformer

What differs from the released code is in `quirks`; `released_code` restores it. Written from a description of paper and
code and tested against numbers that the official code produced (tests/golden/differ).
"""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self, cast

import torch
import torch.nn.functional as F
from pydantic import Field, NonNegativeFloat, PositiveInt, field_validator, model_validator
from torch import Tensor, nn

from datasets.captions import ASPECTS
from datasets.config import tune
from datasets.errors import UsageError, did_you_mean

from . import METHODS
from .backbones import BackboneConfig
from .base import Batch, Facts, Loaded, Method, MethodConfig, Weights
from .differ_checkpoints import CAMERAS, read
from .layers import ReversedHeads, classifier, projection
from .losses import batch_hard_triplet, image_text_contrastive
from .weights import fit_weights

BIOMETRIC = "biometrics"
"""The aspect of a caption that lasts: t⁰."""


class DifferWeights(Weights):
    identity: float = tune(1.0, 0.05, 5.0, log=True)
    """Cross entropy on the person."""
    triplet: float = tune(1.0, 0.05, 5.0, log=True)
    """Batch-hard triplet."""
    biometric: float = tune(1.0, 0.05, 5.0, log=True)
    """Contrast with the caption of what lasts."""
    non_biometric: float = tune(1.0, 0.05, 5.0, log=True)
    """Reversed contrast with the captions of what does not last, summed over the factors."""


class DifferConfig(BackboneConfig):
    backbone: str = "eva02_clip_l"
    """An alias (eva02_clip_l, eva02_clip_b, eva02_clip_tiny) or any timm transformer."""
    weights: DifferWeights = DifferWeights()  # pyright: ignore[reportIncompatibleVariableOverride] (frozen)
    non_biometric: tuple[str, ...] = ("hairstyle", "clothing")
    """Caption aspects that the feature has to unlearn."""
    summary_text: bool = False
    """true: the biometric text is the summary of the person, not the caption of the image."""
    projection: Literal["linear", "mlp"] = "linear"
    """Head between the feature and the text space."""
    projection_hidden: PositiveInt = 512
    """Hidden width of the mlp projection."""
    reversal_bias: bool = False
    """Bias in the linear projections behind the reversal."""
    reversal_strength: float = tune(1.0, 0.05, 5.0, log=True)
    """α: factor of the reversed gradient."""
    temperature: Annotated[float, Field(gt=0)] = tune(1.0, 0.05, 1.0, log=True)
    """τ of both contrastive terms."""
    multi_positive: bool = False
    """true: in the biometric term the captions of all images of a person are positives."""
    triplet_margin: NonNegativeFloat | None = None
    """Margin of the triplet; unset: soft margin."""
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the identity target spread over all persons."""
    camera_strength: float = tune(3.0, 0.0, 4.0)
    """s: factor of the camera embedding; 0 leaves it out."""
    unknown_camera: Literal["mean", "off"] = "mean"
    """Embedding of a camera not seen in training: the mean of the known ones, or none."""
    final_norm: Literal["reset", "load"] = "reset"
    """Last LayerNorm: started afresh at (1, 0), or from the pretrained weights."""
    released_code: bool = False
    """true: compute what the released code computes (see the quirks)."""

    @field_validator("non_biometric")
    @classmethod
    def _known_aspects(cls, aspects: tuple[str, ...]) -> tuple[str, ...]:
        for aspect in aspects:
            if aspect not in ASPECTS:
                raise ValueError(f"unknown aspect {aspect}.{did_you_mean(aspect, ASPECTS)} Known: {', '.join(ASPECTS)}")
        if len(set(aspects)) < len(aspects):
            raise ValueError("an aspect is named twice: name each once, method.weights.non_biometric is their weight")
        return aspects

    @model_validator(mode="after")
    def _factors_to_unlearn(self) -> Self:
        if self.weights.non_biometric > 0 and not self.non_biometric:
            raise ValueError("method.non_biometric names no aspect: name one, or set method.weights.non_biometric=0")
        if self.weights.non_biometric > 0 and self.weights.biometric > 0 and BIOMETRIC in self.non_biometric:
            raise ValueError(
                f"method.non_biometric unlearns {BIOMETRIC}, which method.weights.biometric teaches: leave it out, or "
                "set method.weights.biometric=0"
            )
        return self


# The paper's settings as its configuration files give them. `train.accumulate` 2: it trains on two GPUs.
COMMON: dict[str, Any] = {
    "method.pretrained": True,
    "image.height": 224,
    "image.width": 224,
    "image.interpolation": "bilinear",
    "augment.flip": 0.5,
    "augment.zoom_crop": 0.5,
    "augment.pad_crop": 0,
    "augment.erase": 0.5,
    "augment.erase_fill": (0.4914, 0.4822, 0.4465),
    "sampler.order": "reshuffled",
    "train.epochs": 60,
    "train.precision": "fp16",
    "train.accumulate": 2,
    "optimiser.name": "sgd",
    "optimiser.lr": 2e-6,
    "optimiser.momentum": 0.9,
    "optimiser.weight_decay": 0.05,
    "optimiser.bias_lr_factor": 2.0,
    "schedule.name": "unshifted_cosine",
    "schedule.warmup_epochs": 20,
    "schedule.warmup_lr": 7.8125e-7,
    "schedule.min_factor": 0.1,
    "evaluate.flip": False,
    "evaluate.every": 1,
}
LTCC = COMMON | {
    "method.non_biometric": ("hairstyle", "clothing"),
    "captions.text_model": "EVA02-CLIP-B-16",
    "sampler.batch_size": 8,
    "sampler.instances": 2,
}
PRCC = COMMON | {
    "method.non_biometric": ("hairstyle",),
    "method.summary_text": True,
    "captions.summary": True,
    "captions.text_model": "EVA02-CLIP-L-14",
    "sampler.batch_size": 16,
    "sampler.instances": 4,
}
CELEB_REID_LIGHT = COMMON | {
    "method.non_biometric": ("clothing",),
    "captions.text_model": "EVA02-CLIP-bigE-14",
    "sampler.batch_size": 8,
    "sampler.instances": 2,
    "optimiser.lr": 2e-5,
}
# Not the paper's: the same method from random weights, small enough for two CPU cores.
SYNTHETIC: dict[str, Any] = {
    "method.backbone": "eva02_clip_tiny",
    "method.pretrained": False,
    "method.camera_strength": 1.0,
    "method.temperature": 0.1,
    "method.reversal_strength": 0.1,
    "method.weights.triplet": 0.1,
    "image.height": 64,
    "image.width": 32,
    "augment.erase": 0.0,
    "captions.text_model": "hashing-128",
    "sampler.batch_size": 32,
    "sampler.instances": 4,
    "train.epochs": 16,
    "train.precision": "fp32",
    "optimiser.name": "adamw",
    "optimiser.lr": 1e-3,
    "optimiser.weight_decay": 0.05,
    "optimiser.decay_vectors": False,
    "schedule.name": "cosine",
    "schedule.warmup_epochs": 2,
    "schedule.min_factor": 0.01,
    "evaluate.initial": True,
}


@METHODS.register("differ")
class Differ(Method):
    """EVA02 with camera embeddings; identity, triplet, and contrast with captions, reversed for what does not last."""

    Config: ClassVar[type[MethodConfig]] = DifferConfig
    title = "DIFFER (Liang and Rawat, CVPR 2025)"
    needs = frozenset({"caption"})
    recipes = {
        "ltcc": LTCC,
        "prcc": PRCC,
        "celeb_reid_light": CELEB_REID_LIGHT,
        "synthetic": SYNTHETIC,
        "*": LTCC,
    }
    ablations = {
        "baseline": {"method.weights.biometric": 0.0, "method.weights.non_biometric": 0.0},
        "biometric": {"method.weights.non_biometric": 0.0},
        "non_biometric": {"method.weights.biometric": 0.0},
        "full": {},
        "no_camera": {"method.camera_strength": 0.0},
        "camera_1": {"method.camera_strength": 1.0},
        "mlp": {"method.projection": "mlp"},
        "loaded_norm": {"method.final_norm": "load"},
        "released_code": {
            "method.released_code": True,
            "sampler.order": "official",
            "train.precision": "fp16",
            "select.rule": "oracle",
        },
    }
    quirks = (
        (
            "(4) contrasts all B images per factor, as the first public code did",
            "since 2025-08 it reads the batch axis for the factor axis: only the first k images are unlearned, k being "
            "the number of factors, and for k = 2 half of the targets are wrong",
            "method.released_code",
        ),
        (
            "hardest positives and negatives by masking",
            "by reshaping, which mixes the rows of different images when a person is twice in a batch",
            "method.released_code",
        ),
        (
            "heads and losses in float32",
            "logits, projections and contrastive terms in the precision of autocast (fp16)",
            "method.released_code",
        ),
        ("batches are drawn anew every epoch", "every epoch repeats the batches of the first", "sampler.order"),
        (
            "a configuration without captions trains identity and triplet",
            "every set of terms without both contrastive ones crashes, the paper's baseline too",
            "method.weights",
        ),
        ("final LayerNorm starts at (1, 0), as released", "the pretrained one is lost on loading", "method.final_norm"),
        (
            "camera embedding × 3; an unseen camera gets the mean embedding",
            "× 3 now, × 1 in the first public code; 0 crashes, and an unseen camera cannot be embedded",
            "method.camera_strength, method.unknown_camera",
        ),
        (
            "projections behind the reversal without bias",
            "without bias, but the released LTCC weights hold one",
            "method.reversal_bias",
        ),
        (
            "each image's own caption is its positive",
            "the same, also where one summary serves all images of a person, which bounds the loss from below",
            "method.multi_positive",
        ),
        ("temperature 1, no learned scale", "the same: scale parameters exist but are ignored", "method.temperature"),
        (
            "new heads learn at the backbone's rate of 2e-6, as released",
            "the same: they hardly move, and at temperature 1 the contrastive terms stay near chance",
            "optimiser.head_lr_factor, method.temperature",
        ),
        (
            "erasing fills with (0.4914, 0.4822, 0.4465) after normalisation, which is not the mean colour",
            "the same; the numbers are meant for pixels before normalisation",
            "augment.erase_fill",
        ),
        (
            "features are scaled to unit length at test, or not, as configured",
            "always: its TEST.FEAT_NORM 'no' counts as true, since it is a text",
            "evaluate.normalise",
        ),
        ("the epoch is chosen by select.rule", "the best epoch on the test set is reported", "select.rule"),
    )

    config: DifferConfig

    def __init__(self, config: DifferConfig, facts: Facts):
        super().__init__(config, facts)
        weights = config.weights
        self.backbone = config.build(facts.height, facts.width)
        width = self.backbone.width
        if config.final_norm == "reset" and self.backbone.takes_tokens:
            self.backbone.reset_final_norm()

        self.camera_embedding: nn.Parameter | None = None
        if config.camera_strength > 0 and facts.cameras > 0:
            if not self.backbone.takes_tokens:
                raise UsageError(
                    f"method.backbone={config.backbone} has no tokens that could carry a camera embedding: "
                    "set method.camera_strength=0."
                )
            self.camera_embedding = nn.Parameter(torch.empty(facts.cameras, width))  # E
            nn.init.normal_(self.camera_embedding, std=0.02)

        def to_text(bias: bool) -> nn.Module:
            kind, hidden = config.projection, config.projection_hidden
            return projection(width, facts.text_width, kind, hidden=hidden, bias=bias)

        self.heads = nn.ModuleDict()  # by the name of the term; a term switched off has none
        if weights.identity > 0:
            self.heads["identity"] = classifier(width, facts.persons, std=2e-5)  # W
        if weights.biometric > 0:
            self.heads["biometric"] = to_text(bias=True)  # W_b
        if weights.non_biometric > 0:
            factors = [to_text(config.reversal_bias) for _ in config.non_biometric]  # W_k
            self.heads["non_biometric"] = ReversedHeads(factors, config.reversal_strength)

    @classmethod
    def inputs(cls, config: MethodConfig) -> frozenset[str]:
        weights = cast(DifferConfig, config).weights
        uses_text = weights.biometric > 0 or weights.non_biometric > 0
        return cls.needs if uses_text else frozenset()

    @classmethod
    def from_official(cls, state: Mapping[str, Tensor], config: MethodConfig, height: int, width: int) -> Loaded:
        """Released weights of the encoder; the heads serve training alone."""
        state, sizes = read(state)
        unused_terms = DifferWeights(identity=0, triplet=0, biometric=0, non_biometric=0)
        update: dict[str, Any] = sizes.backbone | {"weights": unused_terms}
        if not sizes.cameras:
            update["camera_strength"] = 0.0
        facts = Facts(sizes.persons, max(sizes.cameras, 1), 0, height, width, text_width=sizes.text_width)
        method = cls(cast(DifferConfig, config).model_copy(update=update), facts)
        ignored = fit_weights(method.backbone.trunk, state, "The checkpoint", method.config.backbone)
        if method.camera_embedding is None:
            return Loaded(method, tuple(sorted(ignored)))
        method.camera_embedding.data.copy_(state[CAMERAS].reshape(sizes.cameras, -1))
        remark = (
            f"Camera embeddings are added {method.config.camera_strength:g}-fold, as in the present code; the first "
            "public one did so once (method.camera_strength=1; 0 leaves them out). A camera beyond the known ones gets "
            f"method.unknown_camera={method.config.unknown_camera}."
        )
        return Loaded(method, tuple(sorted(set(ignored) - {CAMERAS})), remarks=(remark,))

    def embed(self, images: Tensor, cameras: Tensor | None = None, **extras: Tensor) -> Tensor:
        """[B, 3, H, W], [B] → f [B, W]."""
        if cameras is None:
            cameras = torch.full((len(images),), -1, device=images.device)
        return self.backbone(images, self._camera_offset(cameras))  # (5)

    def _camera_offset(self, cameras: Tensor) -> Tensor | None:
        """[B] training index, -1 where unknown → s·E[camera] [B, 1, W]."""
        if self.camera_embedding is None:
            return None
        mean = self.camera_embedding.mean(dim=0, keepdim=True)
        unknown = mean if self.config.unknown_camera == "mean" else torch.zeros_like(mean)
        rows = torch.cat([self.camera_embedding, unknown])  # [cameras+1, W]: index -1 is the last row
        return self.config.camera_strength * rows[cameras].unsqueeze(1)

    def losses(self, batch: Batch, phase: str = "model") -> dict[str, Tensor]:
        features = self.observe(self.embed(batch.images, batch.camera))
        full_precision = torch.autocast(features.device.type, enabled=False)
        if self.config.released_code:
            projected = self._project(features)  # in the precision of the autocast around this call
            with full_precision:
                return self._terms(features, projected, batch)
        with full_precision:
            features = features.float()
            return self._terms(features, self._project(features), batch)

    def _project(self, features: Tensor) -> dict[str, Tensor]:
        """f [B, W] → identity [B, persons], biometric [B, D], non_biometric [B, factors, D]."""
        return {name: head(features) for name, head in self.heads.items()}

    def _terms(self, features: Tensor, projected: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        config, terms = self.config, {}
        if "identity" in projected:  # (1)
            logits = projected["identity"]
            terms["identity"] = F.cross_entropy(logits, batch.person, label_smoothing=config.label_smoothing)
        if config.weights.triplet > 0:  # (2)
            terms["triplet"] = batch_hard_triplet(
                features, batch.person, config.triplet_margin, reshaped=config.released_code
            )
        if "biometric" in projected:  # (3)
            positives = batch.person if config.multi_positive else None
            terms["biometric"] = image_text_contrastive(
                projected["biometric"], self._biometric_text(batch), config.temperature, positives
            )
        if "non_biometric" in projected:  # (4)
            contrast = released_factor_contrast if config.released_code else factor_contrast
            texts = _captions(batch)[:, [ASPECTS.index(aspect) for aspect in config.non_biometric]]
            terms["non_biometric"] = contrast(projected["non_biometric"], texts, config.temperature)
        return terms

    def _biometric_text(self, batch: Batch) -> Tensor:
        """t⁰ [B, D]."""
        if not self.config.summary_text:
            return _captions(batch)[:, ASPECTS.index(BIOMETRIC)]
        if batch.caption_summary is None:
            raise UsageError("method.summary_text=true needs captions.summary=true: set both, or both to false.")
        return batch.caption_summary


def factor_contrast(projected: Tensor, texts: Tensor, temperature: float = 1.0) -> Tensor:
    """(4): per factor k the InfoNCE of [:, k] of `projected` against [:, k] of `texts` (both [B, F, D]), summed."""
    pairs = zip(projected.unbind(1), texts.unbind(1), strict=True)
    return torch.stack([image_text_contrastive(image, text, temperature) for image, text in pairs]).sum()


def released_factor_contrast(projected: Tensor, texts: Tensor, temperature: float = 1.0) -> Tensor:
    """What the released code computes for (4): image k where factor k is meant.

    The F projections of image k are contrasted with the factor-k texts of the batch, and the j-th is to find the text
    of image j; images F … B-1 have no part in it.
    """
    factors = projected.shape[1]
    own = torch.arange(factors, device=projected.device)
    terms = []
    for k in range(factors):
        text = F.normalize(texts[:, k].to(projected.dtype), dim=-1)  # [B, D]
        similarity = F.normalize(projected[k], dim=-1) @ text.T / temperature  # [F, B]
        terms.append(F.cross_entropy(similarity, own))
    return torch.stack(terms).sum()


def _captions(batch: Batch) -> Tensor:
    if batch.caption is None:
        raise UsageError(
            "DIFFER's biometric and non_biometric terms need captions: set method.weights.biometric=0 and "
            "method.weights.non_biometric=0 to train without."
        )
    return batch.caption
