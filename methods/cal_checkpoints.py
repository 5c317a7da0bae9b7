"""Checkpoints that CAL's released code wrote: names, and what the tensors say of the configuration."""

import re
from collections.abc import Mapping

from torch import Tensor

from datasets.errors import DataError, UsageError

from .base import Loaded, Method
from .video import VIDEO, Inflation
from .weights import sizes_of

RENAMED = (
    (re.compile(r"^base\.0\."), "backbone.trunk.conv1."),
    (re.compile(r"^base\.1\."), "backbone.trunk.bn1."),
    *((re.compile(rf"^base\.{stage + 3}\."), f"backbone.trunk.layer{stage}.") for stage in (1, 2, 3, 4)),
    (re.compile(r"^(conv1|bn1|layer[1-4])\."), r"backbone.trunk.\1."),  # networks for clips
    (re.compile(r"^globalpooling\."), "generalised_mean."),
    (re.compile(r"^bn\."), "neck."),
    (re.compile(r"\.conv3d\."), "."),
    (re.compile(r"\.spatial_conv3d\."), ".spatial."),
    (re.compile(r"\.temporal_conv3d\."), ".temporal."),
    (re.compile(r"\.APM\.semantic_mapping\."), ".register.semantic."),
    (re.compile(r"\.APM\.x_mapping\."), ".register.of_frame."),
    (re.compile(r"\.APM\.n_mapping\."), ".register.of_neighbour."),
    (re.compile(r"\.APM\.contrastive_att_net\.0\."), ".register.attention."),
    (re.compile(r"\.(phi|g)\.0\."), r".\1."),
    (re.compile(r"\.W\.0\."), ".out."),
    (re.compile(r"\.W\.1\."), ".norm."),
)
NOT_NEEDED = ("classifier.", "clothes_classifier.", "clothes_memory.")
"""Beginnings of our names of what the test does not need."""


def our_name(official: str) -> str:
    """Name in the released code's state dict → ours."""
    for pattern, replacement in RENAMED:
        official = pattern.sub(replacement, official)
    return official


def told_by(state: Mapping[str, Tensor], backbone: str, pooling: str) -> dict[str, str]:
    """What `state` says of method.backbone and method.pooling, which are configured as given.

    Raises DataError where it is not a state dict of CAL's, UsageError where it does not tell the pooling.
    """
    if "bn.weight" not in state or not {"base.0.weight", "conv1.weight"} & state.keys():
        raise DataError(
            "The checkpoint was not written by CAL's released code: it should hold bn.weight, and base.0.weight or "
            "conv1.weight; choose the method that it belongs to."
        )
    images = VIDEO[backbone].images if backbone in VIDEO else backbone
    if "conv1.weight" in state:
        return {"backbone": _video(state, images)}
    if "globalpooling.p" in state:
        return {"backbone": images, "pooling": "gem"}
    if state["bn.weight"].numel() > _width(state):
        return {"backbone": images, "pooling": "maxavg"}
    if pooling not in ("avg", "max"):
        raise UsageError(
            "The checkpoint's feature is as wide as its map, so that it was pooled by mean or by maximum, and the file "
            "does not tell which: set method.pooling=avg or method.pooling=max."
        )
    return {"backbone": images}


def _width(state: Mapping[str, Tensor]) -> int:
    """Channels of the last map of a network for images: bottlenecks end in conv3, basic blocks in conv2."""
    last = next((name for name in ("base.7.0.conv3.weight", "base.7.0.conv2.weight") if name in state), None)
    if last is None:
        raise DataError(
            "The checkpoint is not of a ResNet of CAL's released code: it lacks base.7.0.conv3.weight and "
            "base.7.0.conv2.weight; choose the method that it belongs to."
        )
    return sizes_of(state, last, 4, "CAL")[0]


def _video(state: Mapping[str, Tensor], images: str) -> str:
    """The name of the network for clips, made from `images`, that `state` belongs to."""
    inflated, aligned, non_local = (
        any(part in key for key in state) for part in (".conv3d.", ".temporal_conv3d.", ".W.0.")
    )
    found = Inflation(images, "i3d" if inflated else "ap3d" if aligned else "c2d", non_local)
    for name, inflation in VIDEO.items():
        if inflation == found:
            return name
    raise DataError(
        f"The checkpoint is of a network for clips that is not made from method.backbone={images}: choose the one that "
        f"belongs to it ({', '.join(VIDEO)})."
    )


def loaded(method: Method, state: Mapping[str, Tensor], backbone: str) -> Loaded:
    """`method` with the tensors of `state`. Raises DataError where some that the test needs are not there."""
    own = method.state_dict()
    renamed = {our_name(key): value for key, value in state.items()}
    taken = {
        key: value.reshape(own[key].shape)
        for key, value in renamed.items()
        if key in own and _but_ones(value) == _but_ones(own[key])  # kernels 1×k×k of networks for clips
    }
    absent = tuple(key for key in own if key not in taken)
    missing = [key for key in absent if not key.startswith(NOT_NEEDED)]
    if missing:
        raise DataError(
            f"The checkpoint is not of CAL with {backbone}: {len(missing)} of {len(own)} tensors are missing or have "
            f"another shape, such as {missing[0]}; choose the method.backbone that belongs to it."
        )
    method.load_state_dict(taken, strict=False)
    return Loaded(method, ignored=tuple(key for key in state if our_name(key) not in taken), absent=absent)


def _but_ones(tensor: Tensor) -> list[int]:
    return [size for size in tensor.shape if size != 1]
