"""IFD: its losses against worked examples and loops, who learns from what in which stage, masks from file to feature.

There is no official code. The worked examples were computed by hand-written loops, apart from this project.
"""

import logging
import math
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import Tensor

import run
from benchmarks.optimisation import OptimiserConfig, build_optimiser, learning_rate
from benchmarks.resolve import resolve
from benchmarks.telemetry import gradient_norms
from benchmarks.training import Trainer
from datasets.augment import normalise
from datasets.errors import UsageError
from datasets.layouts import write_layout
from datasets.masks import Lip, clothing_table
from datasets.synthetic import Synthetic
from methods import METHODS
from methods.base import Batch, Facts
from methods.ifd import IFD, IFDConfig, IFDWeights, clothing_contrastive
from methods.losses import supervised_contrastive
from tests.test_experiment import assert_equal_runs, only_run

FACTS = Facts(persons=4, cameras=2, clothes=6, height=64, width=32)
ALONE = {"attention": False, "attention_epochs": 0}
"""Without attention stream."""


def small(facts: Facts = FACTS, **config: Any) -> IFD:
    torch.manual_seed(0)
    return IFD(IFDConfig(**({"backbone": "resnet_tiny", "pretrained": False, "attention_epochs": 2} | config)), facts)


def small_batch(labels: int = 20) -> Batch:
    """4 people × 2 images, the second in other clothes for the first two of them; the masks are noise."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(8, 3, 64, 32, generator=generator)
    masks = torch.randint(0, labels, (8, 64, 32), generator=generator).to(torch.uint8)
    person, clothes = torch.arange(8) // 2, torch.tensor([0, 1, 2, 3, 4, 4, 5, 5])
    return Batch(images, person, person % 2, clothes, torch.arange(8), mask=masks)


def backward(method: IFD, *only: str) -> dict[str, bool]:
    """Part of the method → whether the gradient of the terms `only` (default: of all) reaches it."""
    terms = method.losses(small_batch())
    torch.stack([terms[name] for name in only or terms]).sum().backward()
    parts = {"main": method.backbone, "attention": method.attention_stream, "conv": method.attention_convolution}
    return {
        name: any(p.grad is not None and bool(p.grad.any()) for p in part.parameters())
        for name, part in parts.items()
        if part is not None
    }


# --- (4), (5) ---

UNIT = torch.tensor([(1.0, 0.0), (0.8, 0.6), (0.0, 1.0), (-0.6, 0.8)], dtype=torch.float64)
TWO_PEOPLE, THREE_OUTFITS = torch.tensor([0, 0, 1, 1]), torch.tensor([0, 1, 2, 2])


@pytest.mark.parametrize(
    ("temperature", "divisor", "expected"),
    [(1.0, 0.5, 1.01036518333), (0.1, 0.5, 0.09566975964), (0.1, 1.0, 0.06377983976), (0.07, 0.5, 0.04189881315)],
)
def test_contrast_of_clothing_equals_the_worked_examples(temperature, divisor, expected):
    loss = clothing_contrastive(UNIT, TWO_PEOPLE, THREE_OUTFITS, temperature, divisor)
    assert float(loss) == pytest.approx(expected, abs=1e-9)


def looped_contrast(similarity: np.ndarray, person: list[int], clothes: list[int], divisor: float, own: bool) -> float:
    """(4) and (5) as printed, in loops."""
    everyone, of_anchors = range(len(person)), []
    for i in everyone:
        positives = [p for p in everyone if person[p] == person[i] and (own or p != i)]
        negatives = sum(math.exp(similarity[i, j]) for j in everyone if person[j] != person[i])
        total = 0.0
        for p in positives:
            weight = 1 / divisor if clothes[p] != clothes[i] else 1.0
            positive = math.exp(similarity[i, p])
            total -= weight * math.log(positive / (positive + negatives))
        if positives:
            of_anchors.append(total / len(positives))
    return sum(of_anchors) / len(of_anchors) if of_anchors else 0.0


def looped_supcon(similarity: np.ndarray, person: list[int]) -> float:
    everyone, of_anchors = range(len(person)), []
    for i in everyone:
        positives = [p for p in everyone if person[p] == person[i] and p != i]
        others = sum(math.exp(similarity[i, j]) for j in everyone if j != i)
        if positives:
            of_anchors.append(-sum(math.log(math.exp(similarity[i, p]) / others) for p in positives) / len(positives))
    return sum(of_anchors) / len(of_anchors) if of_anchors else 0.0


images_of_a_batch = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2)), min_size=1, max_size=9)
"""(person, outfit) of each."""


@settings(max_examples=100, deadline=None)
@given(
    images=images_of_a_batch,
    seed=st.integers(0, 2**31),
    temperature=st.floats(0.05, 2),
    divisor=st.floats(0.1, 2),
    own=st.booleans(),
)
def test_both_contrasts_equal_loops_on_any_batch(images, seed, temperature, divisor, own):
    """Batches of one person and people with one image too; gradients are finite on all of them."""
    person, clothes = [image[0] for image in images], [image[1] for image in images]
    features = F.normalize(torch.randn(len(images), 5, generator=torch.Generator().manual_seed(seed)).double())
    similarity = (features @ features.T / temperature).numpy()
    features.requires_grad_()
    labels = torch.tensor(person)
    ours = clothing_contrastive(features, labels, torch.tensor(clothes), temperature, divisor, self_positive=own)
    supcon = supervised_contrastive(features, labels, temperature)
    assert float(ours.detach()) == pytest.approx(looped_contrast(similarity, person, clothes, divisor, own), abs=1e-9)
    assert float(supcon.detach()) == pytest.approx(looped_supcon(similarity, person), abs=1e-9)
    for loss in (ours, supcon):
        (gradient,) = torch.autograd.grad(loss, features, retain_graph=True)
        assert gradient.isfinite().all()


def test_the_gradient_of_the_contrast_is_its_slope():
    features = UNIT.clone().requires_grad_()
    assert torch.autograd.gradcheck(
        lambda f: clothing_contrastive(f, TWO_PEOPLE, THREE_OUTFITS, 0.1, 0.5, self_positive=True), features
    )


def test_large_similarities_do_not_overflow_in_float32():
    """Features that are not of unit length: e^s alone would be infinite."""
    features = (100 * UNIT).float().requires_grad_()
    for loss in (
        clothing_contrastive(features, torch.tensor([0, 1, 0, 1]), THREE_OUTFITS, 0.1, 0.5),
        supervised_contrastive(features, torch.tensor([0, 1, 0, 1]), 0.1),
    ):
        (gradient,) = torch.autograd.grad(loss, features)
        assert loss > 1e3
        assert loss.isfinite()
        assert gradient.isfinite().all()


def test_only_pairs_in_different_clothes_are_weighted():
    """Where clothes are not labelled, all outfits are one and T changes nothing."""
    unlabelled, all_new = torch.zeros(4, dtype=torch.int64), torch.arange(4)
    plain = clothing_contrastive(UNIT, TWO_PEOPLE, unlabelled, 0.1, 1.0)
    assert torch.equal(clothing_contrastive(UNIT, TWO_PEOPLE, unlabelled, 0.1, 0.5), plain)
    torch.testing.assert_close(clothing_contrastive(UNIT, TWO_PEOPLE, all_new, 0.1, 0.5), 2 * plain)


# --- (1) to (3) ---


@pytest.mark.parametrize(("label_set", "labels"), [("lip", 20), ("atr", 18), ("pascal", 7), ("merged12", 12)])
@pytest.mark.parametrize("body", [False, True])
def test_the_attention_stream_sees_the_image_blacked_out_before_normalisation(label_set, labels, body, monkeypatch):
    """Equal to the last bit to blackening the uint8 image, with a normalisation that is not the default one."""
    mean, std = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)
    facts = Facts(persons=4, cameras=2, clothes=6, height=64, width=32, label_set=label_set, mean=mean, std=std)
    method = small(facts, mask_body=body).eval()
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (2, 64, 32, 3), dtype=np.uint8)
    masks = generator.integers(0, labels, (2, 64, 32), dtype=np.uint8)
    blackened = np.where(clothing_table(label_set, body=body)[masks][..., None], 0, images).astype(np.uint8)
    assert method.attention_stream is not None
    seen, look = [], method.attention_stream.trunk.forward_features
    monkeypatch.setattr(method.attention_stream.trunk, "forward_features", lambda x: seen.append(x) or look(x))
    normalised = normalise(torch.from_numpy(images), mean, std)
    with torch.no_grad():
        method.embed(normalised, masks=torch.from_numpy(masks))
    assert torch.equal(seen[0], normalise(torch.from_numpy(blackened), mean, std))


def test_the_fill_may_be_the_mean_colour():
    batch = small_batch()
    method = small(mask_fill="mean").eval()
    with torch.no_grad():
        feature = method.embed(batch.images, masks=batch.mask)
        hidden = torch.from_numpy(clothing_table("lip"))[batch.mask.long()].unsqueeze(1)  # type: ignore[union-attr]
        assert method.attention_stream is not None
        maps = method.attention_stream.trunk.forward_features(batch.images.masked_fill(hidden, 0.0))
        expected = method.heads["identity"](method._refined_maps(batch.images, maps))
    torch.testing.assert_close(feature, expected)


def test_the_test_feature_is_the_main_streams_weighted_by_the_attention_streams():
    """f_rg written out cell by cell, with running statistics that are not (0, 1)."""
    method, batch = small().double().eval(), small_batch()
    images = batch.images.double()
    norm = method.heads["identity"].norm
    assert isinstance(norm, torch.nn.BatchNorm2d)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    norm.running_mean.normal_()
    norm.running_var.uniform_(0.5, 2)
    assert method.attention_stream is not None
    hidden = torch.from_numpy(clothing_table("lip"))[batch.mask.long()]  # type: ignore[union-attr]
    masked = torch.where(hidden.unsqueeze(1), method.fill, images)
    with torch.no_grad():
        seen, maps = (
            part.trunk.forward_features(x) for part, x in ((method.attention_stream, masked), (method.backbone, images))
        )
        kernel = method.attention_convolution.weight[0]  # [2, 7, 7]
        expected = torch.zeros(8, method.backbone.width, dtype=torch.float64)
        _, _, height, width = maps.shape
        assert (height, width) == (4, 2), "stride 16: the last stage keeps its size"
        pooled = F.pad(torch.stack([seen.amax(1), seen.mean(1)], dim=1), (3, 3, 3, 3))
        for row in range(height):
            for column in range(width):
                window = pooled[:, :, row : row + 7, column : column + 7]
                weight = 1 / (1 + torch.exp(-(window * kernel).sum(dim=(1, 2, 3))))  # W_I
                cell = weight[:, None] * maps[:, :, row, column]
                scaled = (cell - norm.running_mean) / torch.sqrt(norm.running_var + norm.eps)
                expected += scaled * norm.weight + norm.bias
        torch.testing.assert_close(method.embed(images, masks=batch.mask), expected / (height * width))
    assert method.attention_convolution.bias is None


def test_two_features_at_test_are_of_unit_length_each():
    batch, method = small_batch(), small(test_feature="refined_and_attention").eval()
    plain = small().eval()
    plain.load_state_dict(method.state_dict())
    with torch.no_grad():
        both, refined = (one.embed(batch.images, masks=batch.mask) for one in (method, plain))
    assert both.shape == (8, 2 * method.backbone.width)
    torch.testing.assert_close(both[:, : refined.shape[1]], F.normalize(refined))
    torch.testing.assert_close(both[:, refined.shape[1] :].norm(dim=1), torch.ones(8))


def clothing_features(masks: Tensor, **config: Any) -> tuple[Tensor, Tensor]:
    """(f_c, F_rg) of a map of noise, before the batch norm has learned anything."""
    maps = torch.randn(2, 512, 4, 2, generator=torch.Generator().manual_seed(1))
    return small(normalise=False, **config).eval()._clothing_features(maps, masks), maps


@pytest.mark.parametrize("norm", ["map", "vector"])
@pytest.mark.parametrize("pooling", ["all", "masked"])
def test_clothing_features_average_the_cells_that_show_clothes(norm, pooling):
    """A quarter of the first image's second cell is a coat; the second image shows none."""
    masks = torch.zeros(2, 64, 32, dtype=torch.uint8)
    masks[0, :8, 16:24] = Lip.COAT
    masks[1] = Lip.FACE
    features, maps = clothing_features(masks, norm=norm, clothing_pooling=pooling)
    cell = maps[0, :, 0, 1]
    expected = torch.stack([cell if pooling == "masked" else 0.25 * cell / 8, torch.zeros(512)])
    torch.testing.assert_close(features, expected / (1 + 1e-5) ** 0.5, atol=1e-6, rtol=1e-5)


def test_norm_and_pooling_change_places_where_it_matters():
    """In training the statistics of maps are not those of vectors; each is what torch computes in that order."""
    maps, masks = torch.randn(4, 512, 4, 2), torch.full((4, 64, 32), int(Lip.PANTS), dtype=torch.uint8)
    of_maps, of_vectors = (
        small(normalise=False, norm=norm)._clothing_features(maps, masks) for norm in ("map", "vector")
    )
    spread = maps.var(dim=(0, 2, 3), unbiased=False)
    mean = maps.mean(dim=(2, 3))
    torch.testing.assert_close(of_maps, (mean - maps.mean(dim=(0, 2, 3))) / (spread + 1e-5).sqrt(), atol=1e-5, rtol=0)
    torch.testing.assert_close(of_vectors, F.batch_norm(mean, None, None, training=True))


@pytest.mark.parametrize(("how", "weight"), [("area", 0.25), ("nearest", 0.0), ("bilinear", 0.0)])
def test_masks_reach_the_maps_size_as_chosen(how, weight):
    """A coat in the corner of a cell of 16 × 16 pixels: a quarter of its area, and not at its centre."""
    masks = torch.zeros(2, 64, 32, dtype=torch.uint8)
    masks[:, :4, :16] = Lip.COAT
    features, maps = clothing_features(masks, resize=how)
    torch.testing.assert_close(features, weight * maps[:, :, 0, 0] / 8 / (1 + 1e-5) ** 0.5, atol=1e-6, rtol=1e-5)


def test_arms_and_legs_are_never_clothing_for_the_contrast():
    masks = torch.full((2, 64, 32), int(Lip.LEFT_LEG), dtype=torch.uint8)
    features, _ = clothing_features(masks, mask_body=True)
    assert not features.any()


def test_features_of_clothing_are_of_unit_length_unless_told_otherwise(monkeypatch):
    seen: list[Tensor] = []

    def spy(features: Tensor, *arguments: Any, **options: Any) -> Tensor:
        seen.append(features)
        return clothing_contrastive(features, *arguments, **options)

    monkeypatch.setattr("methods.ifd.clothing_contrastive", spy)
    for normalised in (True, False):
        small(normalise=normalised).losses(small_batch())
    torch.testing.assert_close(seen[0].norm(dim=1), torch.ones(8))
    torch.testing.assert_close(seen[0], F.normalize(seen[1]))
    assert (seen[1].norm(dim=1) > 1.1).all()


# --- terms and stages ---


def test_every_option_of_the_contrast_reaches_it():
    batch, method = small_batch(), small()
    options = {"temperature": 0.5, "clothes_divisor": 0.2, "self_positive": True, "contrast": "supcon"}
    plain = method.losses(batch)
    for name, value in options.items():
        changed = small(**{name: value})
        changed.load_state_dict(method.state_dict())
        method.load_state_dict(changed.state_dict())
        terms = changed.losses(batch)
        assert {term for term in plain if not torch.equal(terms[term], plain[term])} == {"contrastive"}, name


def test_the_first_stage_trains_the_attention_stream_alone():
    method = small()
    method.epoch = 2
    before = {name: buffer.clone() for name, buffer in method.backbone.named_buffers()}
    assert set(method.losses(small_batch())) == {"attention"}
    assert backward(method) == {"main": False, "attention": True, "conv": False}
    assert all(torch.equal(buffer, before[name]) for name, buffer in method.backbone.named_buffers())
    method.epoch = 3
    assert set(method.losses(small_batch())) == {"identity", "attention", "contrastive"}


def test_the_second_stage_trains_everything():
    method = small()
    method.epoch = 3
    assert all(backward(method).values())
    assert all(parameter.grad is not None for parameter in method.parameters())


@pytest.mark.parametrize("term", ["identity", "contrastive"])
def test_identity_and_contrast_teach_both_streams_unless_the_attention_is_detached(term):
    assert backward(small(), term) == {"main": True, "attention": True, "conv": True}
    assert backward(small(detach_attention=True), term) == {"main": True, "attention": False, "conv": True}
    assert backward(small(detach_attention=True), "attention")["attention"]


def test_a_frozen_attention_stream_keeps_weights_and_statistics_after_the_first_stage():
    method, batch = small(freeze_attention=True), small_batch()
    assert method.attention_stream is not None

    def changed() -> bool:
        assert method.attention_stream is not None
        before = {name: value.clone() for name, value in method.attention_stream.state_dict().items()}
        optimizer = build_optimiser(method.named_parameters(), OptimiserConfig())
        method.train()
        torch.stack(list(method.losses(batch).values())).sum().backward()
        optimizer.step()
        return any(not torch.equal(value, before[name]) for name, value in method.attention_stream.state_dict().items())

    method.epoch = 2
    assert changed()
    method.epoch = 3
    method.zero_grad()
    assert not changed()
    assert set(method.losses(batch)) == {"identity", "contrastive"}
    assert method.attention_convolution.weight.grad is not None


@pytest.mark.parametrize(
    ("row", "terms", "training", "test"),
    [
        ("full", {"identity", "attention", "contrastive"}, True, True),
        ("baseline", {"identity"}, False, False),
        ("ikt", {"identity", "attention"}, True, True),
        ("cbd", {"identity", "contrastive"}, True, False),
        ("cl", {"identity", "attention", "contrastive"}, True, True),
        ("no_masks", {"identity", "attention", "contrastive"}, False, False),
    ],
)
def test_rows_of_the_ablation_table_have_their_terms_parts_and_masks(row, terms, training, test):
    options = {
        key.removeprefix("method."): value for key, value in IFD.ablations[row].items() if key.startswith("method.")
    }
    weights = {key.removeprefix("weights."): options.pop(key) for key in list(options) if key.startswith("weights.")}
    method, batch = small(**options, weights=weights), small_batch()
    assert ("mask" in IFD.inputs(method.config), "mask" in IFD.test_inputs(method.config)) == (training, test)
    batch = Batch(**{**vars(batch), "mask": batch.mask if training else None})
    assert set(method.losses(batch)) == terms
    assert set(method.heads) == terms
    assert set(method.classifiers) == terms - {"contrastive"}
    assert (method.attention_stream is None) == ("attention" not in terms)
    extras = {"masks": batch.mask} if test else {}
    assert method.eval().embed(batch.images, **extras).shape == (8, 512)


def test_without_masks_whole_images_are_seen_and_contrasted(caplog):
    """As if nobody wore anything, and as if everything were clothing; and it says that this is not the paper's."""
    with caplog.at_level(logging.WARNING, logger="ccreid"):
        method = small(masks=False)
    assert "method.masks=false is another method" in caplog.text
    batch = small_batch()
    with_masks = small()
    with_masks.load_state_dict(method.state_dict())
    bare = Batch(**{**vars(batch), "mask": None})
    nobody = torch.zeros_like(batch.mask)  # type: ignore[arg-type]
    terms, others = method.losses(bare), with_masks.losses(Batch(**{**vars(batch), "mask": nobody}))
    assert torch.equal(terms["identity"], others["identity"])
    assert torch.equal(terms["attention"], others["attention"])
    refined = method._refined_maps(batch.images, method._attention_maps(batch.images, None))
    everything = torch.full_like(nobody, int(Lip.COAT))
    torch.testing.assert_close(
        method._clothing_features(refined, None), with_masks._clothing_features(refined, everything)
    )


def test_missing_masks_are_named():
    batch, method = small_batch(), small()
    with pytest.raises(UsageError, match=r"parsing mask of every image.* method\.masks=false"):
        method.losses(Batch(**{**vars(batch), "mask": None}))
    with pytest.raises(UsageError, match=r"parsing mask of every image, at test too"):
        method.eval().embed(batch.images)


def test_telemetry_measures_identity_against_contrast():
    method = small()
    terms = method.losses(small_batch())
    norms = gradient_norms(terms, method.observed)
    assert norms["identity"] > 0
    assert norms["contrastive"] > 0
    assert norms["attention"] == 0
    method.epoch = 1
    assert gradient_norms(method.losses(small_batch()), method.observed)["attention"] > 0


@pytest.mark.parametrize("epoch", [1, 3])
def test_losses_stay_float32_under_autocast(epoch):
    method = small()
    method.epoch = epoch
    with torch.autocast("cpu", torch.bfloat16):
        terms = method.losses(small_batch())
    assert {term.dtype for term in terms.values()} == {torch.float32}
    assert all(term.isfinite() for term in terms.values())


# --- configuration ---


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"weights": {"identity": 0, "contrastive": 0}}, "nothing trains the main stream"),
        ({"attention": False}, r"set method\.attention_epochs=0"),
        ({"weights": {"attention": 0}}, r"set method\.attention_epochs=0"),
        (ALONE | {"test_feature": "refined_and_attention"}, r"needs method\.attention=true"),
        ({"temperature": 0}, "greater than 0"),
        ({"clothes_divisor": 0}, "greater than 0"),
        ({"attention_kernel": 4}, "attention_kernel"),
    ],
)
def test_impossible_configurations_are_refused(config, message):
    with pytest.raises(ValidationError, match=message):
        IFDConfig(**config)


def test_a_backbone_without_maps_is_refused():
    with pytest.raises(UsageError, match=r"method\.backbone=eva02_clip_tiny .* choose a ResNet"):
        small(backbone="eva02_clip_tiny")


def test_the_rate_of_heads_leaves_both_backbones_alone():
    method = small()
    optimizer = build_optimiser(method.phase_parameters("model"), OptimiserConfig(head_lr_factor=10))
    factor = {id(p): group["lr_factor"] for group in optimizer.param_groups for p in group["params"]}
    fast = {name.partition(".")[0] for name, parameter in method.named_parameters() if factor[id(parameter)] == 10}
    slow = {name.partition(".")[0] for name, parameter in method.named_parameters() if factor[id(parameter)] == 1}
    assert fast == {"heads", "classifiers", "attention_convolution"}
    assert slow == {"backbone", "attention_stream"}


@pytest.mark.parametrize("dataset", ["ltcc", "prcc", "vc_clothes"])
def test_the_recipe_warms_up_and_decays_in_either_stage(dataset):
    spec = resolve({"method.name": "ifd", "dataset.name": dataset}).spec
    rates = [learning_rate(spec.optimiser, spec.schedule, epoch, spec.train.epochs) for epoch in range(1, 81)]
    assert spec.train.epochs == 80
    warm_up = [3.5e-4 * (0.01 + 0.99 * done / 10) for done in range(10)]
    assert rates[:20] == pytest.approx(warm_up + 10 * [3.5e-4])
    assert rates[20:] == pytest.approx(warm_up + 10 * [3.5e-4] + 20 * [3.5e-5] + 20 * [3.5e-6])
    assert (spec.sampler.kind, spec.sampler.batch_size, spec.sampler.instances) == ("outfits", 64, 8)
    assert spec.augment.erase_masks


def test_full_size_streams_have_the_size_of_two_resnets():
    facts = Facts(persons=77, cameras=12, clothes=256, height=384, width=192)
    with torch.device("meta"):
        method = IFD(IFDConfig(pretrained=False), facts)
    resnet50, norm, heads = 23_508_032, 2 * 2048, 77 * 2048
    assert sum(p.numel() for p in method.parameters()) == 2 * resnet50 + 3 * norm + 2 * heads + 2 * 7 * 7
    with torch.no_grad(), torch.device("meta"):
        assert method.backbone.trunk.forward_features(torch.empty(1, 3, 384, 192)).shape == (1, 2048, 24, 12)


def test_registered_weights_are_the_names_of_the_terms():
    assert METHODS.get("ifd") is IFD
    assert set(IFDWeights.model_fields) == set(small().losses(small_batch()))


# --- through the command line ---

TINY = [
    "method=ifd",
    "method.backbone=resnet_tiny",
    "method.pretrained=false",
    "method.attention_epochs=1",
    "image.height=64",
    "image.width=32",
    "sampler.batch_size=8",
    "sampler.instances=4",
    "train.epochs=2",
    "train.precision=fp32",
    "optimiser.lr=1e-3",
    "schedule.warmup_epochs=0",
    "schedule.restart_after=1",
    "evaluate.protocols=standard",
    "device=cpu",
]


@pytest.fixture
def words(tmp_path: Path) -> list[str]:
    """An epoch of either stage on a small world."""
    world = ["people=6", "test_people=4", "cameras=2", "tracklets=1", "frames=2", "height=64"]
    places = [f"runs={tmp_path / 'runs'}", f"cache={tmp_path / 'cache'}"]
    return [*TINY, "dataset=synthetic", *(f"dataset.{word}" for word in world), *places]


def test_both_stages_run_and_every_term_is_recorded(words: list[str]) -> None:
    assert run.main([*words, "evaluate.flip=true"]) == 0
    folder = only_run(words)
    one, two = folder.events("epoch")
    assert set(one["terms"]) == {"attention"}
    assert set(two["terms"]) == {"identity", "attention", "contrastive"}
    assert folder.data()["facts"]["std"] == [0.229, 0.224, 0.225]
    places = [word for word in words if word.startswith(("runs=", "cache="))]
    assert run.main(["evaluate", f"run={folder.run_id}", "evaluate.flip=false", *places]) == 0


@pytest.mark.slow
def test_a_run_stopped_in_the_frozen_stage_ends_with_the_bits_of_an_unbroken_one(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stage, and with it what is frozen, is known again after a restart in mid-epoch."""
    words = [*words, "method.freeze_attention=true", "evaluate.initial=false"]
    assert run.main(words) == 0
    broken_words = [word for word in words if not word.startswith("runs=")] + [f"runs={tmp_path / 'broken'}"]
    move, stopped = Trainer._move, []

    def interrupted(self: Trainer, *arguments: Any) -> dict[str, float]:
        if self.epoch == 2 and self.step == 1 and not stopped:
            stopped.append(self.epoch)
            os.kill(os.getpid(), signal.SIGTERM)
        return move(self, *arguments)

    monkeypatch.setattr(Trainer, "_move", interrupted)
    assert run.main(broken_words) == 75
    assert stopped == [2]
    assert run.main(broken_words) == 0
    assert_equal_runs(only_run(words), only_run(broken_words))


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small world in LTCC's layout, with masks."""
    out = tmp_path_factory.mktemp("written")
    world = Synthetic.Config(people=6, test_people=4, cameras=2, tracklets=1, frames=2, height=64)
    write_layout("ltcc", out, world)
    return out


@pytest.fixture
def release(written: Path, tmp_path: Path) -> Path:
    """A copy of it to take masks from."""
    return Path(shutil.copytree(written, tmp_path / "data"))


def test_masks_of_a_release_are_read_and_a_missing_one_is_named(
    release: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    words = [*TINY, "dataset=ltcc", f"data={release}", f"runs={tmp_path / 'runs'}", f"cache={tmp_path / 'cache'}"]
    assert run.main(words) == 0
    gone = sorted((release / "masks/LTCC_ReID/train").glob("*.png"))[5]
    gone.unlink()
    capsys.readouterr()
    assert run.main([*words, "seed=1"]) == 3
    error = capsys.readouterr().err
    assert str(gone) in error
    assert error.count("\n") == 1
    assert run.main([*words, "masks.missing=background"]) == 0


def test_a_missing_mask_of_the_test_is_noticed_before_training(
    release: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    words = [*TINY, "dataset=ltcc", f"data={release}", f"runs={tmp_path / 'runs'}", f"cache={tmp_path / 'cache'}"]
    gone = sorted((release / "masks/LTCC_ReID/test").glob("*.png"))[0]
    gone.unlink()
    assert run.main(words) == 3
    captured = capsys.readouterr()
    assert str(gone) in captured.err
    assert "set masks.missing=background" in captured.err
    assert "epoch" not in captured.out


def test_masks_of_another_label_set_are_refused_before_training(
    release: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    words = [*TINY, "dataset=ltcc", f"data={release}", f"runs={tmp_path / 'runs'}", f"cache={tmp_path / 'cache'}"]
    assert run.main([*words, "masks.label_set=pascal"]) == 3
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert str(release / "masks/LTCC_ReID/train") in error
    assert "masks.label_set=pascal ends at 6: say what they were written in, masks.label_set=lip" in error
    assert run.main(["check", "dataset=ltcc", f"data={release}", "masks.label_set=pascal"]) == 3
    assert "masks.label_set=pascal ends at 6" in capsys.readouterr().out


def test_masks_that_count_as_background_are_counted_and_said(
    release: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """Else a wrong folder would train on black images, or on whole ones, without a word."""
    for mask in (release / "masks/LTCC_ReID/train").glob("*.png"):
        mask.unlink()
    gone = sorted((release / "masks/LTCC_ReID/test").glob("*.png"))[0]
    gone.unlink()
    words = [*TINY, "dataset=ltcc", f"data={release}", f"runs={tmp_path / 'runs'}", f"cache={tmp_path / 'cache'}"]
    assert run.main([*words, "masks.missing=background"]) == 0
    folder = only_run(words)
    splits, found = folder.data()["splits"], folder.data()["masks"]
    assert found["train"] == 0
    assert found["query"] == splits["query"]["images"]
    (gallery,) = set(found) - {"train", "query"}
    assert found[gallery] == splits[gallery]["images"] - 1
    said = [event["message"] for event in folder.events("warning") if "masks found" in event["message"]]
    assert len(said) == 2
    assert f"train: 0 of {splits['train']['images']} masks found below {release / 'masks/LTCC_ReID'}" in said[0]
    assert said[1].startswith(f"{gallery}: {found[gallery]} of ")


def test_what_needs_no_masks_runs_where_there_are_none(release: Path, tmp_path: Path) -> None:
    shutil.rmtree(release / "masks")
    words = [*TINY, "dataset=ltcc", f"data={release}", f"runs={tmp_path / 'runs'}", f"cache={tmp_path / 'cache'}"]
    assert run.main(words) == 3
    assert run.main([*words, "method.masks=false"]) == 0
    alone = [word for word in words if not word.startswith("method.attention_epochs")]
    assert run.main([*alone, "ablation=baseline"]) == 0
