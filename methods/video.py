"""Video backbones: a 2-D ResNet on every frame of a clip, with blocks that look across the frames.

The five of CAL's released code (guxinqian/Simple-CCReID, commit f773d01), which come from AP3D (Gu et al., ECCV 2020,
arXiv 2008.02434). Written from a description and compared with features of the official networks (tests/golden/cal).

    c2d            nothing looks across frames: the 2-D network, and the mean over time at the end
    i3d            3×3×3 convolutions in place of some 3×3 ones (Carreira and Zisserman, CVPR 2017, arXiv 1705.07750)
    ap3d           3×1×1 convolutions beside some 3×3 ones, on neighbouring frames brought into register first
    non-local      attention over all positions of the clip after some blocks (Wang et al., CVPR 2018, arXiv 1711.07971)

All start as c2d: what looks across frames is zero at first, so that weights of ImageNet mean the same. Convolutions of
one frame see a clip as B·T images; that is the same as 3-D kernels 1×k×k, and faster on a CPU.
Shapes: B clips of T frames, C channels, h × w positions, P = h·w.
"""

from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .backbones import Backbone, last_maps
from .base import Places

TEMPORAL_BLOCKS = {"layer2": (0, 2), "layer3": (0, 2, 4)}
"""Stage → its blocks whose 3×3 convolution looks across frames (i3d, ap3d)."""
NON_LOCAL_BLOCKS = {"layer2": (1, 3), "layer3": (1, 3, 5)}
"""Stage → its blocks that are followed by attention over the whole clip."""


@dataclass(frozen=True)
class Inflation:
    """What is added to a 2-D network."""

    images: str
    """Name of the 2-D network."""
    convolutions: Literal["c2d", "i3d", "ap3d"] = "c2d"
    non_local: bool = False


VIDEO: dict[str, Inflation] = {
    "c2dres50": Inflation("resnet50"),
    "i3dres50": Inflation("resnet50", "i3d"),
    "ap3dres50": Inflation("resnet50", "ap3d"),
    "nlres50": Inflation("resnet50", non_local=True),
    "ap3dnlres50": Inflation("resnet50", "ap3d", non_local=True),
    # For tests; its 2-D network is that of resnet_tiny.
    "c2d_tiny": Inflation("resnet_tiny"),
}
"""method.backbone → what it is made of."""


class AcrossFrames(nn.Module):
    """A layer of maps [B·T, C, h, w] that has to know where clips end."""

    frames: int = 1
    """T; `VideoBackbone` sets it ahead of each forward pass."""

    def clips(self, maps: Tensor) -> Tensor:
        """[B·T, C, h, w] → [B, T, C, h, w]"""
        return maps.unflatten(0, (-1, self.frames))


class VideoBackbone(nn.Module):
    """A 2-D backbone with layers across frames: clips [B, T, 3, H, W] → maps of every frame [B, T, width, h, w]."""

    def __init__(self, backbone: Backbone, inflation: Inflation):
        super().__init__()
        self.trunk: Any = backbone.trunk
        self.width = backbone.width
        if inflation.convolutions != "c2d":
            inflated = InflatedConvolution if inflation.convolutions == "i3d" else AppearancePreservingConvolution
            for stage, blocks in TEMPORAL_BLOCKS.items():
                for block in blocks:
                    bottleneck = getattr(self.trunk, stage)[block]
                    bottleneck.conv2 = inflated(bottleneck.conv2)
        if inflation.non_local:
            for stage, blocks in NON_LOCAL_BLOCKS.items():
                layers: list[nn.Module] = []
                for number, bottleneck in enumerate(getattr(self.trunk, stage)):
                    layers.append(bottleneck)
                    if number in blocks:
                        layers.append(NonLocal(bottleneck.bn3.num_features))
                setattr(self.trunk, stage, nn.Sequential(*layers))

    def forward(self, clips: Tensor) -> Tensor:
        frames = clips.shape[1]
        for layer in self.trunk.modules():
            if isinstance(layer, AcrossFrames):
                layer.frames = frames
        return self.trunk.forward_features(clips.flatten(0, 1)).unflatten(0, (-1, frames))

    def places(self) -> Places | None:
        """The last maps of every frame, [B·T, width, h, w]."""
        return last_maps(self.trunk)


class InflatedConvolution(AcrossFrames):
    """A k×k convolution made 3×k×k: the new weights on the frames before and after are 0 at first."""

    def __init__(self, image: nn.Conv2d):
        super().__init__()
        self.stride, self.padding = (1, *image.stride), (1, *_pair(image))
        self.weight = nn.Parameter(torch.zeros(*image.weight.shape[:2], 3, *image.weight.shape[2:]))
        with torch.no_grad():
            self.weight[:, :, 1] = image.weight

    def forward(self, maps: Tensor) -> Tensor:
        volume = self.clips(maps).transpose(1, 2)  # [B, C, T, h, w]
        return F.conv3d(volume, self.weight, None, self.stride, self.padding).transpose(1, 2).flatten(0, 1)


class AppearancePreservingConvolution(AcrossFrames):
    """x ↦ S + conv over time of (previous, S, next), S the 3×3 convolution of x, in parallel with neighbours that are
    brought into register with S: AP3D's P3D-C.

    The temporal convolution is 0 at first.
    """

    def __init__(self, image: nn.Conv2d):
        super().__init__()
        width = image.out_channels
        self.spatial = image
        self.register = Registration(width, width // 16)
        self.temporal = nn.Conv3d(width, width, (3, 1, 1), bias=False)
        nn.init.zeros_(self.temporal.weight)

    def forward(self, maps: Tensor) -> Tensor:
        own = self.spatial(maps)
        clips = self.clips(own)  # [B, T, C, h, w]
        blank = torch.zeros_like(clips[:, :1])
        previous = self.register(clips, torch.cat([blank, clips[:, :-1]], dim=1))
        following = self.register(clips, torch.cat([clips[:, 1:], blank], dim=1))
        triples = torch.stack([previous, clips, following], dim=3).flatten(0, 1)  # [B·T, C, 3, h, w]
        return own + self.temporal(triples).squeeze(2)


class Registration(nn.Module):
    """A neighbouring frame with its positions moved to where the frame itself shows the same (AP3D's APM).

    Position p of the result is Σ_q a_pq n_q over positions q of the neighbour, a = softmax_q of 4 cos(s_p, s_q) in a
    space of few channels, times an attention in (0, 1) that is low where the two do not match.
    """

    temperature = 4.0

    def __init__(self, width: int, hidden: int):
        super().__init__()
        self.semantic = nn.Conv2d(width, hidden, 1, bias=False)
        self.of_frame = nn.Conv2d(width, hidden, 1, bias=False)
        self.of_neighbour = nn.Conv2d(width, hidden, 1, bias=False)
        self.attention = nn.Conv2d(hidden, 1, 1, bias=False)

    def forward(self, frames: Tensor, neighbours: Tensor) -> Tensor:
        """Both [B, T, C, h, w] → [B, T, C, h, w]; where there is no neighbour it is 0, and so is the result."""
        shape = frames.shape
        frames, neighbours = frames.flatten(0, 1), neighbours.flatten(0, 1)
        of_frame = F.normalize(self.semantic(frames), dim=1).flatten(2)  # [B·T, hidden, P]
        of_neighbour = F.normalize(self.semantic(neighbours), dim=1).flatten(2)
        match = (self.temperature * of_frame.transpose(1, 2) @ of_neighbour).softmax(dim=-1)  # [B·T, P, P]
        moved = (neighbours.flatten(2) @ match.transpose(1, 2)).view_as(frames)
        alike = torch.sigmoid(self.attention(self.of_frame(frames) * self.of_neighbour(moved)))
        return (alike * moved).view(shape)


class NonLocal(AcrossFrames):
    """x ↦ x + BN(W y), y_p = Σ_q softmax_q(θ_p · φ_q) g_q over all positions of the clip, embedded Gaussian.

    φ and g are halved in height and width first, where there is more than one cell. The batch norm's weight is 0 at
    first.
    """

    def __init__(self, width: int):
        super().__init__()
        hidden = width // 2
        self.theta, self.phi, self.g = (nn.Conv2d(width, hidden, 1) for _ in range(3))
        self.out = nn.Conv2d(hidden, width, 1)
        self.norm = nn.BatchNorm2d(width)
        nn.init.zeros_(self.norm.weight)

    def forward(self, maps: Tensor) -> Tensor:
        theta = self._positions(self.theta(maps))
        halves = min(2, maps.shape[2]), min(2, maps.shape[3])
        phi, g = (self._positions(F.max_pool2d(layer(maps), halves)) for layer in (self.phi, self.g))
        attended = (theta @ phi.transpose(1, 2)).softmax(dim=-1) @ g  # [B, T·P, hidden]
        attended = attended.transpose(1, 2).unflatten(2, (self.frames, *maps.shape[2:])).transpose(1, 2)
        return maps + self.norm(self.out(attended.flatten(0, 1)))

    def _positions(self, maps: Tensor) -> Tensor:
        """[B·T, hidden, h, w] → [B, T·P, hidden]"""
        return self.clips(maps).transpose(1, 2).flatten(2).transpose(1, 2)


def pool_frames(maps: Tensor) -> Tensor:
    """[B, T, C, h, w] → [B, C]: the maximum over each frame's positions, then the mean over the frames."""
    return maps.flatten(3).amax(dim=3).mean(dim=1)


def _pair(convolution: nn.Conv2d) -> tuple[int, int]:
    padding = convolution.padding
    assert not isinstance(padding, str)  # noqa: S101 - ResNets pad by numbers
    return padding[0], padding[1]
