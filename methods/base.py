"""The contract between a method and everything else: named losses for a batch, features for images."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

from torch import Tensor, nn

from datasets.config import Strict
from datasets.errors import UsageError


@dataclass(frozen=True)
class Facts:
    """What a method has to know of the training data before it can be built."""

    persons: int
    """Training identities; labels in a batch are 0 … persons-1."""
    cameras: int
    """Training cameras; indices in a batch are 0 … cameras-1."""
    clothes: int
    """Training outfits; labels in a batch are 0 … clothes-1."""
    height: int
    width: int
    """Size of the input images in pixels."""
    text_width: int = 0
    """Length of a caption feature; 0 where the method needs no captions."""
    label_set: str = "lip"
    """What the labels of parsing masks mean, one of `datasets.masks.LABEL_SETS`."""
    wardrobes: tuple[tuple[int, ...], ...] = ()
    """The outfits (0 … clothes-1) that each training identity wears; empty where clothes are not labelled."""
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    """How images were normalised: a pixel of value x in 0 … 1 is (x - mean) / std per channel."""


@dataclass(frozen=True)
class Batch:
    """One training batch on the device. B images, or B clips of T frames."""

    images: Tensor
    """[B, 3, H, W] float32, augmented and normalised; [B, T, 3, H, W] for a method that takes clips."""
    person: Tensor
    """[B] int64, 0 … persons-1."""
    camera: Tensor
    """[B] int64, 0 … cameras-1."""
    clothes: Tensor
    """[B] int64, 0 … clothes-1."""
    index: Tensor
    """[B] int64, row in the training split; of a clip that of its first frame."""
    caption: Tensor | None = None
    """[B, F, D] text features, one row per aspect in the order of `datasets.captions.ASPECTS`; None unless needed."""
    caption_summary: Tensor | None = None
    """[B, D] text feature of the identity's summary; None where the caption files hold none."""
    mask: Tensor | None = None
    """[B, H, W] uint8 label of every pixel, moved and flipped together with the image; None unless needed. The labels
    are those of `Facts.label_set`."""


@dataclass(frozen=True)
class TrainingSet:
    """All training images, for work that is done once an epoch. N images; a batch's `index` are rows of these."""

    person: Tensor
    """[N] int64, 0 … persons-1, on the CPU."""
    clothes: Tensor
    """[N] int64, 0 … clothes-1, on the CPU."""
    embed: Callable[[], Tensor]
    """Features of all of them as at test, but never mirrored: [N, D] fp32 on the device. Takes a pass over the data."""


@dataclass(frozen=True)
class Loaded:
    """A method built from a checkpoint that its authors' code wrote."""

    method: "Method"
    ignored: tuple[str, ...]
    """Names in the file that the test does not need: heads of the training, statistics of the optimiser."""
    absent: tuple[str, ...] = ()
    """Parameters of ours that the file does not hold, and that the test does not need."""
    remarks: tuple[str, ...] = ()
    """What else a reader of the scores should know, as sentences."""


@dataclass(frozen=True)
class Places:
    """The last thing in a network that knows where in the image something is: heat maps are made of it."""

    module: nn.Module
    """Called on all B images (or frames of clips) at once; what reaches the features beside it is held constant."""
    as_maps: Callable[[Tensor], Tensor]
    """That output → [B, C, h, w], in the order of rows and columns of the image."""


class Weights(Strict):
    """Factor of each loss term in the sum; 0 switches the term off. Each field is declared with `tune`."""


class MethodConfig(Strict):
    """What a method lets the user choose. Subclasses add fields; the string under a field is its documentation."""

    name: str = ""
    """Name in the registry; `method=NAME` on the command line sets it."""
    weights: Weights = Weights()

    def for_checkpoint(self) -> Self:
        """The same architecture without reading pretrained weights: for a model whose checkpoint is loaded next."""
        return self


class Method(nn.Module):
    """A method of the literature. A subclass is one file: paper, equations, Config, recipes, ablations, class.

    `forward` is `losses`, so that the module can be wrapped for distributed training.
    """

    Config: ClassVar[type[MethodConfig]] = MethodConfig
    title: ClassVar[str] = ""
    """The paper: authors, title, venue."""
    recipes: ClassVar[dict[str, dict[str, Any]]] = {}
    """Per dataset the paper's training recipe: dotted keys of the Spec → values. "*" serves every other dataset."""
    ablations: ClassVar[dict[str, dict[str, Any]]] = {}
    """Rows of the paper's ablation table: dotted keys of the Spec → values."""
    quirks: ClassVar[tuple[tuple[str, str, str], ...]] = ()
    """(what is done here, what the released code does, the key that chooses)."""
    compared_with: ClassVar[Literal["the released code", "the paper"]] = "the released code"
    """What the second place of each of `quirks` tells of."""
    needs: ClassVar[frozenset[str]] = frozenset()
    """Extra inputs in a batch that the whole method uses: "caption", "mask"."""
    phases: ClassVar[tuple[str, ...]] = ("model",)
    """Optimiser steps per batch, in order; the last one's learning rate is printed. Empty: nothing is trained."""
    constant_phases: ClassVar[frozenset[str]] = frozenset()
    """Phases whose learning rate does not follow the schedule."""
    idle_parameters: ClassVar[bool] = False
    """Whether in some steps some parameters get no gradient; several phases imply it."""

    def __init__(self, config: MethodConfig, facts: Facts):
        super().__init__()
        self.config = config
        self.facts = facts
        self.observed: Tensor | None = None
        self.epoch = 0
        """The epoch that is being trained, counted from 1; 0 before and after training."""
        self.memory: dict[str, Tensor] = {}
        """What `on_epoch` worked out and the rest of the epoch needs; checkpoints hold it."""

    @classmethod
    def inputs(cls, config: MethodConfig) -> frozenset[str]:
        """The part of `needs` that this configuration uses: a term switched off needs no input."""
        return cls.needs

    @classmethod
    def test_inputs(cls, config: MethodConfig) -> frozenset[str]:
        """What `embed` needs besides images and cameras: "mask", or nothing."""
        return frozenset()

    @classmethod
    def takes_clips(cls, config: MethodConfig) -> bool:
        """Whether images come as clips of several frames, [B, T, 3, H, W], in training and at test."""
        return False

    @classmethod
    def complete_from(cls, config: MethodConfig) -> int:
        """First epoch, counted from 1, in which every loss term is on: until then two configurations may look alike."""
        return 1

    @classmethod
    def from_official(cls, state: Mapping[str, Tensor], config: MethodConfig, height: int, width: int) -> Loaded:
        """The method, with the weights of its authors' checkpoint and sizes that these tell.

        `state`: names and tensors as in the file. `config`: as configured, without pretrained weights; what the tensors
        contradict is changed. `height`, `width` of the images. Raises DataError where the file is of something else.
        """
        title = cls.title or cls.__name__
        raise UsageError(f"No official checkpoint of {title} is known: evaluate a run of this project.")

    def phases_in(self, epoch: int) -> tuple[str, ...]:
        """Those of `phases` that are stepped in `epoch`."""
        return self.phases

    def losses(self, batch: Batch, phase: str = "model") -> dict[str, Tensor]:
        """Named scalar terms, unweighted; each name is a field of `Config.weights`."""
        raise NotImplementedError

    def embed(self, images: Tensor, cameras: Tensor | None = None, **extras: Tensor) -> Tensor:
        """[B, 3, H, W], or clips, → [B, D] features, not normalised. `cameras` [B]: training index, -1: unknown.

        `extras`: masks [B, H, W] uint8 where `test_inputs` asks for "mask".
        """
        raise NotImplementedError

    def forward(self, batch: Batch, phase: str = "model") -> dict[str, Tensor]:
        return self.losses(batch, phase)

    def places(self) -> Places | None:
        """What heat maps are made of: by default the last maps or tokens of `self.backbone`; None: nothing is."""
        find = getattr(getattr(self, "backbone", None), "places", None)
        return None if find is None else find()

    def observe(self, features: Tensor) -> Tensor:
        """Remember `features` [B, D] so that telemetry can measure each term's gradient on them; returns them."""
        self.observed = features
        return features

    def phase_parameters(self, phase: str) -> Iterable[tuple[str, nn.Parameter]]:
        """Names and parameters that the optimiser of `phase` moves."""
        return self.named_parameters()

    def on_epoch(self, epoch: int, training: TrainingSet) -> bool:
        """Called before the first step of each epoch, counted from 1, with the same random state in every process.

        True: parameters came, went or changed their size, or the optimisers are to forget: they start afresh.
        """
        return False

    def restore(self, memory: Mapping[str, Tensor]) -> None:
        """Take back the `memory` of a checkpoint, and with it the parameters that `on_epoch` had made."""
        self.memory = dict(memory)
