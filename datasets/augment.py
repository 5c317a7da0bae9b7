"""Augmentation of whole uint8 batches on the device, in the order of the papers' recipes.

zoom-crop → pad-and-crop → flip → normalise → erase. All random numbers are drawn on the CPU, so that what happens to a
batch is a function of the generator's state alone and not of the device. B images, H × W pixels; a clip's frames, T of
them, share one draw.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from .config import Strict

_TRIES = 100


class AugmentConfig(Strict):
    """What is done to training images. The defaults are CAL's and DIFFER's."""

    flip: float = Field(default=0.5, ge=0, le=1)
    """Probability of mirroring left and right."""
    zoom_crop: float = Field(default=0.5, ge=0, le=1)
    """Probability of enlarging by `zoom` (bilinear) and cropping back at a random place."""
    zoom: float = Field(default=1.125, ge=1)
    """Factor of `zoom_crop`."""
    pad_crop: int = Field(default=0, ge=0)
    """Pixels of black padding on all sides before a random crop back to size; 0: none. CSSC: 10."""
    erase: float = Field(default=0.5, ge=0, le=1)
    """Probability of random erasing (Zhong et al., AAAI 2020), after normalisation."""
    erase_area: tuple[float, float] = (0.02, 0.4)
    """Least and greatest share of the image that is erased."""
    erase_aspect: tuple[float, float] = (0.3, 1 / 0.3)
    """Least and greatest height / width of the rectangle, drawn uniformly."""
    erase_fill: tuple[float, float, float] | Literal["random"] = (0.4914, 0.4822, 0.4465)
    """(r, g, b) in normalised units, or "random" for Gaussian noise. CSSC: (0, 0, 0), which is the mean colour."""
    erase_masks: bool = False
    """true: a mask is background where its image is erased; false: it says where the person is, also behind that."""


@dataclass(frozen=True)
class Draws:
    """What happens to each image: B values each, on the CPU until `to`. Offsets and sizes are in pixels."""

    zoomed: Tensor
    zoom_left: Tensor
    zoom_top: Tensor
    pad_left: Tensor
    pad_top: Tensor
    flipped: Tensor
    erase_top: Tensor
    erase_left: Tensor
    erase_height: Tensor
    """0: not erased."""
    erase_width: Tensor

    def to(self, device: torch.device) -> "Draws":
        return Draws(*(getattr(self, field.name).to(device, non_blocking=True) for field in fields(self)))

    def for_each_of(self, frames: int) -> "Draws":
        """Each draw `frames` times in a row."""
        return Draws(*(getattr(self, field.name).repeat_interleave(frames) for field in fields(self)))


def augment(
    images: Tensor,
    config: AugmentConfig,
    mean: Sequence[float],
    std: Sequence[float],
    generator: torch.Generator,
    masks: Tensor | None = None,
) -> tuple[Tensor, Tensor | None]:
    """uint8 [B, H, W, 3] → augmented and normalised float32 [B, 3, H, W] on the same device.

    Clips [B, T, H, W, 3] → [B, T, 3, H, W]: what happens to one frame happens to all of its clip. Masks then are
    [B, T, H, W].
    `masks` uint8 [B, H, W] are zoomed (to the nearest pixel), cropped and flipped together with the images; padding is
    0, background. With `erase_masks` so is the erased rectangle.
    `generator`: on the CPU. `mean`, `std`: per channel, of images scaled to 0 … 1.
    """
    frames = images.shape[1] if images.ndim == 5 else 0
    height, width, _ = images.shape[-3:]
    draws = draw(len(images), height, width, config, generator)
    noise = _erasing_noise(draws, height, width, generator) if config.erase_fill == "random" else None
    if frames:
        images, draws = images.flatten(0, 1), draws.for_each_of(frames)
        masks = None if masks is None else masks.flatten(0, 1)
        noise = None if noise is None else noise.repeat_interleave(frames, dim=0)
    chosen = draws.zoomed.nonzero().flatten()  # on the CPU: its length is known without waiting for the device
    draws, chosen = draws.to(images.device), chosen.to(images.device, non_blocking=True)

    moved = normalise(_move(images, draws, chosen, config), mean, std)
    if masks is not None:
        masks = _move(masks.unsqueeze(3), draws, chosen, config, nearest=True).squeeze(3)
    if config.erase:
        inside = _inside(draws, height, width, images.device)
        moved = _fill(moved, inside, config, noise)
        if masks is not None and config.erase_masks:
            masks = masks.masked_fill(inside, 0)
    if frames:
        moved, masks = moved.unflatten(0, (-1, frames)), None if masks is None else masks.unflatten(0, (-1, frames))
    return moved, masks


def normalise(images: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """uint8 [*, H, W, 3] → float32 [*, 3, H, W], (x / 255 - mean) / std per channel."""
    scale = [torch.tensor(list(values), dtype=torch.float32, device=images.device) for values in (mean, std)]
    centre, spread = (values.view(3, 1, 1) for values in scale)
    return images.movedim(-1, -3).contiguous().float().div_(255).sub_(centre).div_(spread)  # in place: 2 × faster


def draw(batch: int, height: int, width: int, config: AugmentConfig, generator: torch.Generator) -> Draws:
    """The random choices for a batch. The same numbers are used up whatever the probabilities are."""

    def chance(probability: float) -> Tensor:
        return torch.rand(batch, generator=generator) < probability

    def offset(last: int) -> Tensor:
        """0 … last, all equally likely."""
        return torch.randint(0, last + 1, (batch,), generator=generator)

    def zoom_offset(size: int) -> Tensor:
        """round(uniform(0, extra)), as in CAL and DIFFER: the two ends are half as likely as the rest."""
        extra = _zoomed(size, config) - size
        return torch.round(torch.rand(batch, generator=generator, dtype=torch.float64) * extra).long()

    zoomed, zoom_left, zoom_top = chance(config.zoom_crop), zoom_offset(width), zoom_offset(height)
    pad_left, pad_top = offset(2 * config.pad_crop), offset(2 * config.pad_crop)
    flipped = chance(config.flip)
    rectangle = _draw_rectangles(chance(config.erase), height, width, config, generator)
    return Draws(zoomed, zoom_left, zoom_top, pad_left, pad_top, flipped, *rectangle)


def _draw_rectangles(
    erased: Tensor, height: int, width: int, config: AugmentConfig, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """(top, left, height, width) [B] of random erasing: the first of 100 tries that is smaller than the image.

    h = round(sqrt(area · aspect)), w = round(sqrt(area / aspect)), area and aspect uniform; the place is uniform.
    """
    uniform = torch.rand(4, len(erased), _TRIES, generator=generator, dtype=torch.float64)
    (smallest, largest), (flattest, steepest) = config.erase_area, config.erase_aspect
    area = (smallest + uniform[0] * (largest - smallest)) * height * width
    aspect = flattest + uniform[1] * (steepest - flattest)
    heights, widths = torch.round((area * aspect).sqrt()), torch.round((area / aspect).sqrt())
    tops = torch.floor(uniform[2] * (height - heights + 1))
    lefts = torch.floor(uniform[3] * (width - widths + 1))
    fits = (heights < height) & (widths < width)
    first = fits.int().argmax(dim=1, keepdim=True)
    done = erased & fits.any(dim=1)
    top, left, tall, wide = (
        values.gather(1, first).squeeze(1).long() * done for values in (tops, lefts, heights, widths)
    )
    return top, left, tall, wide


def _zoomed(size: int, config: AugmentConfig) -> int:
    return round(size * config.zoom)


def _move(images: Tensor, draws: Draws, chosen: Tensor, config: AugmentConfig, *, nearest: bool = False) -> Tensor:
    """Zoom-crop the images `chosen`, pad and crop, flip: uint8 [B, H, W, C] → the same shape."""
    _, height, width, _ = images.shape
    if len(chosen):
        size = (_zoomed(height, config), _zoomed(width, config))
        larger = _enlarge_nearest(images[chosen], *size) if nearest else _enlarge_bilinear(images[chosen], *size)
        images = images.clone()
        images[chosen] = _crop(larger, draws.zoom_top[chosen], draws.zoom_left[chosen], height, width)
    if config.pad_crop:
        padded = F.pad(images, (0, 0) + (config.pad_crop,) * 4)
        images = _crop(padded, draws.pad_top, draws.pad_left, height, width)
    if config.flip:
        images = torch.where(draws.flipped.view(-1, 1, 1, 1), images.flip(2), images)
    return images


def _enlarge_bilinear(images: Tensor, height: int, width: int) -> Tensor:
    """[B, h, w, C] → [B, height, width, C] uint8, within one grey level of PIL (whose antialiasing only shrinks)."""
    channels_first = images.permute(0, 3, 1, 2).float()
    larger = F.interpolate(channels_first, size=(height, width), mode="bilinear", align_corners=False)
    return larger.round().to(torch.uint8).permute(0, 2, 3, 1)


def _enlarge_nearest(images: Tensor, height: int, width: int) -> Tensor:
    """[B, h, w, C] → [B, height, width, C]; in integers, so that every device takes the same pixel."""
    rows, columns = (
        (2 * torch.arange(new, device=images.device) + 1) * old // (2 * new)
        for new, old in ((height, images.shape[1]), (width, images.shape[2]))
    )
    return images[:, rows][:, :, columns]


def _crop(images: Tensor, top: Tensor, left: Tensor, height: int, width: int) -> Tensor:
    """[B, h, w, C] → [B, height, width, C] from each image's own (top, left)."""
    rows = top[:, None] + torch.arange(height, device=images.device)
    columns = left[:, None] + torch.arange(width, device=images.device)
    image = torch.arange(len(images), device=images.device)
    return images[image[:, None, None], rows[:, :, None], columns[:, None, :]]


def _inside(draws: Draws, height: int, width: int, device: torch.device) -> Tensor:
    """[B, H, W] bool: whether a pixel lies in its image's rectangle."""
    rows = _between(draws.erase_top, draws.erase_height, height, device)
    columns = _between(draws.erase_left, draws.erase_width, width, device)
    return rows[:, :, None] & columns[:, None, :]


def _fill(images: Tensor, inside: Tensor, config: AugmentConfig, noise: Tensor | None) -> Tensor:
    """Fill each image's rectangle `inside` [B, H, W]: float32 [B, 3, H, W] → the same shape."""
    if noise is not None:
        fill = noise.to(images.device, non_blocking=True)
    else:
        fill = torch.tensor(config.erase_fill, dtype=images.dtype, device=images.device).view(1, 3, 1, 1)
    return torch.where(inside.unsqueeze(1), fill, images)


def _between(start: Tensor, length: Tensor, size: int, device: torch.device) -> Tensor:
    """[B, size] bool: start ≤ position < start + length."""
    position = torch.arange(size, device=device)
    return (position >= start[:, None]) & (position < (start + length)[:, None])


def _erasing_noise(draws: Draws, height: int, width: int, generator: torch.Generator) -> Tensor:
    """[B, 3, H, W] Gaussian noise for the images that are erased, 0 for the others."""
    noise = torch.zeros(len(draws.erase_height), 3, height, width)
    erased = draws.erase_height > 0
    noise[erased] = torch.randn(int(erased.sum()), 3, height, width, generator=generator)
    return noise
