"""IFD: a network that sees the person without clothes tells another where to look (Xu et al., ICASSP 2025).

Paper: Haoxuan Xu, Bo Li, Guanglin Niu, "Identity-aware Feature Decoupling Learning for Clothing-change Person
Re-identification", ICASSP 2025, arXiv 2501.05851v1. There is no official code, and the paper has no section on its
implementation: what it leaves open is an option here, with the choices listed in `quirks`.

The main stream g_m sees the image I, the attention stream g_a the same image M with its clothes blacked out; both are
ResNets with weights of their own. ψ is 1 on pixels of clothing, 0 elsewhere; s_ij = f_c^i · f_c^j / τ; P_i are the
other images of i's person in the batch, N_i those of other people. Numbering as in the paper:

    (1) W_I   = sigmoid(conv([max over channels of F_a ; mean over channels of F_a])),  F_a = g_a(M)
    (2) F_rg  = W_I · F_g,  F_g = g_m(I)
    (3) F_c   = W_c · F_rg,  W_c = ψ at the maps' size
    (4) L_CCL = -mean over i of 1/|P_i| Σ_{p ∈ P_i} w_p log(e^{s_ip} / (e^{s_ip} + Σ_{j ∈ N_i} e^{s_ij}))
    (5) w_p   = 1/T where p and i wear different clothes, else 1
    (6) L     = L_ID^m + L_ID^a + λ L_CCL,  L_ID^m and L_ID^a: cross entropy on f_rg and f_a

f_rg, f_a and f_c are batch norm and average pooling of F_rg, F_a and F_c. f_rg is compared at test, where the attention
stream works too: query and gallery need parsing masks. The attention stream trains alone at first, then both together.
"""

import logging
from typing import Annotated, Any, ClassVar, Literal, Self, cast

import torch
import torch.nn.functional as F
from pydantic import Field, NonNegativeInt, model_validator
from torch import Tensor, nn

from datasets.config import tune
from datasets.errors import UsageError
from datasets.masks import LabelSetName, clothing_table

from . import METHODS
from .backbones import Backbone, BackboneConfig
from .base import Batch, Facts, Method, MethodConfig, Weights
from .layers import PooledHead, classifier
from .losses import mean_over_positives, supervised_contrastive, without_self
from .recipes import RESNET, TINY_RESNET

logger = logging.getLogger("ccreid")

RESIZE = {"area": "area", "nearest": "nearest-exact", "bilinear": "bilinear"}
"""Names of ours → torch's. Area is the mean over a cell, nearest the pixel at its centre."""


class IFDWeights(Weights):
    identity: float = tune(1.0, 0.05, 5.0, log=True)
    """Cross entropy on the person, main stream."""
    attention: float = tune(1.0, 0.05, 5.0, log=True)
    """Cross entropy on the person, attention stream."""
    contrastive: float = tune(1.0, 0.05, 5.0, log=True)
    """λ: contrast of the features of clothing regions."""


class IFDConfig(BackboneConfig):
    weights: IFDWeights = IFDWeights()  # pyright: ignore[reportIncompatibleVariableOverride] (frozen)
    attention: bool = True
    """Whether there is an attention stream (IKT); false: W_I = 1, and no masks at test."""
    attention_epochs: NonNegativeInt = 20
    """Epochs in which the attention stream trains alone; the schedule should restart there (schedule.restart_after)."""
    freeze_attention: bool = False
    """true: after these epochs the attention stream stays as it is, its running statistics too."""
    detach_attention: bool = False
    """true: the attention stream learns from its own identity term alone, not through W_I (whose convolution does)."""
    attention_kernel: Literal[3, 5, 7] = 7
    """Side of the convolution in (1)."""
    masks: bool = True
    """false: without parsing masks, as another method: the attention stream sees the whole image, and W_c = 1."""
    mask_body: bool = False
    """true: arms and legs are blacked out for the attention stream as well; ψ is clothing alone in any case."""
    mask_fill: Literal["black", "mean"] = "black"
    """Colour of what is blacked out; mean: that which is 0 after normalisation."""
    resize: Literal["area", "nearest", "bilinear"] = "area"
    """From ψ to W_c; area: the share of clothing in each cell; bilinear: without antialiasing."""
    norm: Literal["map", "vector"] = "map"
    """map: batch norm of the map, then average pooling; vector: pooling, then batch norm of the vector."""
    clothing_pooling: Literal["all", "masked"] = "all"
    """f_c as a mean over all cells, zeros too, or over the cells of F_rg weighted by W_c."""
    contrast: Literal["clothing", "supcon"] = "clothing"
    """clothing: (4); supcon: supervised contrastive learning (Khosla et al., NeurIPS 2020), which knows no clothes."""
    normalise: bool = True
    """Whether f_c is scaled to unit length before (4)."""
    self_positive: bool = False
    """true: P_i in (4) contains i itself."""
    temperature: Annotated[float, Field(gt=0)] = tune(0.1, 0.02, 1.0, log=True)
    """τ."""
    clothes_divisor: Annotated[float, Field(gt=0)] = tune(0.5, 0.1, 1.0, log=True)
    """T in (5): below 1 pairs in different clothes weigh more than pairs in the same."""
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Share of the identity targets spread over all persons."""
    test_feature: Literal["refined", "refined_and_attention"] = "refined"
    """f_rg, or f_rg and f_a, each scaled to unit length, one behind the other."""

    @model_validator(mode="after")
    def _something_to_train(self) -> Self:
        weights = self.weights
        if not weights.identity and not weights.contrastive:
            raise ValueError(
                "nothing trains the main stream: leave method.weights.identity or method.weights.contrastive above 0"
            )
        if not self.attention and self.attention_epochs:
            raise ValueError(
                "method.attention=false leaves nothing to train first: set method.attention_epochs=0 and the schedule"
            )
        if not weights.attention and self.attention_epochs:
            raise ValueError("method.weights.attention=0 leaves nothing to train first: set method.attention_epochs=0")
        if self.attention and self.freeze_attention and not self.attention_epochs:
            raise ValueError(
                "method.freeze_attention=true freezes an attention stream that method.attention_epochs=0 never trains: "
                "set one of them otherwise"
            )
        if self.attention and self.detach_attention and not weights.attention:
            raise ValueError(
                "method.detach_attention=true leaves the attention stream its own term alone: set "
                "method.weights.attention above 0"
            )
        if self.test_feature == "refined_and_attention" and not (self.attention and weights.attention):
            raise ValueError(
                "method.test_feature=refined_and_attention needs method.attention=true and method.weights.attention "
                "above 0"
            )
        return self


# The paper gives λ and the order of training. The rest is the recipe that the field shares (CAL's), with 20 epochs of
# the attention stream ahead of its 60.
CLOTHES_CHANGING: dict[str, Any] = RESNET | {
    "method.attention_epochs": 20,
    "augment.erase_fill": (0.4914, 0.4822, 0.4465),
    "augment.erase_masks": True,
    "sampler.kind": "outfits",
    "sampler.batch_size": 64,
    "sampler.instances": 8,
    "sampler.outfits": 4,
    "train.epochs": 80,
    "schedule.warmup_epochs": 10,
    "schedule.warmup_factor": 0.01,
    "schedule.milestones": (20, 40),
    "schedule.restart_after": 20,
}
# Small enough for two CPU cores, from random weights.
SYNTHETIC = (
    CLOTHES_CHANGING
    | TINY_RESNET
    | {
        "method.attention_epochs": 4,
        "method.weights.contrastive": 0.1,
        "augment.erase": 0.0,
        "sampler.batch_size": 32,
        "sampler.instances": 4,
        "train.epochs": 14,
        "optimiser.lr": 3e-3,
        "schedule.name": "cosine",
        "schedule.warmup_epochs": 2,
        "schedule.warmup_factor": 0.1,
        "schedule.restart_after": 4,
    }
)
MAIN_STREAM_ALONE: dict[str, Any] = {
    "method.attention": False,
    "method.attention_epochs": 0,
    "train.epochs": 60,  # as long as the main stream trains in the full model
    "schedule.restart_after": 0,
}


@METHODS.register("ifd")
class IFD(Method):
    """Two ResNets: attention from the image without clothes, identity from all of it, contrast of its clothing."""

    Config: ClassVar[type[MethodConfig]] = IFDConfig
    title = "IFD (Xu et al., ICASSP 2025)"
    needs = frozenset({"mask"})
    recipes = {
        "ltcc": CLOTHES_CHANGING,
        "prcc": CLOTHES_CHANGING,
        "synthetic": SYNTHETIC,
        "*": CLOTHES_CHANGING,
    }
    ablations = {
        "full": {},
        "baseline": MAIN_STREAM_ALONE | {"method.weights.contrastive": 0.0},
        "ikt": {"method.weights.contrastive": 0.0},
        "cbd": MAIN_STREAM_ALONE,
        "cl": {"method.contrast": "supcon"},
        "no_masks": {"method.masks": False},
    }
    compared_with = "the paper"
    quirks = (
        (
            "last stride 1, maps of 24 × 12; W_I by a 7 × 7 convolution",
            "not stated",
            "method.last_stride, method.attention_kernel",
        ),
        (
            "20 epochs of the attention stream, 60 of both at a rate that starts afresh; Adam 3.5e-4",
            "the order alone is stated",
            "method.attention_epochs, train.*, optimiser.*, schedule.*",
        ),
        (
            "both streams learn in the second stage, the attention stream through W_I too",
            "«jointly», «mutual learning»: whether a gradient is cut is not stated",
            "method.freeze_attention, method.detach_attention",
        ),
        (
            "w_p = 1/T for different clothes, T = 0.5, τ = 0.1",
            "the cases of (5) are misprinted, and no other reading prefers these pairs; T and τ are not stated",
            "method.clothes_divisor, method.temperature",
        ),
        ("f_c of unit length, i not in P_i", "not stated", "method.normalise, method.self_positive"),
        ("batch norm of maps, pooled over all cells", "«BN + GAP»", "method.norm, method.clothing_pooling"),
        ("W_c is the share of clothing in a cell", "ψ is resized", "method.resize"),
        (
            "what is worn or carried is black; hat, head and skin are kept",
            "«all the color information of body parts» goes; label set and categories are not stated",
            "method.mask_body, method.mask_fill, masks.label_set",
        ),
        ("label smoothing 0.1; f_rg at test", "not stated", "method.label_smoothing, method.test_feature"),
        ("not mirrored at test; where it is, the mask too", "not stated", "evaluate.flip"),
        ("an image without a mask stops the run", "not stated", "masks.missing"),
        ("8 images show up to 4 outfits", "«proportional» to the images of each", "sampler.instances, sampler.outfits"),
    )
    idle_parameters = True  # in the first stage the main stream

    config: IFDConfig
    concealed: Tensor
    """[256] 1 for labels that the attention stream must not see."""
    clothing: Tensor
    """[256] 1 for labels of clothing."""
    fill: Tensor
    """[3, 1, 1] colour of what is concealed, normalised."""

    def __init__(self, config: IFDConfig, facts: Facts):
        super().__init__(config, facts)
        weights = config.weights
        self.backbone = config.build(facts.height, facts.width)  # g_m
        _require_maps(self.backbone, config.backbone)
        width = self.backbone.width
        terms = {"identity": True, "attention": config.attention and weights.attention > 0}
        terms["contrastive"] = weights.contrastive > 0
        self.heads = nn.ModuleDict({term: PooledHead(width, config.norm) for term, used in terms.items() if used})
        self.classifiers = nn.ModuleDict()
        for term in ("identity", "attention"):
            if term in self.heads and getattr(weights, term) > 0:
                self.classifiers[term] = classifier(width, facts.persons, std=0.001, bias=False)
        self.attention_stream: Backbone | None = None
        if config.attention:
            self.attention_stream = config.build(facts.height, facts.width)  # g_a
            kernel = config.attention_kernel
            self.attention_convolution = nn.Conv2d(2, 1, kernel, padding=kernel // 2, bias=False)

        labels = cast(LabelSetName, facts.label_set)
        tables = {"concealed": clothing_table(labels, body=config.mask_body), "clothing": clothing_table(labels)}
        for name, table in tables.items():  # floats: a broadcast between processes may not know bool
            self.register_buffer(name, torch.from_numpy(table).float(), persistent=False)
        black = -torch.tensor(facts.mean) / torch.tensor(facts.std)  # (0 - mean) / std
        fill = black if config.mask_fill == "black" else torch.zeros(3)
        self.register_buffer("fill", fill.view(3, 1, 1), persistent=False)
        if not config.masks:
            logger.warning(
                "method.masks=false is another method than IFD: the attention stream sees clothes, and the contrast is "
                "one of whole images."
            )

    @classmethod
    def inputs(cls, config: MethodConfig) -> frozenset[str]:
        config = cast(IFDConfig, config)
        uses_masks = config.masks and (config.attention or config.weights.contrastive > 0)
        return cls.needs if uses_masks else frozenset()

    @classmethod
    def test_inputs(cls, config: MethodConfig) -> frozenset[str]:
        """Masks for the attention stream; the contrast is of the training."""
        config = cast(IFDConfig, config)
        return cls.needs if config.masks and config.attention else frozenset()

    @classmethod
    def complete_from(cls, config: MethodConfig) -> int:
        return 1 + cast(IFDConfig, config).attention_epochs

    @property
    def in_first_stage(self) -> bool:
        """Whether the attention stream trains alone, now."""
        return 0 < self.epoch <= self.config.attention_epochs

    @property
    def attention_is_frozen(self) -> bool:
        return self.config.freeze_attention and not self.in_first_stage

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        if self.attention_stream is not None and self.attention_is_frozen:
            self.attention_stream.eval()
        return self

    def phase_parameters(self, phase: str) -> Any:
        """Both streams are backbones: `optimiser.head_lr_factor` is for what lies outside them."""
        for name, parameter in self.named_parameters():
            yield (f"backbone.{name}" if name.startswith("attention_stream.") else name), parameter

    # --- from images to maps ---

    def _attention_maps(self, images: Tensor, masks: Tensor | None) -> Tensor | None:
        """[B, 3, H, W], [B, H, W] → F_a [B, C, h, w]; None without attention stream."""
        if self.attention_stream is None:
            return None
        if self.config.masks:
            images = torch.where(self._looked_up(self.concealed, masks) > 0, self.fill, images)  # M
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.attention_is_frozen):
            return self.attention_stream.trunk.forward_features(images)

    def _refined_maps(self, images: Tensor, attention: Tensor | None) -> Tensor:
        """[B, 3, H, W], F_a → F_rg [B, C, h, w]."""
        maps = self.backbone.trunk.forward_features(images)  # F_g
        if attention is None:
            return maps
        if self.config.detach_attention:
            attention = attention.detach()
        pooled = torch.cat([attention.amax(dim=1, keepdim=True), attention.mean(dim=1, keepdim=True)], dim=1)
        return torch.sigmoid(self.attention_convolution(pooled)) * maps  # (1), (2)

    def _looked_up(self, table: Tensor, masks: Tensor | None) -> Tensor:
        """`table` at each pixel's label: [B, 1, H, W]."""
        if masks is None:
            raise UsageError(
                "IFD needs the parsing mask of every image, at test too: give them, or train with method.masks=false."
            )
        return table[masks.long()].unsqueeze(1)

    # --- the contract ---

    def embed(self, images: Tensor, cameras: Tensor | None = None, **extras: Tensor) -> Tensor:
        """[B, 3, H, W], masks [B, H, W] → f_rg [B, C], or with f_a behind it [B, 2 C]."""
        attention = self._attention_maps(images, extras.get("masks"))
        refined = self.heads["identity"](self._refined_maps(images, attention))
        if self.config.test_feature == "refined":
            return refined
        return torch.cat([F.normalize(refined), F.normalize(self.heads["attention"](attention))], dim=1)

    def losses(self, batch: Batch, phase: str = "model") -> dict[str, Tensor]:
        attention = self._attention_maps(batch.images, batch.mask)
        if self.in_first_stage:
            assert attention is not None  # noqa: S101 - the configuration refuses a first stage without it
            attention, refined = self._watched(attention), None
        else:
            refined = self._watched(self._refined_maps(batch.images, attention))
        with torch.autocast(batch.images.device.type, enabled=False):
            return self._terms(None if refined is None else refined.float(), attention, batch)

    def _terms(self, refined: Tensor | None, attention: Tensor | None, batch: Batch) -> dict[str, Tensor]:
        """F_rg (None: not yet), F_a (None: there is none) → (6), term by term."""
        config, terms = self.config, {}
        if refined is not None and "identity" in self.classifiers:
            terms["identity"] = self._identity("identity", refined, batch.person)  # L_ID^m
        if attention is not None and "attention" in self.classifiers and not self.attention_is_frozen:
            terms["attention"] = self._identity("attention", attention.float(), batch.person)  # L_ID^a
        if refined is not None and "contrastive" in self.heads:
            features = self._clothing_features(refined, batch.mask)
            if config.contrast == "supcon":
                terms["contrastive"] = supervised_contrastive(features, batch.person, config.temperature)
            else:
                terms["contrastive"] = clothing_contrastive(
                    features,
                    batch.person,
                    batch.clothes,
                    config.temperature,
                    config.clothes_divisor,
                    self_positive=config.self_positive,
                )
        return terms

    def _identity(self, stream: str, maps: Tensor, person: Tensor) -> Tensor:
        logits = self.classifiers[stream](self.heads[stream](maps))
        return F.cross_entropy(logits, person, label_smoothing=self.config.label_smoothing)

    def _clothing_features(self, refined: Tensor, masks: Tensor | None) -> Tensor:
        """F_rg → f_c [B, C]."""
        config, head = self.config, self.heads["contrastive"]
        if not config.masks:
            features = head(refined)
        else:
            weights = F.interpolate(
                self._looked_up(self.clothing, masks), refined.shape[2:], mode=RESIZE[config.resize]
            )  # W_c
            features = head(refined, weights) if config.clothing_pooling == "masked" else head(weights * refined)  # (3)
        return F.normalize(features) if config.normalise else features

    def _watched(self, maps: Tensor) -> Tensor:
        """`maps`, whose gradients telemetry measures: what identity and contrast have in common."""
        return self.observe(maps.flatten(1)).view_as(maps)


def clothing_contrastive(
    features: Tensor,
    person: Tensor,
    clothes: Tensor,
    temperature: float,
    clothes_divisor: float,
    *,
    self_positive: bool = False,
) -> Tensor:
    """(4) with (5): `features` [B, C], not normalised here, `person` and `clothes` [B] → scalar.

    The denominator holds the pair itself and all negatives, but no other positive. The mean is over the anchors that
    have a positive; 0 where none has, or nobody else is in the batch.
    """
    similarity = features @ features.T / temperature  # s [B, B]
    same = person[:, None] == person[None, :]
    negatives = similarity.masked_fill(same, -torch.inf).logsumexp(dim=1, keepdim=True)  # log Σ_{j ∈ N_i} e^{s_ij}
    pairs = -F.logsigmoid(similarity - negatives)  # log(1 + e^{negatives - s_ip})
    weights = torch.ones_like(similarity).masked_fill(clothes[:, None] != clothes[None, :], 1 / clothes_divisor)  # w_p
    return mean_over_positives(weights * pairs, same if self_positive else without_self(same))


def _require_maps(backbone: Backbone, name: str) -> None:
    """Raise UsageError unless the backbone ends in maps [B, C, h, w]."""
    if backbone.takes_tokens or not hasattr(backbone.trunk, "layer4"):
        raise UsageError(f"method.backbone={name} has no feature maps for IFD's attention: choose a ResNet.")
