"""A stored feature for each outfit in place of a learned direction: the variant of CAL with a memory bank."""

from typing import Literal

import torch
from torch import Tensor, nn

from .layers import gathered


class ClothesMemory(nn.Module):
    """C outfits, features of width W; the same in all processes, which see the images of all."""

    features: Tensor
    """[C, W]"""
    stored: Tensor
    """[C] 1 where an outfit has been seen; float, because processes cannot all exchange bools."""

    def __init__(self, clothes: int, width: int):
        super().__init__()
        self.register_buffer("features", torch.zeros(clothes, width))
        self.register_buffer("stored", torch.zeros(clothes))

    @torch.no_grad()
    def store(self, features: Tensor, clothes: Tensor, momentum: float, how: Literal["last", "mean"]) -> None:
        """Renew the outfits `clothes` [B] from the `features` [B, W] of all processes: m · old + (1 - m) · new.

        mean: new is the mean over the images that wear the outfit. last: image by image, as the released code does, so
        that with momentum 0 the last one stays. While any outfit is missing there is no momentum.
        """
        (features, _), (clothes, _) = gathered(features), gathered(clothes)
        features = features.to(self.features.dtype)
        kept = momentum if bool(self.stored.all()) else 0.0
        if how == "mean":
            clothes, group = clothes.unique(return_inverse=True)
            sums = features.new_zeros(len(clothes), features.shape[1]).index_add_(0, group, features)
            features = sums / group.bincount(minlength=len(clothes)).unsqueeze(1)
        for outfit, feature in zip(clothes.tolist(), features, strict=True):
            self.features[outfit] = kept * self.features[outfit] + (1 - kept) * feature
        self.stored[clothes] = 1.0
