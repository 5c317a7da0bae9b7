"""CSSC against the official code: module, network, losses, gradients, training steps, batches, rates, checkpoints."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError
from torch import Tensor

import run
from benchmarks.optimisation import OptimiserConfig, ScheduleConfig, build_optimiser, learning_rate, set_learning_rates
from benchmarks.resolve import resolve
from datasets.errors import DataError, UsageError
from datasets.samplers import SamplerConfig, identity_batches
from methods import METHODS
from methods.base import Batch, Facts
from methods.cssc import CSSC, OFFICIAL_NAMES, SMR, CSSCConfig, CSSCWeights, our_name
from methods.losses import batch_hard_triplet
from methods.weights import read_state_dict
from tests.golden_fill import checksum, drawn, fill, filled_state
from tests.test_experiment import only_run

FACTS = Facts(persons=4, cameras=2, clothes=4, height=128, width=64)

Names = dict[str, Any]
Arrays = Mapping[str, np.ndarray]


def small(facts: Facts = FACTS, **config: Any) -> CSSC:
    torch.manual_seed(0)
    return CSSC(CSSCConfig(**({"backbone": "resnet_tiny", "pretrained": False, "part_width": 32} | config)), facts)


def small_batch(height: int = 128) -> Batch:
    """4 people × 2 images, each a noisy copy of its person."""
    generator = torch.Generator().manual_seed(0)
    person = torch.arange(8) // 2
    images = torch.randn(4, 3, height, 64, generator=generator)[person]
    images = images + 0.5 * torch.randn(8, 3, height, 64, generator=generator)
    return Batch(images, person, person % 2, person, torch.arange(8))


def official_name(ours: str) -> str:
    """The way back of `our_name`, where heads of f and of the modules are called alike."""
    for theirs, name in OFFICIAL_NAMES:
        ours = ours.replace(name, theirs)
    return ours


def assert_near(ours: Tensor | None, official: Any, atol: float = 1e-9) -> None:
    """`atol`: features have a norm of 130, and another order of summation changes their last digits."""
    assert ours is not None
    torch.testing.assert_close(ours.detach(), torch.as_tensor(np.asarray(official)), rtol=0, atol=atol)


def assert_checksums(ours: list[Tensor], official: np.ndarray, rtol: float = 1e-7, atol: float = 1e-9) -> None:
    """Sum, norm and first values of each tensor."""
    found = np.stack([checksum(tensor) for tensor in ours])
    assert found.shape == official.shape
    np.testing.assert_allclose(found, official, rtol=rtol, atol=atol)


@pytest.fixture(scope="module")
def names(golden: Path) -> Names:
    return json.loads((golden / "cssc/names.json").read_text())


@pytest.fixture(scope="module")
def arrays(golden: Path) -> Arrays:
    return load(golden / "cssc/model.npz")


def load(file: Path) -> Arrays:
    with np.load(file, allow_pickle=False) as stored:
        return {key: stored[key] for key in stored}


# --- losses and the module, against the official code ---


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.3])
def test_cross_entropy_equals_the_official_one(golden, smoothing, monkeypatch):
    """Of f alone, whose logits are replaced."""
    official = load(golden / "cssc/losses.npz")
    logits = torch.from_numpy(official["logits"]).requires_grad_()
    method = small(label_smoothing=smoothing)
    monkeypatch.setattr(method, "_logits", lambda mined, pooled: [logits])
    batch = small_batch()
    person = torch.from_numpy(official["labels"])
    loss = method.losses(Batch(batch.images, person, person, person, batch.index))["identity"]
    loss.backward()
    assert_near(loss, official[f"ce_ls_eps{smoothing}/value"])
    assert_near(logits.grad, official[f"ce_ls_eps{smoothing}/grad"])


@pytest.mark.parametrize("margin", [0.3, 0.0, 1.0, None])
@pytest.mark.parametrize("labels", ["P2K4", "P2K4_mixed_order", "P4K2"])
def test_triplet_equals_the_official_one(golden, labels, margin):
    official = load(golden / "cssc/losses.npz")
    features = torch.from_numpy(official["feat"]).requires_grad_()
    loss = batch_hard_triplet(features, torch.from_numpy(official[f"tri_labels_{labels}"]), margin)
    loss.backward()
    case = f"triplet_{labels}_batch_hard_m{margin}"
    assert_near(loss, official[f"{case}/value"])
    assert_near(features.grad, official[f"{case}/grad"])


def test_triplet_of_equal_features_is_the_margin_without_gradient(golden):
    official = load(golden / "cssc/losses.npz")
    features = torch.from_numpy(official["feat"][:1]).expand(8, -1).clone().requires_grad_()
    loss = batch_hard_triplet(features, torch.from_numpy(official["tri_labels_P2K4"]), 0.3)
    loss.backward()
    assert_near(loss, official["triplet_identical_feats_m0.3/value"])
    assert_near(features.grad, official["triplet_identical_feats_m0.3/grad"])


@pytest.mark.parametrize("size", [(24, 12), (19, 5), (8, 4)])
@pytest.mark.parametrize("kind", ["avg", "max"])
def test_module_equals_the_official_one(golden, names, kind, size):
    """Gate, strips (at 19 rows the last three belong to none), logits, gradients and batch-norm statistics."""
    case, names = f"{kind}_H{size[0]}W{size[1]}", names["smr"]
    official = {
        key.removeprefix(f"{case}/"): value
        for key, value in load(golden / "cssc/smr.npz").items()
        if key.startswith(f"{case}/")
    }
    module = SMR({"avg": "c", "max": "s"}[kind], 64, 5, CSSCConfig(pretrained=False, part_width=16)).double()
    assert {our_name(name) for name in names["names"]} == set(module.state_dict())
    fill(module, 11, official_name)
    maps = drawn(f"smr_x_{size[0]}x{size[1]}", (4, 64, *size), 11).requires_grad_()
    with torch.no_grad():
        refined, _ = module.eval()(maps)
    assert_checksums([refined], official["eval_x_refined"][None])

    refined, g = module.train()(maps)
    logits = module.logits(maps, g)
    assert_near(g, official["train_g_feat"])
    assert_near(logits, official["train_logits"])
    assert_checksums([refined], official["train_x_refined"][None])
    outputs = {"w_xref": refined, "w_g": g, "w_y": logits}
    scalar = torch.stack([(drawn(name, value.shape, 11) * value).sum() for name, value in outputs.items()]).sum()
    assert_near(scalar, official["scalar"])
    scalar.backward()
    assert maps.grad is not None
    assert_checksums([maps.grad], official["grad_x"][None])
    parameters, buffers = dict(module.named_parameters()), dict(module.named_buffers())
    assert parameters["neck.bias"].grad is None
    if "gradients" in official:
        assert len(names["gradients"]) == len(parameters) - 1
        assert_checksums([gradient(parameters[our_name(name)]) for name in names["gradients"]], official["gradients"])
    assert_checksums([buffers[our_name(name)] for name in names["buffers"]], official["buffers"])


def gradient(parameter: Tensor) -> Tensor:
    assert parameter.grad is not None
    return parameter.grad


# --- the network ---


@pytest.fixture(scope="module")
def state(names) -> dict[str, Tensor]:
    """The official state dict of the golden values, float64: 53 million numbers."""
    return filled_state(names["shapes"], 21)


@pytest.fixture
def network(state) -> CSSC:
    with torch.device("meta"):
        method = CSSC(CSSCConfig(pretrained=False), Facts(6, 2, 6, height=128, width=64))
    renamed = {our_name(name): tensor.clone() for name, tensor in state.items()}
    method.load_state_dict(renamed, assign=True)
    return method


def images(batch: int, height: int, width: int) -> Tensor:
    return drawn(f"img_{batch}x3x{height}x{width}", (batch, 3, height, width), 21)


def test_test_features_equal_the_official_ones(network, arrays, names):
    """Also the maps behind each stage, which say where a difference begins."""
    seen: dict[str, Tensor] = {}
    modules = dict(network.named_modules())
    for stage in names["stages"]:
        ours = "backbone.trunk.layer3" if stage == "backbone_before_layer4" else our_name(f"{stage}.")[:-1]

        def remember(_: Any, __: Any, maps: Any, stage: str = stage) -> None:
            seen[stage] = maps[0] if isinstance(maps, tuple) else maps

        modules[ours].register_forward_hook(remember)
    with torch.no_grad():
        features = network.eval().embed(images(2, 128, 64))
    for stage, official in zip(names["stages"], arrays["eval_acts"], strict=True):
        maps = seen[stage]
        ours = np.concatenate([[maps.sum(), maps.norm()], maps.flatten()[:6]])
        np.testing.assert_allclose(ours, official, rtol=1e-9, atol=1e-9, err_msg=stage)
    assert_near(features, arrays["eval_2x128x64/feat"])


def test_full_size_network_has_the_official_parameters(names):
    with torch.device("meta"):
        method = CSSC(CSSCConfig(pretrained=False), Facts(77, 2, 77, height=384, width=192))
        six = CSSC(CSSCConfig(pretrained=False), Facts(6, 2, 6, height=384, width=192))
    assert sum(parameter.numel() for parameter in method.parameters()) == names["parameters"]["77"]
    trained = sum(parameter.numel() for parameter in method.parameters() if parameter.requires_grad)
    assert trained == names["parameters"]["77_trainable"]
    assert sum(parameter.numel() for parameter in six.parameters()) == names["parameters"]["6"]
    frozen = [name for name, parameter in six.named_parameters() if not parameter.requires_grad]
    assert sorted(frozen) == sorted(map(our_name, names["frozen"]))
    shapes = {name: tuple(tensor.shape) for name, tensor in six.state_dict().items()}
    assert shapes == {our_name(name): tuple(shape) for name, shape in names["shapes"].items()}


@pytest.mark.slow
def test_large_images_and_their_mirrors_equal_the_official_ones(network, arrays):
    network.eval()
    for size in ((2, 128, 64), (1, 384, 192)):
        batch, case = images(*size), f"eval_{size[0]}x{size[1]}x{size[2]}"
        with torch.no_grad():
            features = network.embed(batch)
            summed = features + network.embed(batch.flip(-1))
        assert_near(features, arrays[f"{case}/feat"])
        assert_near(F.normalize(summed), arrays[f"{case}/test_feat_flip_l2"])


PERSON = torch.tensor([0, 0, 0, 0, 4, 4, 4, 4])


@pytest.mark.slow
def test_outputs_losses_and_gradients_in_training_equal_the_official_ones(network, arrays, names):
    network.train().epoch = 36
    features, mined = network._collaborate(images(8, 128, 64))
    pooled = [g for _, g in mined.values()] + [features]
    assert list(mined) == ["c1", "s1", "s2", "c2"]
    for number, g in enumerate(pooled):
        assert_near(g[:, :16], arrays["train/features_first_16"][number])
        assert_near(g.norm(dim=1), arrays["train/feature_norms"][number])
    for number, logits in enumerate(network._logits(mined, pooled)):
        assert_near(logits, arrays["train/logits"][number])
        identity = F.cross_entropy(logits, PERSON, label_smoothing=0.1)
        assert_near(identity, arrays["train/id_losses"][number])
        assert_near(batch_hard_triplet(pooled[number], PERSON, 0.3), arrays["train/tri_losses"][number])

    buffers = dict(network.named_buffers())
    assert_checksums([buffers[our_name(name)] for name in names["buffers"]], arrays["train/buffers"])
    terms = network.losses(Batch(images(8, 128, 64), PERSON, PERSON, PERSON, torch.arange(8)))
    total = terms["identity"] + terms["triplet"]
    assert_near(total, arrays["train/total"])
    total.backward()
    parameters = dict(network.named_parameters())
    without = {name for name, parameter in parameters.items() if parameter.grad is None}
    assert without == set(map(our_name, names["frozen"]))
    ours = [gradient(parameters[our_name(name)]) for name in names["gradients"]]
    assert_checksums(ours, arrays["train/gradients"], rtol=1e-6, atol=1e-7)


ADAM = OptimiserConfig(name="adam", lr=3e-4, weight_decay=5e-4)
SCHEDULE = ScheduleConfig(name="multistep", warmup_epochs=10, warmup_factor=0.1, milestones=(30, 60), decay=0.1)


@pytest.mark.slow
@pytest.mark.parametrize("epoch", [1, 36])
def test_two_training_steps_follow_the_official_ones(network, arrays, names, epoch):
    """Method, losses, optimiser and schedule together: losses, weights and test feature."""
    official = {
        key.removeprefix(f"steps_epoch_{epoch}/"): value
        for key, value in arrays.items()
        if key.startswith(f"steps_epoch_{epoch}/")
    }
    network.train().epoch = epoch
    optimizer = build_optimiser(network.phase_parameters("model"), ADAM)
    set_learning_rates(optimizer, ADAM, SCHEDULE, epoch, 120)
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([float(official["lr_used"])], rel=1e-12)
    sequence = official["loss_sequence"].reshape(2, -1, 5).sum(2)  # [steps, terms]
    for step, person in enumerate((PERSON, PERSON + 1)):
        batch = Batch(drawn(f"img_it{step}", (8, 3, 128, 64), 21), person, person, person, torch.arange(8))
        terms = network.losses(batch)
        assert list(terms) == ["identity", "triplet"][: sequence.shape[1]]
        assert_near(torch.stack(list(terms.values())), sequence[step], atol=1e-8)
        optimizer.zero_grad()
        torch.stack(list(terms.values())).sum().backward()
        optimizer.step()
    ours = network.state_dict()
    assert_checksums([ours[our_name(name)] for name in names["shapes"]], official["state"], rtol=1e-6, atol=1e-6)
    with torch.no_grad():
        features = network.eval().embed(images(2, 128, 64))
    assert_near(features, official["eval_feat_after"], atol=1e-5)


# --- batches and rates ---


@pytest.fixture(scope="module")
def recipe(golden: Path) -> dict[str, Any]:
    return json.loads((golden / "cssc/lr_sampler.json").read_text())


@pytest.mark.parametrize("case", ["even", "uneven", "k4"])
def test_batches_equal_the_official_sampler(recipe, case):
    """Seed 666, first epoch; people with fewer than K images, and numbers that K does not divide."""
    official = recipe["samplers"][case]
    persons = np.concatenate([np.full(count, person) for person, count in official["counts"]])
    config = SamplerConfig(kind="distinct", batch_size=official["batch"], instances=official["K"])
    batches = identity_batches(persons, config, seed=666, epoch=0)
    assert batches.ravel().tolist() == official["indices_first_epoch"]


def test_learning_rates_equal_the_official_ones(recipe):
    """CSSC, also from epoch 41 on after a restart, and FIRe, which it took the scheduler from."""
    rates = [learning_rate(ADAM, SCHEDULE, epoch, 120) for epoch in range(1, 121)]
    np.testing.assert_allclose(rates, recipe["cssc_lr"], rtol=1e-14)
    np.testing.assert_allclose(rates[40:], recipe["cssc_lr_resumed_at_40"], rtol=1e-14)
    fire = ADAM.model_copy(update={"lr": 3.5e-4})
    schedule = SCHEDULE.model_copy(update={"warmup_factor": 0.01, "milestones": (20, 40, 60)})
    rates = [learning_rate(fire, schedule, epoch, 80) for epoch in range(1, 81)]
    np.testing.assert_allclose(rates, recipe["fire_lr"], rtol=1e-13)


@pytest.mark.parametrize(("dataset", "instances"), [("ltcc", 8), ("prcc", 8), ("celeb_reid", 4), ("last", 8)])
def test_recipes_hold_the_papers_numbers(dataset, instances):
    spec: Any = resolve({"method.name": "cssc", "dataset.name": dataset}).spec
    assert (spec.optimiser.name, spec.optimiser.lr, spec.optimiser.weight_decay) == ("adam", 3e-4, 5e-4)
    assert spec.schedule == SCHEDULE
    assert (spec.train.epochs, spec.sampler.batch_size, spec.sampler.instances) == (120, 32, instances)
    assert (spec.image.height, spec.image.width) == (384, 192)
    assert (spec.augment.pad_crop, spec.augment.zoom_crop, spec.augment.erase_fill) == (10, 0.0, (0.0, 0.0, 0.0))
    assert spec.sampler.kind == "distinct"
    assert spec.evaluate.flip


# --- checkpoints of the authors' code ---


def write_checkpoint(path: Path, state: dict[str, Tensor], **more: Any) -> Path:
    """As the official code saves one: scores are numpy scalars."""
    content = {"model_state_dict": state, "rank1": np.float64(0.436), "mAP": np.float32(0.186), "epoch": 119} | more
    torch.save(content, path)
    return path


@pytest.fixture
def small_checkpoint(tmp_path: Path) -> tuple[Path, CSSC]:
    """Of a small network, with four strips of width 32; and that network."""
    method = small(parts=4, reduction=8).eval()
    fill(method, 1, official_name)
    state = {official_name(name): tensor for name, tensor in method.state_dict().items()}
    return write_checkpoint(tmp_path / "best_model.pth", state, optimizer_state_dict={"state": {0: {}}}), method


def test_checkpoint_gives_the_features_of_the_network_it_was_saved_from(small_checkpoint):
    path, original = small_checkpoint
    config = CSSCConfig(backbone="resnet_tiny", pretrained=False, smr=("c1",), refinement=False)
    loaded = CSSC.from_official(read_state_dict(path), config, 128, 64)
    assert (loaded.ignored, loaded.absent) == ((), ())
    batch = small_batch()
    with torch.no_grad():
        torch.testing.assert_close(loaded.method.eval().embed(batch.images), original.embed(batch.images))
    loaded.method.train().epoch = original.train().epoch = 36
    terms, official = loaded.method.losses(batch), original.losses(batch)
    assert set(terms) == {"identity", "triplet"}
    for name, term in terms.items():
        torch.testing.assert_close(term, official[name])


def test_checkpoint_without_heads_and_from_several_gpus_is_enough_for_the_test(small_checkpoint):
    path, original = small_checkpoint
    state = {
        f"module.{name}": tensor
        for name, tensor in read_state_dict(path).items()
        if not any(part in name for part in ("classifier", "l_conv_list", "bottleneck", "num_batches_tracked"))
    }
    config = CSSCConfig(backbone="resnet_tiny", pretrained=False)
    loaded = CSSC.from_official(state | {"module.more": torch.zeros(1)}, config, 128, 64)
    assert loaded.ignored == ("more",)
    assert {"classifier.weight", "smr.c1.neck.weight"} <= set(loaded.absent)
    images = small_batch().images
    with torch.no_grad():
        torch.testing.assert_close(loaded.method.eval().embed(images), original.embed(images))
    neck = config.model_copy(update={"test_feature": "after_neck"})
    with pytest.raises(DataError, match=r"incomplete: nothing in it becomes our neck\."):
        CSSC.from_official(state, neck, 128, 64)


def test_checkpoint_of_something_else_is_refused(small_checkpoint):
    path, _ = small_checkpoint
    state = read_state_dict(path)
    config = CSSCConfig(backbone="resnet_tiny", pretrained=False)
    with pytest.raises(DataError, match="not a checkpoint of CSSC"):
        CSSC.from_official({"conv1.weight": torch.zeros(1)}, config, 128, 64)
    del state["backbone_layer43.conv2.weight"]
    with pytest.raises(DataError, match=r"incomplete: nothing in it becomes our backbone\.trunk\.layer4\.2\.conv2"):
        CSSC.from_official(state, config, 128, 64)
    state = read_state_dict(path) | {"backbone_layer43.conv2.weight": torch.zeros(8, 8, 3, 3)}
    with pytest.raises(DataError, match=r"backbone_layer43\.conv2\.weight is 8×8×3×3 there, 128×128×3×3"):
        CSSC.from_official(state, config, 128, 64)


@pytest.mark.parametrize(
    ("name", "tensor", "message"),
    [
        ("smr_c_branch1.refinement.0.weight", torch.zeros(0, 128), r"refinement\.0\.weight is 0×128"),
        ("classifier.weight", torch.tensor(1.0), r"classifier\.weight is a scalar"),
        ("smr_c_branch1.l_conv_list.0.0.weight", torch.tensor(1.0), r"l_conv_list\.0\.0\.weight is a scalar"),
    ],
)
def test_a_damaged_checkpoint_is_refused_by_name(small_checkpoint, name, tensor, message):
    state = read_state_dict(small_checkpoint[0])
    assert name in state
    with pytest.raises(DataError, match=message):
        CSSC.from_official(state | {name: tensor}, CSSCConfig(backbone="resnet_tiny", pretrained=False), 128, 64)


@pytest.mark.slow
def test_full_size_checkpoint_gives_the_official_features(state, arrays, tmp_path):
    half = {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in state.items()}
    path = write_checkpoint(tmp_path / "model.pth", half)
    loaded = CSSC.from_official(read_state_dict(path), CSSCConfig(pretrained=False), 128, 64)
    assert loaded.method.facts.persons == 6
    assert (loaded.ignored, loaded.absent) == ((), ())
    with torch.no_grad():
        features = loaded.method.eval().embed(images(2, 128, 64).float())
    assert_near(features.double(), arrays["eval_2x128x64/feat"], atol=1e-4)


class Unwanted:
    """Any object of a class of one's own."""


@pytest.mark.parametrize("value", [Unwanted(), np.zeros(3), np.zeros(2, dtype=object), print])
def test_checkpoint_with_other_objects_is_still_refused(tmp_path, value):
    """Numpy scalars are skipped; arrays, which numpy would have to rebuild, and everything else are not."""
    path = write_checkpoint(tmp_path / "model.pth", {"weight": torch.zeros(1)}, more=value)
    with pytest.raises(DataError, match="holds Python objects besides tensors and is not unpickled"):
        read_state_dict(path)


def test_skipped_numpy_scalars_run_nothing_of_numpy(tmp_path, monkeypatch):
    path = write_checkpoint(tmp_path / "model.pth", {"weight": torch.ones(2)})

    def called(*_: Any) -> None:
        raise AssertionError("numpy was called")

    monkeypatch.setattr(np, "dtype", called)
    assert torch.equal(read_state_dict(path)["weight"], torch.ones(2))


# --- what is ours ---


def test_triplets_begin_in_the_configured_epoch():
    batch = small_batch()
    for start, epoch, terms in ((36, 35, {"identity"}), (36, 36, {"identity", "triplet"}), (2, 1, {"identity"})):
        method = small(triplet_start=start)
        method.epoch = epoch
        assert set(method.losses(batch)) == terms
    method = small(weights={"triplet": 0.0})
    method.epoch = 120
    assert set(method.losses(batch)) == {"identity"}


def test_a_triplet_alone_needs_no_heads():
    method = small(weights={"identity": 0.0}, triplet_start=1)
    method.epoch = 1
    terms = method.losses(small_batch())
    assert set(terms) == {"triplet"}
    terms["triplet"].backward()
    assert all(parameter.grad is not None for parameter in method.parameters())


@pytest.mark.parametrize("row", CSSC.ablations)
def test_every_ablation_trains_all_that_it_builds(row):
    """No parameter is left without gradient, which several processes would refuse."""
    overrides = {key.removeprefix("method."): value for key, value in CSSC.ablations[row].items()}
    method = small(**overrides)
    method.epoch = 36
    terms = method.losses(small_batch())
    torch.stack(list(terms.values())).sum().backward()
    left = {name for name, parameter in method.named_parameters() if parameter.requires_grad and parameter.grad is None}
    assert not left
    assert method.observed is not None
    assert len(method.observed) == 8


def test_branches_start_equal_and_are_two():
    method = small()
    first, second = (blocks.state_dict() for blocks in (method.backbone.trunk.layer4[:2], method.second_branch))
    assert all(torch.equal(first[name], second[name]) for name in first)
    optimizer = build_optimiser(method.phase_parameters("model"), ADAM)
    method.losses(small_batch())["identity"].backward()
    optimizer.step()
    assert not torch.equal(first["0.bn3.weight"], second["0.bn3.weight"])  # the state dicts follow the parameters
    assert not small(smr=("s2", "c2")).second_branch
    assert not small(smr=()).second_branch


def test_both_branches_learn_at_the_rate_of_the_backbone():
    method = small()
    optimizer = build_optimiser(method.phase_parameters("model"), ADAM.model_copy(update={"head_lr_factor": 10.0}))
    factor = {id(parameter): group["lr_factor"] for group in optimizer.param_groups for parameter in group["params"]}
    heads = {name for name, parameter in method.named_parameters() if factor.get(id(parameter)) == 10.0}
    assert {name.split(".")[0] for name in heads} == {"smr", "neck", "classifier"}
    assert all(factor[id(parameter)] == 1.0 for parameter in method.second_branch.parameters())


def test_maps_with_fewer_rows_than_strips_are_refused_in_training_alone():
    method = small(parts=8)
    low = small_batch(height=112)  # seven rows
    with pytest.raises(
        UsageError, match=r"Feature maps of 7 rows .* method\.parts=8 .* image\.height.* method\.parts=7"
    ):
        method.losses(low)
    assert method.eval().embed(low.images).isfinite().all()


@pytest.mark.parametrize("backbone", ["resnet18", "eva02_clip_tiny", "resnet26", "convnext_atto"])
def test_a_backbone_without_three_last_bottlenecks_is_refused(backbone):
    with pytest.raises(UsageError, match=f"method.backbone={backbone} has no last stage of three bottlenecks"):
        small(Facts(4, 2, 4, height=64, width=64), backbone=backbone)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"smr": ("c1", "c1")}, "named twice"),
        ({"smr": ("c3",)}, "'c1', 's1', 's2' or 'c2'"),
        ({"weights": {"identity": 0}}, r"weights\.triplet with method\.triplet_start=1"),
        ({"weights": {"identity": 0, "triplet": 0}}, "epochs without a loss"),
        ({"weights": {"identity": 0}, "triplet_start": 1, "test_feature": "after_neck"}, "test_feature=before_neck"),
        ({"triplet_start": 0}, "greater than 0"),
    ],
)
def test_impossible_configurations_are_refused(config, message):
    with pytest.raises(ValidationError, match=message):
        CSSCConfig(**config)


def test_test_feature_is_taken_on_the_chosen_side_of_the_neck():
    before, after = small().eval(), small(test_feature="after_neck").eval()
    after.load_state_dict(before.state_dict() | {"neck.running_mean": torch.ones(512)})
    images = small_batch().images
    with torch.no_grad():
        torch.testing.assert_close(after.embed(images), (before.embed(images) - 1) / (1 + 1e-5) ** 0.5)


def test_heads_and_losses_stay_float32_under_autocast():
    method = small()
    method.epoch = 36
    with torch.autocast("cpu", torch.bfloat16):
        terms = method.losses(small_batch())
    assert {term.dtype for term in terms.values()} == {torch.float32}


def test_registered_weights_are_the_names_of_the_terms():
    assert METHODS.get("cssc") is CSSC
    method = small()
    method.epoch = 36
    assert set(CSSCWeights.model_fields) == set(method.losses(small_batch()))


@pytest.fixture
def words(tmp_path: Path) -> list[str]:
    """Two epochs on a small world."""
    world = ["people=6", "test_people=4", "tracklets=1", "frames=2", "height=64"]
    sizes = ["image.height=64", "image.width=32", "sampler.batch_size=8", "sampler.instances=4", "method.parts=4"]
    places = [f"runs={tmp_path / 'runs'}", f"cache={tmp_path / 'cache'}"]
    start = ["method=cssc", "dataset=synthetic", "train.epochs=2", "method.triplet_start=2", "device=cpu"]
    start += ["evaluate.initial=false", "select.rule=last"]
    return [*start, *(f"dataset.{word}" for word in world), *sizes, *places]


def test_a_run_takes_up_the_triplet_in_its_epoch(words):
    assert run.main(words) == 0
    folder = only_run(words)
    assert [set(event["terms"]) for event in folder.events("epoch")] == [{"identity"}, {"identity", "triplet"}]
    assert folder.scores()


def test_a_checkpoint_is_scored_from_the_command_line(words, small_checkpoint, capsys):
    path, _ = small_checkpoint
    untrained = [word for word in words if word.startswith(("dataset", "image.", "runs=", "cache=", "device="))]
    assert run.main(["evaluate", f"checkpoint={path}", "method=cssc", *untrained]) == 0
    assert "cloth-changing" in capsys.readouterr().out


def test_too_low_images_end_a_run_with_a_sentence(words, capsys):
    assert run.main([*words, "method.parts=8"]) == 2
    error = capsys.readouterr().err
    assert "method.parts=8" in error
    assert error.count("\n") == 1
