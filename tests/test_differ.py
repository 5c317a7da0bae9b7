"""DIFFER against the official code: network, losses, gradients, training steps; and the paths that code cannot run."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from benchmarks.optimisation import OptimiserConfig, ScheduleConfig, build_optimiser, set_learning_rates
from datasets.captions import ASPECTS
from datasets.errors import DataError, UsageError
from methods import METHODS
from methods.base import Batch, Facts
from methods.differ import Differ, DifferConfig, DifferWeights, factor_contrast, released_factor_contrast
from methods.weights import read_state_dict

OFFICIAL_TINY = {"patch_size": 14, "embed_dim": 64, "depth": 3, "num_heads": 4}
"""The official network of the golden values: image 56×56."""

Arrays = dict[str, Tensor]


def arrays_of(file: Path, prefix: str = "") -> Arrays:
    with np.load(file, allow_pickle=False) as arrays:
        keys = [key for key in arrays.files if key.startswith(prefix) and arrays[key].dtype.kind in "fibu"]
        return {key.removeprefix(prefix): torch.from_numpy(arrays[key]) for key in keys}


def our_name(official: str, depth: int = 3) -> str:
    """Official parameter name → ours."""
    for theirs, ours in (
        ("camera_embed", "camera_embedding"),
        (".head_fc.", "."),
        ("head_clip_bioReverse.", "heads.non_biometric.heads."),
        ("head_clip_bio.", "heads.biometric."),
        ("head_bio.", f"backbone.trunk.blocks.{depth - 1}."),
        ("norm_bio.", "backbone.trunk.norm."),
    ):
        official = official.replace(theirs, ours)
    if official.startswith("head."):
        return f"heads.identity{official.removeprefix('head')}"
    if "heads." in official:
        return official.replace(".fc1.", ".0.").replace(".fc2.", ".2.")
    return official if official.startswith(("camera", "backbone.")) else f"backbone.trunk.{official}"


def load_official(method: Differ, state: Arrays) -> None:
    own = method.state_dict()
    method.load_state_dict({our_name(key): value.reshape(own[our_name(key)].shape) for key, value in state.items()})


def make_batch(images: Tensor, person: Tensor, camera: Tensor, captions: Tensor | None) -> Batch:
    """`captions` [B, 1+F, D] in the official order: biometrics, hairstyle, clothing, …"""
    if captions is not None:
        rest = torch.zeros(len(captions), len(ASPECTS) - captions.shape[1], captions.shape[2])
        captions = torch.cat([captions, rest], dim=1)
    return Batch(images, person, camera, camera, torch.arange(len(images)), caption=captions)


def tiny(facts: Facts | None = None, **config: Any) -> Differ:
    facts = facts or Facts(persons=5, cameras=4, clothes=1, height=56, width=56, text_width=32)
    config = {"backbone": "eva02_clip_tiny", "pretrained": False} | OFFICIAL_TINY | config
    return Differ(DifferConfig(**config), facts)


def tiny_batch(seed: int = 0, persons: int = 5) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    person = torch.arange(8) // 2 % persons
    images, captions = torch.randn(8, 3, 56, 56, generator=generator), torch.randn(8, 6, 32, generator=generator)
    return Batch(images, person, torch.arange(8) % 4, person, torch.arange(8), caption=captions)


# --- losses ---


@pytest.fixture(scope="module")
def losses_file(golden: Path) -> Path:
    return golden / "differ/losses.npz"


@pytest.mark.parametrize("version", ["HEAD", "V1"])
@pytest.mark.parametrize("case", ["ltcc", "prcc", "celeb", "3factors"])
def test_every_term_and_gradient_equals_the_official_objective(losses_file, case, version):
    official = arrays_of(losses_file, f"full_{case}_{version}/")
    inputs = {key: official[key].requires_grad_() for key in ("cls_score", "feat", "bio", "rev")}
    factors = official["rev"].shape[1]
    method = tiny(non_biometric=ASPECTS[1 : 1 + factors], released_code=version == "HEAD")
    batch = make_batch(torch.empty(0), official["target"], official["target"], official["caption"])
    projected = {"identity": inputs["cls_score"], "biometric": inputs["bio"], "non_biometric": inputs["rev"]}
    terms = method._terms(inputs["feat"], projected, batch)
    total = torch.stack(list(terms.values())).sum()
    total.backward()
    torch.testing.assert_close(total, official["loss"], rtol=1e-6, atol=1e-6)
    logged = ("id", "triplet", "clip_bio_0", f"clip_bio_reverse_{factors - 1}")  # the last one is the running sum
    for term, name in zip(terms.values(), logged, strict=True):
        torch.testing.assert_close(term.double(), official[f"log/loss/{name}"], rtol=1e-6, atol=1e-6)
    for key, gradient in (("cls_score", "g_cls"), ("feat", "g_feat"), ("bio", "g_bio"), ("rev", "g_rev")):
        torch.testing.assert_close(inputs[key].grad, official[gradient], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("version", ["HEAD", "V1"])
@pytest.mark.parametrize("kind", ["linear", "mlp"])
def test_the_feature_is_pulled_to_the_biometric_and_pushed_from_the_other_text(golden, kind, version):
    """Heads and reversal together: values, the gradient on the feature, and the gradients of every head's weights."""
    official = arrays_of(golden / "differ/grl.npz", f"{kind}_{version}/")
    facts = Facts(persons=5, cameras=0, clothes=1, height=24, width=24, text_width=40)
    method = tiny(
        facts,
        patch_size=8,
        embed_dim=24,
        num_heads=2,
        projection=kind,
        projection_hidden=16,
        weights={"identity": 0, "triplet": 0},
        released_code=version == "HEAD",
    )
    mapped = {"bio_head": "head_clip_bio", "heads": "head_clip_bioReverse"}
    # In these numbers the biometric head is linear in both cases.
    names = {
        key: our_name(key.replace(key.split(".")[0], mapped[key.split(".")[0]]))
        for key in official
        if key.startswith(("bio_head.", "heads."))
    }
    if kind == "mlp":
        method.heads["biometric"] = torch.nn.Linear(24, 40)
    parameters = dict(method.named_parameters())
    for key, name in names.items():
        parameters[name].data.copy_(official[key])
    features = official["feat"].requires_grad_()
    batch = make_batch(torch.empty(0), torch.arange(6), torch.arange(6), official["caption"])
    terms = method._terms(features, method._project(features), batch)
    (terms["biometric"] + terms["non_biometric"]).backward()
    torch.testing.assert_close(terms["biometric"], official["loss_bio"], rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(terms["non_biometric"], official["loss_rev"], rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(features.grad, official["g_feat"], rtol=1e-6, atol=1e-6)
    for key, name in names.items():
        torch.testing.assert_close(parameters[name].grad, official[f"g.{key}"], rtol=1e-6, atol=1e-6)


def test_only_our_form_reaches_every_image_of_the_batch():
    projected, texts = torch.randn(8, 2, 16, requires_grad=True), torch.randn(8, 2, 16)
    (ours,) = torch.autograd.grad(factor_contrast(projected, texts), projected)
    (released,) = torch.autograd.grad(released_factor_contrast(projected, texts), projected)
    assert (ours.abs().amax(dim=(1, 2)) > 0).all()
    assert (released.abs().amax(dim=(1, 2)) > 0).tolist() == [True, True] + [False] * 6


# --- the network ---

CLOSE = {"rtol": 1e-5, "atol": 1e-5}
CASES = {
    "clipFc_n2": {},
    "clipFc_n1_x1": {"non_biometric": ("hairstyle",), "camera_strength": 1.0},
    "clipMLP_n2": {"projection": "mlp", "projection_hidden": 16},
}


@pytest.mark.parametrize("case", CASES)
def test_network_equals_the_official_one(golden, case):
    """Test feature, training outputs, loss (without triplet) and gradients, from the official weights."""
    file = golden / "differ/model_tiny.npz"
    official, shared = arrays_of(file, f"{case}/"), arrays_of(file)
    method = tiny(**CASES[case], weights={"triplet": 0})
    load_official(method, arrays_of(file, f"{case}/sd/"))
    method.eval()
    with torch.no_grad():
        feature = method.embed(shared["img"], shared["cam"])
    torch.testing.assert_close(feature, official["eval_feat"], **CLOSE)

    method.train()
    feature = method.embed(shared["img"], shared["cam"])
    torch.testing.assert_close(feature, official["train_feat"], **CLOSE)
    projected = method._project(feature)
    for term, output in (("identity", "cls"), ("biometric", "bio"), ("non_biometric", "rev")):
        torch.testing.assert_close(projected[term], official[f"train_{output}"], **CLOSE)

    batch = make_batch(shared["img"], official["tgt"], shared["cam"], official["cap"])
    total = torch.stack(list(method.losses(batch).values())).sum()
    torch.testing.assert_close(total, official["loss"], **CLOSE)
    total.backward()
    parameters = dict(method.named_parameters())
    compared = [key.removeprefix("grad/") for key in official if key.startswith("grad/")]
    assert len(compared) == 10
    for name in compared:
        ours, theirs = parameters[our_name(name)].grad, official[f"grad/{name}"]
        assert ours is not None
        torch.testing.assert_close(ours.reshape(theirs.shape), theirs, **CLOSE)
    assert all(parameter.grad is not None for parameter in parameters.values())


@pytest.mark.parametrize("case", CASES)
def test_a_released_checkpoint_gives_the_official_features(golden, case, tmp_path):
    """As the authors save it, with the bias that only released weights have; sizes come from the tensors."""
    official = arrays_of(golden / "differ/model_tiny.npz", f"{case}/")
    shared = arrays_of(golden / "differ/model_tiny.npz")
    state = {f"module.{key.removeprefix('sd/')}": value for key, value in official.items() if key.startswith("sd/")}
    state["module.head_clip_bioReverse.0.head_fc.bias"] = torch.zeros(32)
    torch.save(state, tmp_path / "eva02_l_bio_best.pth")
    config = DifferConfig(backbone="eva02_clip_tiny", pretrained=False, num_heads=4)
    if "camera_strength" in CASES[case]:
        config = config.model_copy(update={"camera_strength": CASES[case]["camera_strength"]})
    loaded = Differ.from_official(read_state_dict(tmp_path / "eva02_l_bio_best.pth"), config, 56, 56)
    assert loaded.method.facts.cameras == len(official["sd/camera_embed"])
    assert loaded.method.facts.persons == len(official["sd/head.weight"])
    assert loaded.method.facts.text_width == 32
    assert any(name.startswith("head_clip_bioReverse") for name in loaded.ignored)
    assert "camera_embed" not in loaded.ignored
    with torch.no_grad():
        feature = loaded.method.eval().embed(shared["img"], shared["cam"])
    torch.testing.assert_close(feature, official["eval_feat"], **CLOSE)


def test_a_checkpoint_of_something_else_is_refused():
    with pytest.raises(DataError, match="it is not DIFFER's"):
        Differ.from_official({"fc.weight": torch.zeros(2, 2)}, DifferConfig(), 224, 224)


@pytest.mark.parametrize("version", ["HEAD", "V1"])
def test_six_training_steps_follow_the_official_ones(golden, version):
    """Method, losses, optimiser and schedule together: losses, rates, final weights and the final feature."""
    official = arrays_of(golden / "differ/steps.npz")
    facts = Facts(persons=6, cameras=12, clothes=1, height=56, width=56, text_width=256)
    method = tiny(facts, released_code=version == "HEAD")
    load_official(method, {key[4:]: value for key, value in official.items() if key.startswith("sd0/")})
    batch = make_batch(official["img"], official["target"], official["cam"], official["caption"])
    optimiser = OptimiserConfig(name="sgd", lr=2e-3, momentum=0.9, weight_decay=0.05, bias_lr_factor=2.0)
    schedule = ScheduleConfig(name="unshifted_cosine", warmup_epochs=20, warmup_lr=7.8125e-4, min_factor=0.1)
    optimizer = build_optimiser(method.named_parameters(), optimiser)
    for step in range(6):
        set_learning_rates(optimizer, optimiser, schedule, step + 1, 60)
        rates = {group["lr_factor"]: group["lr"] for group in optimizer.param_groups}
        assert [rates[1.0], rates[2.0]] == pytest.approx(official[f"{version}/lr"][step].tolist(), rel=1e-12)
        terms = method.losses(batch)
        values = torch.stack(list(terms.values()))
        logged = official[f"{version}/components"][step, [0, 1, 2, 4]]  # 3 and 4 are the running sum over the factors
        torch.testing.assert_close(values.double(), logged, rtol=0, atol=1e-4)
        total = values.sum()
        torch.testing.assert_close(total.double(), official[f"{version}/loss"][step], rtol=0, atol=1e-4)
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
    parameters = dict(method.named_parameters())
    for name, after in arrays_of(golden / "differ/steps.npz", f"{version}/after/").items():
        ours = parameters[our_name(name)].detach().reshape(after.shape)
        torch.testing.assert_close(ours, after, rtol=1e-4, atol=1e-4)
    method.eval()
    with torch.no_grad():
        feature = method.embed(official["img"], official["cam"])
    torch.testing.assert_close(feature, official[f"{version}/eval_feat_after"], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("dataset", "facts", "config"),
    [
        ("ltcc", (77, 12, 512), {}),
        ("ltcc_mlp", (77, 12, 1024), {"projection": "mlp"}),
        ("prcc", (150, 3, 768), {"non_biometric": ("hairstyle",)}),
        ("celeb_light", (490, 1, 1024), {"non_biometric": ("clothing",)}),
    ],
)
def test_full_size_network_has_the_official_number_of_parameters(golden, dataset, facts, config):
    persons, cameras, text_width = facts
    with torch.device("meta"):
        method = Differ(
            DifferConfig(pretrained=False, **config),
            Facts(persons, cameras, clothes=1, height=224, width=224, text_width=text_width),
        )
    official = json.loads((golden / "differ/load_facts.json").read_text())[f"params_{dataset}"]
    sizes = {name: parameter.numel() for name, parameter in method.named_parameters()}
    assert sum(sizes.values()) == official["total"]
    assert len(sizes) == official["tensors"]
    assert sum(size for name, size in sizes.items() if not name.startswith("heads.")) == official["used_at_test"]


def test_heads_and_cameras_start_at_the_official_scale(golden):
    official = json.loads((golden / "differ/load_facts.json").read_text())["init"]
    torch.manual_seed(0)
    facts = Facts(persons=77, cameras=12, clothes=1, height=16, width=16, text_width=512)
    method = tiny(facts, patch_size=8, embed_dim=1024, depth=1, num_heads=16)
    parameters = dict(method.named_parameters())
    for name in ("head.weight", "head_clip_bio.weight", "head_clip_bioReverse.0.head_fc.weight", "camera_embed"):
        _, std, _ = official[name]
        assert float(parameters[our_name(name)].detach().std()) == pytest.approx(std, rel=0.02)
    assert not parameters["heads.identity.bias"].any()


# --- what the released code cannot do ---


@pytest.mark.parametrize("ablation", ["baseline", "biometric", "non_biometric", "full"])
def test_every_set_of_terms_trains(ablation):
    """Rows of the ablation table; a term switched off has no head, and without text terms no captions are needed."""
    off = {key.rpartition(".")[2]: 0.0 for key in Differ.ablations[ablation]}
    method = tiny(weights=off)
    batch = tiny_batch()
    if ablation == "baseline":
        assert not Differ.inputs(method.config)
        batch = make_batch(batch.images, batch.person, batch.camera, None)
    else:
        assert Differ.inputs(method.config) == {"caption"}
    terms = method.losses(batch)
    assert set(terms) == {"identity", "triplet", "biometric", "non_biometric"} - set(off)
    assert set(method.heads) == set(terms) - {"triplet"}
    torch.stack(list(terms.values())).sum().backward()
    assert all(parameter.grad is not None for parameter in method.parameters())
    assert method.observed is not None
    assert method.observed.shape == (8, 64)


def test_missing_captions_are_named():
    batch = tiny_batch()
    with pytest.raises(UsageError, match="need captions"):
        tiny().losses(make_batch(batch.images, batch.person, batch.camera, None))
    with pytest.raises(UsageError, match=r"captions\.summary=true"):
        tiny(summary_text=True).losses(batch)


def test_summary_replaces_the_biometric_text_alone():
    batch = tiny_batch()
    summarised = Batch(**{**vars(batch), "caption_summary": torch.randn(8, 32)})
    method = tiny()
    with_summary = tiny(summary_text=True)
    with_summary.load_state_dict(method.state_dict())
    plain, changed = method.losses(summarised), with_summary.losses(summarised)
    assert {name for name in plain if not torch.equal(plain[name], changed[name])} == {"biometric"}


def test_an_unknown_camera_gets_the_mean_embedding_or_none():
    images, unknown = torch.randn(2, 3, 56, 56), torch.tensor([-1, -1])
    mean, off = tiny().eval(), tiny(unknown_camera="off").eval()
    off.load_state_dict(mean.state_dict())
    no_camera = tiny(camera_strength=0.0).eval()
    no_camera.load_state_dict({key: value for key, value in mean.state_dict().items() if key != "camera_embedding"})
    assert no_camera.camera_embedding is None
    with torch.no_grad():
        assert torch.equal(off.embed(images, unknown), no_camera.embed(images, torch.tensor([0, 3])))
        assert torch.equal(mean.embed(images), mean.embed(images, unknown))
        assert not torch.allclose(mean.embed(images), off.embed(images))
        assert mean.camera_embedding is not None
        mean.camera_embedding.copy_(mean.camera_embedding[2].clone().expand(4, -1))
        torch.testing.assert_close(mean.embed(images), mean.embed(images, torch.tensor([2, 2])))


def test_released_projections_take_autocasts_precision_and_ours_stay_float32(monkeypatch):
    """Q18: outside autocast both are float32; inside, only released_code follows it."""
    seen: dict[bool, torch.dtype] = {}
    for released in (False, True):
        method = tiny(released_code=released)
        original = method._terms

        def spy(features: Tensor, projected: Arrays, batch: Batch, original=original, released=released):
            seen[released] = projected["biometric"].dtype
            return original(features, projected, batch)

        monkeypatch.setattr(method, "_terms", spy)
        with torch.autocast("cpu", torch.bfloat16):
            terms = method.losses(tiny_batch())
        assert all(term.isfinite() for term in terms.values())
    assert seen == {False: torch.float32, True: torch.bfloat16}


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"non_biometric": ("clothes",)}, r"unknown aspect clothes. Did you mean clothing\?"),
        ({"non_biometric": ("shoes",)}, "Known: biometrics, hairstyle, clothing"),
        ({"non_biometric": ()}, r"weights\.non_biometric=0"),
        ({"temperature": 0}, "greater than 0"),
        ({"weights": {"identity": -1}}, "greater than or equal to 0"),
        ({"camera_strengh": 1}, "Extra inputs are not permitted"),
    ],
)
def test_impossible_configurations_are_refused(config, message):
    with pytest.raises(ValidationError, match=message):
        DifferConfig(**config)


def test_a_backbone_without_tokens_needs_the_camera_embedding_off():
    facts = Facts(persons=5, cameras=4, clothes=1, height=64, width=32, text_width=32)
    with pytest.raises(UsageError, match=r"method\.camera_strength=0"):
        Differ(DifferConfig(backbone="resnet18", pretrained=False), facts)
    config = DifferConfig(backbone="resnet18", pretrained=False, camera_strength=0.0)
    assert Differ(config, facts).eval().embed(torch.randn(2, 3, 64, 32)).shape == (2, 512)


def test_registered_weights_are_the_names_of_the_terms():
    assert METHODS.get("differ") is Differ
    assert set(DifferWeights.model_fields) == set(tiny().losses(tiny_batch()))


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
def test_full_size_network_takes_two_steps_on_the_cpu():
    """Real size, 224×224: finite losses, and weights that move by two official optimiser steps."""
    torch.manual_seed(0)
    facts = Facts(persons=77, cameras=12, clothes=1, height=224, width=224, text_width=512)
    method = Differ(DifferConfig(pretrained=False), facts)
    optimiser = OptimiserConfig(name="sgd", lr=2e-6, weight_decay=0.05, bias_lr_factor=2.0)
    optimizer = build_optimiser(method.named_parameters(), optimiser)
    person = torch.tensor([0, 0])
    batch = make_batch(torch.randn(2, 3, 224, 224), person, torch.tensor([0, 11]), torch.randn(2, 3, 512))
    before = method.backbone.trunk.blocks[23].mlp.fc2.weight.detach().clone()
    for epoch in (1, 2):
        set_learning_rates(optimizer, optimiser, ScheduleConfig(name="constant"), epoch, 60)
        optimizer.zero_grad()
        total = torch.stack(list(method.losses(batch).values())).sum()
        total.backward()
        optimizer.step()
        assert total.isfinite()
    assert not torch.equal(before, method.backbone.trunk.blocks[23].mlp.fc2.weight.detach())
