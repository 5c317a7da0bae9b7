"""Batched augmentation does to each image what the papers' recipes do one image at a time, with the same choices."""

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError

from datasets.augment import AugmentConfig, augment, draw, normalise

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
NOTHING = AugmentConfig(flip=0, zoom_crop=0, pad_crop=0, erase=0)
EVERYTHING = AugmentConfig(flip=0.5, zoom_crop=0.5, pad_crop=5, erase=0.5)
HEIGHT, WIDTH = 64, 32


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def batch(size: int = 16) -> torch.Tensor:
    """Smooth pictures with noise, as photographs are."""
    rng = np.random.default_rng(1)
    small = rng.integers(0, 256, (size, 8, 4, 3), dtype=np.uint8)
    smooth = np.stack([np.asarray(Image.fromarray(image).resize((WIDTH, HEIGHT))) for image in small]).astype(np.int64)
    return torch.from_numpy((smooth + rng.integers(-20, 20, smooth.shape)).clip(0, 255).astype(np.uint8))


def reference(image: np.ndarray, config: AugmentConfig, draws, row: int, nearest: bool = False) -> np.ndarray:
    """Geometry of one image through PIL, [H, W(, 3)] → the same shape."""
    picture = Image.fromarray(image)
    width, height = picture.size
    if draws.zoomed[row]:
        resample = Image.Resampling.NEAREST if nearest else Image.Resampling.BILINEAR
        left, top = int(draws.zoom_left[row]), int(draws.zoom_top[row])
        picture = picture.resize((round(width * config.zoom), round(height * config.zoom)), resample)
        picture = picture.crop((left, top, left + width, top + height))
    if config.pad_crop:
        padded = Image.new(picture.mode, (width + 2 * config.pad_crop, height + 2 * config.pad_crop))
        padded.paste(picture, (config.pad_crop, config.pad_crop))
        left, top = int(draws.pad_left[row]), int(draws.pad_top[row])
        picture = padded.crop((left, top, left + width, top + height))
    if draws.flipped[row]:
        picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return np.asarray(picture)


@pytest.mark.parametrize(
    "config",
    [
        EVERYTHING,
        AugmentConfig(),
        AugmentConfig(zoom_crop=1, flip=0),
        AugmentConfig(zoom_crop=0, pad_crop=10, flip=1, erase=1, erase_fill=(0, 0, 0)),
    ],
)
def test_batch_equals_one_image_at_a_time_through_pil(config):
    images = batch()
    augmented, _ = augment(images, config, MEAN, STD, seeded(), None)
    draws = draw(len(images), HEIGHT, WIDTH, config, seeded())
    assert augmented.shape == (16, 3, HEIGHT, WIDTH)
    assert augmented.dtype == torch.float32
    for row, image in enumerate(images.numpy()):
        moved = reference(image, config, draws, row)
        expected = (moved / 255 - MEAN) / STD
        top, left = int(draws.erase_top[row]), int(draws.erase_left[row])
        bottom, right = top + int(draws.erase_height[row]), left + int(draws.erase_width[row])
        expected[top:bottom, left:right] = config.erase_fill
        difference = np.abs(augmented[row].permute(1, 2, 0).numpy() - expected) * STD * 255
        assert difference.max() < (2 if draws.zoomed[row] else 1e-3)  # in grey levels of 255


def test_masks_move_with_the_images_and_are_not_erased():
    """60 × 28 is enlarged to 68 × 32, where no pixel lies halfway between two, which libraries round either way."""
    labels = torch.from_numpy(np.random.default_rng(2).integers(0, 20, (16, 60, 28), dtype=np.uint8))
    before = labels.clone()
    _, masks = augment(batch()[:, :60, :28], EVERYTHING, MEAN, STD, seeded(), labels)
    assert masks is not None
    draws = draw(16, 60, 28, EVERYTHING, seeded())
    assert draws.zoomed.any()
    assert (draws.erase_height > 0).any()
    for row in range(16):
        expected = reference(labels[row].numpy(), EVERYTHING, draws, row, nearest=True)
        np.testing.assert_array_equal(masks[row].numpy(), expected)
    assert torch.equal(labels, before)  # the cache's pixels are not written to


@pytest.mark.parametrize(
    "masks", [None, torch.arange(16 * HEIGHT * WIDTH).remainder(20).byte().view(16, HEIGHT, WIDTH)]
)
def test_probability_zero_is_exactly_normalisation(masks):
    images = batch()
    augmented, moved = augment(images, NOTHING, MEAN, STD, seeded(), masks)
    assert torch.equal(augmented, normalise(images, MEAN, STD))
    assert moved is None if masks is None else torch.equal(moved, masks)


def test_normalise_follows_the_formula():
    images = torch.tensor([0, 51, 255], dtype=torch.uint8).view(1, 1, 1, 3)
    expected = [(0 - 0.485) / 0.229, (0.2 - 0.456) / 0.224, (1 - 0.406) / 0.225]
    torch.testing.assert_close(normalise(images, MEAN, STD).flatten(), torch.tensor(expected))


def test_result_is_a_function_of_the_generators_state():
    """Resuming at any batch and running beside other code must give the same images."""
    first, _ = augment(batch(), EVERYTHING, MEAN, STD, seeded(), None)
    torch.manual_seed(99)
    state = torch.get_rng_state()
    again, _ = augment(batch(), EVERYTHING, MEAN, STD, seeded(), None)
    assert torch.equal(first, again)
    assert torch.equal(torch.get_rng_state(), state)
    other, _ = augment(batch(), EVERYTHING, MEAN, STD, seeded(1), None)
    assert not torch.equal(first, other)


def test_switching_one_step_off_leaves_the_choices_of_the_others():
    """So that an ablation of one augmentation changes nothing else."""
    full = draw(64, HEIGHT, WIDTH, EVERYTHING, seeded())
    part = draw(64, HEIGHT, WIDTH, EVERYTHING.model_copy(update={"zoom_crop": 0.0, "pad_crop": 0}), seeded())
    for name in ("flipped", "erase_top", "erase_left", "erase_height", "erase_width"):
        assert torch.equal(getattr(full, name), getattr(part, name))


def test_erased_rectangles_follow_the_papers_distribution():
    """Area and aspect of the recipe's rejection sampling, computed here one image at a time, on 20,000 images."""
    height, width, count = 224, 224, 20_000
    draws = draw(count, height, width, AugmentConfig(erase=1), seeded())
    tall, wide = draws.erase_height.double(), draws.erase_width.double()
    assert ((tall > 0) & (tall < height) & (wide > 0) & (wide < width)).all()
    assert ((draws.erase_top >= 0) & (draws.erase_top + draws.erase_height <= height)).all()
    assert ((draws.erase_left >= 0) & (draws.erase_left + draws.erase_width <= width)).all()

    rng = np.random.default_rng(0)
    sizes = []
    while len(sizes) < count:
        area, aspect = rng.uniform(0.02, 0.4) * height * width, rng.uniform(0.3, 1 / 0.3)
        size = round((area * aspect) ** 0.5), round((area / aspect) ** 0.5)
        if size[0] < height and size[1] < width:
            sizes.append((*size, rng.integers(0, height - size[0] + 1), rng.integers(0, width - size[1] + 1)))
    expected = np.array(sizes, dtype=float)
    columns = (tall, wide, draws.erase_top.double(), draws.erase_left.double())
    for ours, theirs in zip(columns, expected.T, strict=True):
        assert abs(ours.mean() - theirs.mean()) < 6 * theirs.std() / count**0.5
        assert abs(ours.std() - theirs.std()) < 0.02 * theirs.std()


def test_probabilities_and_offsets():
    """round(uniform(0, 28)) for the zoom, so that 0 and 28 are half as likely; 0 … 2 · padding uniform for the crop."""
    config = AugmentConfig(flip=0.3, zoom_crop=0.6, pad_crop=10, erase=0.2)
    draws = draw(50_000, 224, 224, config, seeded())
    shares = [draws.flipped.float().mean(), draws.zoomed.float().mean(), (draws.erase_height > 0).float().mean()]
    np.testing.assert_allclose(shares, [0.3, 0.6, 0.2], atol=0.01)
    for offset in (draws.zoom_left, draws.zoom_top):
        frequency = torch.bincount(offset, minlength=29) / 50_000
        np.testing.assert_allclose(frequency * 28, [0.5, *[1] * 27, 0.5], atol=0.12)
    for offset in (draws.pad_left, draws.pad_top):
        np.testing.assert_allclose(torch.bincount(offset, minlength=21) / 50_000 * 21, 1, atol=0.12)


def test_random_fill_is_gaussian_noise_inside_the_rectangle_only():
    config = NOTHING.model_copy(update={"erase": 1.0, "erase_fill": "random"})
    images = torch.zeros(64, HEIGHT, WIDTH, 3, dtype=torch.uint8)
    augmented, _ = augment(images, config, (0, 0, 0), (1, 1, 1), seeded(), None)
    draws = draw(64, HEIGHT, WIDTH, config, seeded())
    inside = augmented[augmented != 0]
    assert len(inside) == 3 * int((draws.erase_height * draws.erase_width).sum())
    assert abs(inside.mean()) < 0.02
    assert abs(inside.std() - 1) < 0.02


def test_no_rectangle_fits_leaves_the_image_alone():
    config = NOTHING.model_copy(update={"erase": 1.0, "erase_area": (2.0, 3.0)})
    augmented, _ = augment(batch(), config, MEAN, STD, seeded(), None)
    assert torch.equal(augmented, normalise(batch(), MEAN, STD))


@pytest.mark.parametrize(
    "wrong", [{"flip": 1.5}, {"zoom": 0.9}, {"pad_crop": -1}, {"erase_fill": "mean"}, {"rotate": 1}]
)
def test_configuration_out_of_range_is_refused(wrong):
    with pytest.raises(ValidationError):
        AugmentConfig(**wrong)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_choices_do_not_depend_on_the_device():
    host, _ = augment(batch(), EVERYTHING, MEAN, STD, seeded(), None)
    device, _ = augment(batch().cuda(), EVERYTHING, MEAN, STD, seeded(), None)
    assert ((host - device.cpu()).abs() * min(STD) * 255).max() <= 1.5  # rounding of the interpolation
