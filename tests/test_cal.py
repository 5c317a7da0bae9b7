"""CAL against the official code: every loss, the network, two steps of its training loop; and what a step moves."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor
from torch.multiprocessing.spawn import spawn

import run
from benchmarks.optimisation import OptimiserConfig, ScheduleConfig, build_optimiser, learning_rate
from benchmarks.resolve import resolve
from benchmarks.training import Trainer
from datasets.errors import DataError, UsageError
from datasets.samplers import SamplerConfig, identity_batches
from methods import METHODS
from methods.base import Batch, Facts, Method
from methods.cal import PAIR_LOSSES, Cal, CalConfig, CalWeights, clothes_adversarial
from methods.cal_checkpoints import our_name
from methods.clothes_memory import ClothesMemory
from methods.cosine_losses import arcface, circle, cosface
from methods.layers import CosineClassifier, GeM, pool_max_avg
from methods.weights import read_state_dict
from tests.golden_fill import checksum, drawn, filled, filled_state
from tests.test_distribution import torchrun
from tests.test_experiment import only_run

SEED = 41
WARDROBES = ((0, 1), (2,), (3, 4, 5), (6,))
PERSON, CLOTHES = torch.tensor([0, 0, 0, 1, 2, 2, 2, 3]), torch.tensor([0, 1, 1, 2, 3, 4, 5, 6])
"""Of the official training loop's batch."""
CLOSE: Any = {"rtol": 1e-10, "atol": 1e-10}


def arrays_of(file: Path, prefix: str = "") -> dict[str, Tensor]:
    with np.load(file, allow_pickle=False) as arrays:
        return {
            key.removeprefix(prefix): torch.from_numpy(arrays[key]) for key in arrays.files if key.startswith(prefix)
        }


@pytest.fixture(scope="module")
def official(golden: Path) -> dict[str, Tensor]:
    return arrays_of(golden / "cal/losses.npz")


@pytest.fixture(scope="module")
def meta(golden: Path) -> dict[str, Any]:
    return json.loads((golden / "cal/model_meta.json").read_text())


def assert_official(official: dict[str, Tensor], name: str, inputs: Tensor, value: Tensor) -> None:
    """Value, and the gradient on `inputs`."""
    torch.testing.assert_close(value, official[f"{name}/value"], **CLOSE)
    (gradient,) = torch.autograd.grad(value, inputs)
    torch.testing.assert_close(gradient, official[f"{name}/grad"], **CLOSE)


def tiny(facts: Facts | None = None, **config: Any) -> Cal:
    facts = facts or Facts(persons=4, cameras=2, clothes=7, height=64, width=32, wardrobes=WARDROBES)
    return Cal(CalConfig(**{"backbone": "resnet_tiny", "pretrained": False} | config), facts)


def tiny_batch(seed: int = 0) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(8, 3, 64, 32, generator=generator)
    return Batch(images, PERSON, PERSON % 2, CLOTHES, torch.arange(8))


# --- losses ---


@pytest.mark.parametrize(
    ("name", "loss", "options"),
    [
        *((f"cosface_s16_m{margin}", cosface, (16, margin)) for margin in (0.0, 0.1, 0.35)),
        *((f"arcface_s16_m{margin}", arcface, (16, margin)) for margin in (0.0, 0.1, 0.5)),
        *(
            (f"circle_s{scale}_m{margin}", circle, (scale, margin))
            for scale, margin in ((96, 0.3), (16, 0.0), (16, 0.25))
        ),
    ],
)
def test_classification_losses_equal_the_official_ones(official, name, loss, options):
    cosine = official["cos"].clone().requires_grad_()
    assert_official(official, name, cosine, loss(cosine, official["labels"], *options))


@pytest.mark.parametrize("scale", [16, 4])
@pytest.mark.parametrize("epsilon", [0.0, 0.1, 0.5, 1.0])
def test_adversarial_loss_equals_the_official_one(official, scale, epsilon):
    cosine = official["cos"].clone().requires_grad_()
    wardrobe = official["pid2clothes"][official["cal_pids"]] > 0
    value = clothes_adversarial(cosine, official["cal_clothes"], wardrobe, scale, epsilon)
    assert_official(official, f"cal_s{scale}_eps{epsilon}", cosine, value)


@pytest.mark.parametrize("momentum", [0.0, 0.5])
def test_adversarial_loss_with_a_memory_equals_the_official_one(official, momentum):
    """Three batches: some outfits, then all of them, then other images of all; the memory after each, too."""
    memory = ClothesMemory(7, 12).double()
    labels, persons = official["cal_clothes"], official["cal_pids"]
    calls = (
        ("call1_partial", "feat", [0, 1, 3, 4]),
        ("call2_all", "feat", list(range(8))),
        ("call3_feat2", "feat2", list(range(8))),
    )
    for call, features, rows in calls:
        inputs = official[features][rows].clone().requires_grad_()
        memory.store(inputs.detach(), labels[rows], momentum, "last")
        cosine = F.normalize(inputs, dim=1) @ F.normalize(memory.features, dim=1).T
        wardrobe = official["pid2clothes"][persons[rows]] > 0
        value = clothes_adversarial(cosine, labels[rows], wardrobe, stored=memory.stored > 0)
        assert_official(official, f"calmem_mom{momentum}_{call}", inputs, value)
        torch.testing.assert_close(memory.features, official[f"calmem_mom{momentum}_{call}/memory"], **CLOSE)
    assert memory.stored.all()


def test_the_mean_memory_holds_the_mean_of_the_images_in_one_outfit():
    features, clothes = torch.randn(5, 12), torch.tensor([2, 0, 2, 2, 1])
    memory = ClothesMemory(4, 12)
    memory.store(features, clothes, momentum=0.5, how="mean")
    torch.testing.assert_close(memory.features[2], features[[0, 2, 3]].mean(dim=0))
    assert memory.stored.tolist() == [1, 1, 1, 0]
    memory.store(features[:1] + 1, torch.tensor([3]), momentum=0.5, how="mean")
    before = memory.features.clone()
    memory.store(features, clothes, momentum=0.5, how="mean")
    torch.testing.assert_close(memory.features[1], (before[1] + features[4]) / 2)
    assert torch.equal(memory.features[3], before[3])


@pytest.mark.parametrize(
    ("name", "loss", "margin", "scale"),
    [
        ("triplet_cos_m0.3", "triplet", 0.3, 1),
        ("triplet_cos_m0.0", "triplet", 0.0, 1),
        ("contrastive_s16", "contrastive", 0.0, 16),
        ("pair_cosface_s16_m0.0", "cosface", 0.0, 16),
        ("pair_cosface_s16_m0.25", "cosface", 0.25, 16),
        ("pair_circle_s48_m0.35", "circle", 0.35, 48),
        ("pair_circle_s16_m0.3", "circle", 0.3, 16),
    ],
)
def test_pair_losses_equal_the_official_ones(official, name, loss, margin, scale):
    features = official["feat"].clone().requires_grad_()
    value = PAIR_LOSSES[loss](features, official["pair_labels"], margin=margin, scale=scale)
    assert_official(official, name, features, value)


@pytest.mark.parametrize("loss", PAIR_LOSSES)
@pytest.mark.parametrize("person", [[0, 0, 0, 0], [0, 1, 2, 3]])
def test_pair_losses_stay_finite_without_negatives_or_without_positives(loss, person):
    features = torch.randn(4, 12, requires_grad=True)
    value = PAIR_LOSSES[loss](features, torch.tensor(person), margin=0.3, scale=16.0)
    value.backward()
    assert value.isfinite()
    assert features.grad is not None
    assert features.grad.isfinite().all()


def test_adversarial_loss_needs_no_small_scale_and_no_other_person():
    """e^1000 would overflow in any precision; where all outfits are one person's nothing is left to tell apart."""
    cosine = torch.randn(8, 7).tanh().requires_grad_()
    wardrobe = torch.zeros(8, 7, dtype=torch.bool)
    for row, person in enumerate(PERSON.tolist()):
        wardrobe[row, list(WARDROBES[person])] = True
    value = clothes_adversarial(cosine, CLOTHES, wardrobe, scale=1000.0)
    value.backward()
    assert value.isfinite()
    assert cosine.grad is not None
    assert cosine.grad.isfinite().all()
    alone = clothes_adversarial(cosine, CLOTHES, torch.ones_like(wardrobe))
    assert float(alone.detach()) == 0
    (gradient,) = torch.autograd.grad(alone, cosine)
    assert not gradient.any()


def test_outfits_of_one_person_do_not_compete():
    """The gradient on another outfit of the person is never towards being told apart from the own one."""
    cosine = torch.zeros(1, 4, requires_grad=True)
    clothes_adversarial(cosine, torch.tensor([0]), torch.tensor([[True, True, False, False]]), epsilon=0.5).backward()
    assert cosine.grad is not None
    own, other, *strangers = cosine.grad[0].tolist()
    assert own < 0
    assert other < 0
    assert min(strangers) > 0


def test_classifiers_and_poolings_equal_the_official_ones(official):
    cosines = CosineClassifier(12, 7).double()
    cosines.weight.data.copy_(official["w"])
    torch.testing.assert_close(cosines(official["feat"]), official["normalized_classifier"], **CLOSE)
    torch.testing.assert_close(pool_max_avg(official["map"]), official["maxavg"].flatten(1), **CLOSE)
    torch.testing.assert_close(GeM().double()(official["map"]), official["gem_p3"].flatten(1), **CLOSE)


# --- the network ---


@pytest.fixture(scope="module")
def state(meta: dict[str, Any]) -> dict[str, Tensor]:
    """The official state dict as the golden values' network had it, and the exponent of its generalised mean."""
    return filled_state(meta["res50_maxavg"], SEED) | {"globalpooling.p": torch.full((1,), 3.0)}


def refilled(state: dict[str, Tensor], pooling: str) -> dict[str, Tensor]:
    """`state` as a network with that pooling would have it: half of `maxavg` is drawn anew, at its own shape."""
    if pooling == "maxavg":
        return {key: value for key, value in state.items() if key != "globalpooling.p"}
    norm = {key: filled(key, (2048,), SEED) for key in state if key.startswith("bn.") and state[key].ndim}
    kept = {key: value for key, value in state.items() if key != "globalpooling.p" or pooling == "gem"}
    return kept | {key: value for key, value in norm.items() if value is not None}


def official_network(state: dict[str, Tensor], pooling: Any, last_stride: Any = 1) -> Method:
    """By the road that a checkpoint takes."""
    asked = pooling if pooling in ("avg", "max") else "maxavg"
    config = CalConfig(pretrained=False, pooling=asked, last_stride=last_stride)
    loaded = Cal.from_official(refilled(state, pooling), config, 128, 64)
    assert isinstance(loaded.method.config, CalConfig)
    assert loaded.method.config.pooling == pooling
    assert loaded.ignored == ()
    assert set(loaded.absent) == {"classifier.weight", "classifier.bias", "clothes_classifier.weight"}
    return loaded.method.double().eval()


@pytest.mark.parametrize(
    ("pooling", "last_stride"),
    [
        ("maxavg", 1),
        *(pytest.param(*case, marks=pytest.mark.slow) for case in (("maxavg", 2), ("avg", 1), ("max", 1), ("gem", 1))),
    ],
)
def test_an_official_checkpoint_gives_the_official_features(golden, state, pooling, last_stride):
    expected = arrays_of(golden / "cal/model.npz", f"res50_{pooling}_stride{last_stride}/")
    method = official_network(state, pooling, last_stride)
    # from_official copied into float32; the golden run was in float64 throughout
    own = {our_name(key): value for key, value in refilled(state, pooling).items()}
    method.load_state_dict({key: own.get(key, value) for key, value in method.state_dict().items()})
    images = drawn("img_2x3x128x64", (2, 3, 128, 64), SEED)
    with torch.no_grad():
        features = method.embed(images)
        both = F.normalize(features + method.embed(images.flip(-1)), dim=1)
    torch.testing.assert_close(features[:, ::16], expected["eval_feat"], **CLOSE)
    torch.testing.assert_close(both[:, ::16], expected["test_feat"], **CLOSE)


def test_a_checkpoint_file_of_the_released_code_is_read(tmp_path, golden, state):
    """Wrapped as its training writes it, by several GPUs, with numbers beside the weights; scores in float32."""
    weights = {f"module.{key}": value.float() for key, value in refilled(state, "maxavg").items()}
    torch.save({"model_state_dict": weights, "epoch": 59}, tmp_path / "best.pth.tar")
    config = CalConfig(pretrained=False, backbone="c2dres50").for_checkpoint()
    loaded = Cal.from_official(read_state_dict(tmp_path / "best.pth.tar"), config, 128, 64)
    assert isinstance(loaded.method.config, CalConfig)
    assert loaded.method.config.backbone == "resnet50", "the file is of a network for images"
    with torch.no_grad():
        features = loaded.method.eval().embed(drawn("img_2x3x128x64", (2, 3, 128, 64), SEED, torch.float32))
    expected = arrays_of(golden / "cal/model.npz", "res50_maxavg_stride1/")["eval_feat"]
    torch.testing.assert_close(features[:, ::16].double(), expected, rtol=1e-3, atol=1e-3)


def test_checkpoints_of_something_else_are_refused(state):
    config = CalConfig(pretrained=False)
    with pytest.raises(DataError, match=r"should hold bn\.weight"):
        Cal.from_official({"conv1.weight": torch.zeros(1)}, config, 128, 64)
    with pytest.raises(UsageError, match=r"method\.pooling=avg or method\.pooling=max"):
        Cal.from_official(refilled(state, "avg"), config, 128, 64)
    with pytest.raises(DataError, match=r"CAL with resnet_tiny: .* choose the method\.backbone"):
        Cal.from_official(refilled(state, "maxavg"), CalConfig(backbone="resnet_tiny", pretrained=False), 128, 64)


def test_a_checkpoint_of_a_smaller_resnet_is_read_with_its_pooling():
    """Basic blocks end in conv2; the file does not tell the network, but the pooling it does."""
    config = CalConfig(backbone="resnet18", pretrained=False)
    torch.manual_seed(0)
    written = Cal(config, Facts(2, 1, 2, 64, 32, wardrobes=((0,), (1,)))).eval()
    inverse = {"conv1": "0", "bn1": "1", "layer1": "4", "layer2": "5", "layer3": "6", "layer4": "7"}
    state = {}
    for name, tensor in written.state_dict().items():
        part, _, rest = name.removeprefix("backbone.trunk.").partition(".")
        state[f"base.{inverse[part]}.{rest}" if part in inverse else name.replace("neck.", "bn.")] = tensor
    loaded = Cal.from_official(state, config, 64, 32)
    images = drawn("img", (2, 3, 64, 32), SEED, torch.float32)
    with torch.no_grad():
        assert torch.equal(loaded.method.eval().embed(images), written.embed(images))
    turned = state | {"base.0.weight": state["base.0.weight"].transpose(0, 1)}
    with pytest.raises(DataError, match=r"1 of \d+ tensors are missing .* backbone\.trunk\.conv1\.weight"):
        Cal.from_official(turned, config, 64, 32)
    with pytest.raises(DataError, match=r"base\.7\.0\.conv2\.weight is a scalar"):
        Cal.from_official(state | {"base.7.0.conv2.weight": torch.tensor(1.0)}, config, 64, 32)
    without = {name: tensor for name, tensor in state.items() if not name.startswith("base.7.")}
    with pytest.raises(DataError, match=r"it lacks base\.7\.0\.conv3\.weight and base\.7\.0\.conv2\.weight"):
        Cal.from_official(without, config, 64, 32)


def test_an_unknown_network_is_answered_with_those_that_cal_takes():
    with pytest.raises(UsageError, match=r"c3dres50\. Did you mean .* Names: resnet50, .*, nlres50, .*") as caught:
        CalConfig(backbone="c3dres50", pretrained=False).build(64, 32)
    assert "eva02" not in str(caught.value), "which CAL refuses"


def test_the_network_has_the_official_number_of_parameters(meta):
    with torch.device("meta"):
        method = Cal(CalConfig(pretrained=False), Facts(2, 1, 2, 384, 192, wardrobes=((0,), (1,))))
    sizes = {name: parameter.numel() for name, parameter in method.named_parameters() if "classifier" not in name}
    assert sum(sizes.values()) == meta["parameters"]["resnet50"]


def test_layers_start_at_the_official_scale():
    torch.manual_seed(0)
    method = tiny(Facts(300, 1, 400, 64, 32, wardrobes=tuple((n,) for n in range(300))))
    assert float(method.neck.weight.detach().std()) == pytest.approx(0.02, rel=0.1)
    assert float(method.neck.weight.detach().mean()) == pytest.approx(1, abs=0.005)
    assert method.neck.bias.requires_grad
    assert not method.neck.bias.any()
    assert float(method.classifier.weight.detach().std()) == pytest.approx(0.001, rel=0.05)
    assert not method.state_dict()["classifier.bias"].any()
    torch.testing.assert_close(method.clothes_classifier.weight.norm(dim=1), torch.ones(400))


# --- training ---


def official_training(meta: dict[str, Any], pair: float) -> Cal:
    """The network and classifiers with which the official training loop was run."""
    facts = Facts(persons=4, cameras=1, clothes=7, height=128, width=64, wardrobes=WARDROBES)
    method = Cal(CalConfig(pretrained=False, weights=CalWeights(pair=pair)), facts).double()
    official = {our_name(key): key for key in meta["res50_maxavg"]} | CLASSIFIERS
    for name, value in method.state_dict().items():
        weights = filled(official[name], value.shape, SEED)
        assert weights is not None
        value.copy_(weights * (0.05 if name == "classifier.weight" else 1.0))
    return method.train()


CLASSIFIERS = {
    "classifier.weight": "idcls.classifier.weight",
    "classifier.bias": "idcls.classifier.bias",
    "clothes_classifier.weight": "clocls.weight",
}


@pytest.mark.parametrize(
    ("case", "epoch", "pair", "steps"),
    [
        ("epoch25_pair1", 26, 1.0, 1),
        pytest.param("epoch25_pair1", 26, 1.0, 2, marks=pytest.mark.slow),
        pytest.param("epoch25", 26, 0.0, 2, marks=pytest.mark.slow),
        pytest.param("epoch0", 1, 0.0, 2, marks=pytest.mark.slow),
    ],
)
def test_training_steps_follow_the_official_loop(golden, meta, case, epoch, pair, steps):
    """Phases, losses and both optimisers together, and every tensor of backbone and classifiers at the end."""
    expected = arrays_of(golden / "cal/model.npz", f"train_cal_{case}/")
    method = official_training(meta, pair)
    method.epoch = epoch
    optimisers = {
        phase: build_optimiser(
            method.phase_parameters(phase), OptimiserConfig(name="adam", lr=3.5e-4, weight_decay=5e-4)
        )
        for phase in method.phases
    }
    for step in range(steps):
        images = drawn(f"img_it{step}", (8, 3, 128, 64), SEED)
        batch = Batch(images, PERSON, torch.zeros_like(PERSON), CLOTHES, torch.arange(8))
        terms: dict[str, Tensor] = {}
        for phase in method.phases_in(epoch):
            optimisers[phase].zero_grad()
            found = method.losses(batch, phase)
            torch.stack([getattr(method.config.weights, name) * term for name, term in found.items()]).sum().backward()
            optimisers[phase].step()
            terms |= found
        logged: dict[str, Tensor] = dict(
            zip(("clothes", "identity", "pair", "adversarial"), expected["losses"][4 * step :], strict=False)
        )
        assert set(terms) == ({"identity"} if epoch == 1 else {"clothes", "identity", "adversarial"}) | (
            {"pair"} if pair else set()
        )
        for name, term in terms.items():
            # The official table of outfits is float32 here, and with it ε: eight digits.
            torch.testing.assert_close(term.detach(), logged[name], rtol=1e-8, atol=1e-8)
    if "model" in expected and steps == 2:
        after = method.state_dict()
        for name, row in zip(meta["res50_maxavg"], expected["model"].numpy(), strict=True):
            np.testing.assert_allclose(checksum(after[our_name(name)]), row, rtol=1e-6, atol=1e-5, err_msg=name)
        for ours, theirs in (
            ("classifier.weight", "idcls/classifier.weight"),
            ("clothes_classifier.weight", "clocls/weight"),
        ):
            np.testing.assert_allclose(checksum(after[ours]), expected[theirs].numpy(), rtol=1e-6, atol=1e-5)


def test_the_backbone_runs_once_per_batch_though_batches_accumulate(monkeypatch):
    method, batches = tiny(), [tiny_batch(0), tiny_batch(1)]
    method.epoch = 26
    runs: list[Tensor] = []
    embed = method.embed
    monkeypatch.setattr(method, "embed", lambda images: runs.append(images) or embed(images))
    for batch in batches:
        method.losses(batch, "clothes")
    for batch in batches:
        terms = method.losses(batch, "model")
        assert set(terms) == {"identity", "adversarial"}
        torch.stack(list(terms.values())).sum().backward()
    assert [images is batch.images for images, batch in zip(runs, batches, strict=True)] == [True, True]
    assert not method._kept
    method.losses(batches[0], "model")
    assert len(runs) == 3, "a batch that comes again is computed again"


def test_each_phase_moves_its_own_parameters():
    method, batch = tiny(), tiny_batch()
    method.epoch = 26
    names = {phase: {name for name, _ in method.phase_parameters(phase)} for phase in method.phases}
    assert names["clothes"] == {"clothes_classifier.weight"}
    assert names["clothes"] | names["model"] == {name for name, _ in method.named_parameters()}
    assert not names["clothes"] & names["model"]
    method.losses(batch, "clothes")["clothes"].backward()
    moved = {name for name, parameter in method.named_parameters() if parameter.grad is not None}
    assert moved == names["clothes"]
    method.zero_grad(set_to_none=True)
    torch.stack(list(method.losses(batch, "model").values())).sum().backward()
    assert {name for name, parameter in method.named_parameters() if parameter.grad is not None} == names["model"]


def test_the_adversarial_loss_sees_the_classifier_as_just_moved():
    method, batch = tiny(), tiny_batch()
    method.epoch = 26
    method.losses(batch, "clothes")
    with torch.no_grad():
        method.clothes_classifier.weight.neg_()
    after = method.losses(batch, "model")["adversarial"]
    with torch.no_grad():
        cosine = method.clothes_classifier(method.observed)
    torch.testing.assert_close(after, clothes_adversarial(cosine, CLOTHES, method.wardrobe[PERSON] > 0))


@pytest.mark.parametrize(
    ("config", "phases"),
    [
        ({}, {25: ("model",), 26: ("clothes", "model")}),
        ({"clothes_start": 0}, {1: ("clothes", "model")}),
        ({"clothes_memory": "mean"}, {26: ("model",)}),
        ({"weights": {"clothes": 0, "adversarial": 0}}, {26: ("model",)}),
    ],
)
def test_the_clothes_classifier_waits_for_its_epoch(config, phases):
    method = tiny(**config)
    assert {epoch: method.phases_in(epoch) for epoch in phases} == phases
    assert method.constant_phases == {"clothes"}


def test_terms_begin_when_they_should_and_a_weight_of_zero_leaves_them_out():
    batch = tiny_batch()
    method = tiny(adversarial_start=3, weights={"pair": 1.0})
    for epoch, names in ((3, {"identity", "pair"}), (4, {"identity", "pair", "adversarial"})):
        method.epoch = epoch
        assert set(method.losses(batch)) == names
    without = tiny(weights={"identity": 0, "adversarial": 0, "pair": 1})
    without.epoch = 60
    assert set(without.losses(batch)) == {"pair"}
    assert set(CalWeights.model_fields) == {"identity", "clothes", "adversarial", "pair"}


def test_losses_are_float32_under_autocast():
    method, batch = tiny(weights={"pair": 1.0}, clothes_memory="mean"), tiny_batch()
    method.epoch = 26
    with torch.autocast("cpu", torch.bfloat16):
        terms = method.losses(batch, "clothes") | method.losses(batch)
    assert {term.dtype for term in terms.values()} == {torch.float32}


@pytest.mark.parametrize("loss", ["cosface", "arcface", "circle"])
def test_identity_losses_on_cosines_have_a_classifier_of_directions(loss):
    method = tiny(identity_loss=loss, identity_margin=0.1)
    assert isinstance(method.classifier, CosineClassifier)
    value = method.losses(tiny_batch())["identity"]
    chosen = {"cosface": cosface, "arcface": arcface, "circle": circle}[loss]
    assert method.observed is not None
    torch.testing.assert_close(value, chosen(method.classifier(method.observed), PERSON, 16.0, 0.1))


def test_data_without_clothes_labels_is_refused_unless_clothes_play_no_part():
    facts = Facts(persons=4, cameras=2, clothes=1, height=64, width=32)
    with pytest.raises(UsageError, match=r"clothes labels, .* have none.*method\.weights\.clothes=0"):
        tiny(facts)
    alone = tiny(facts, weights={"clothes": 0, "adversarial": 0})
    alone.epoch = 60
    assert set(alone.losses(tiny_batch())) == {"identity"}


# --- recipes ---


@pytest.mark.parametrize(("dataset", "rates"), [("ltcc", "lr_images"), ("ccvid", "lr_clips")])
def test_learning_rates_are_the_official_ones(meta, dataset, rates):
    spec = resolve({"method.name": "cal", "dataset.name": dataset}).spec
    epochs = spec.train.epochs
    ours = [learning_rate(spec.optimiser, spec.schedule, epoch + 1, epochs) for epoch in range(epochs)]
    assert ours == pytest.approx(meta[rates], rel=1e-9)
    assert isinstance(spec.schedule, ScheduleConfig)


@pytest.mark.parametrize("case", ["uneven/K8/world2/epoch1", "uneven/K4/world3/epoch0"])
def test_batches_are_the_official_ones(meta, case):
    _, instances, world, epoch = case.split("/")
    instances, world, epoch = int(instances[1:]), int(world[5:]), int(epoch[5:])
    lists = meta["sampler"][case]
    person = np.repeat(np.arange(len(lists["counts"])), lists["counts"])
    config = SamplerConfig(batch_size=2 * instances, instances=instances)
    for rank, official in enumerate(lists["per_rank"]):
        rows = identity_batches(person, config, seed=1, epoch=epoch, rank=rank, world=world).reshape(-1).tolist()
        assert rows == official[: len(rows)]
        assert len(official) - len(rows) < config.batch_size, "only the last, incomplete batch is dropped"


@pytest.mark.parametrize("ablation", Cal.ablations)
@pytest.mark.parametrize("dataset", ["prcc", "last", "ccvid"])
def test_every_row_of_the_ablation_table_is_a_valid_configuration(dataset, ablation):
    spec = resolve({"method.name": "cal", "dataset.name": dataset}, ablation=ablation).spec
    assert isinstance(spec.method, CalConfig)
    assert spec.method.weights.pair == (1.0 if dataset == "last" or ablation == "with_triplet" else 0.0)


# --- the whole way ---


@pytest.fixture
def words(tiny: list[str]) -> list[str]:
    own = ["method=cal", "method.backbone=resnet_tiny", "method.clothes_start=1", "method.adversarial_start=1"]
    own += ["method.weights.pair=0.5", "train.accumulate=2", "sampler.batch_size=8", "train.epochs=3"]
    replaced = ("method", "captions", "train.epochs", "sampler")
    return [*(word for word in tiny if not word.startswith(replaced)), *own, "select.rule=last"]


def test_a_run_trains_both_classifiers_and_their_rates_part(words):
    assert METHODS.get("cal") is Cal
    assert run.main([*words, "schedule.milestones=[1]"]) == 0
    folder = only_run(words)
    terms = [set(event["terms"]) for event in folder.events("epoch")]
    assert terms[0] == {"identity", "pair"}
    assert terms[1] == terms[2] == {"identity", "pair", "clothes", "adversarial"}
    checkpoint = torch.load(folder.checkpoint, weights_only=True)
    rates = {phase: state["param_groups"][0]["lr"] for phase, state in checkpoint["optimisers"].items()}
    assert rates == pytest.approx({"clothes": 1e-3, "model": 1e-4}), "the clothes classifier's rate is constant"


def test_a_run_with_a_memory_that_was_stopped_ends_with_the_same_bits(words, tmp_path, monkeypatch):
    """The stored features are part of the checkpoint."""
    common = [word for word in words if not word.startswith(("runs=", "train.epochs"))]
    common += ["method.clothes_memory=last", "method.memory_momentum=0.5", "train.epochs=2"]
    unbroken, broken = ([*common, f"runs={tmp_path / name}"] for name in ("unbroken", "broken"))
    assert run.main(unbroken) == 0
    epochs = 0

    def stop_after_one(self, *arguments):
        nonlocal epochs
        epochs += 1
        if epochs == 2:
            raise KeyboardInterrupt
        return train_epoch(self, *arguments)

    train_epoch = Trainer.train_epoch
    monkeypatch.setattr(Trainer, "train_epoch", stop_after_one)
    with pytest.raises(KeyboardInterrupt):
        run.main(broken)
    monkeypatch.undo()
    assert run.main(broken) == 0
    ends = [torch.load(only_run(each).checkpoint, weights_only=True)["method"] for each in (unbroken, broken)]
    assert ends[0]["clothes_memory.stored"].all()
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])


# --- several processes ---

TWO_RANKS = {
    "triplet_cos_m0.3": ("triplet", 0.3, 1.0),
    "contrastive_s16": ("contrastive", 0.0, 16.0),
    "pair_cosface_s16_m0.25": ("cosface", 0.25, 16.0),
    "pair_circle_s48_m0.35": ("circle", 0.35, 48.0),
}


def compare_with_official_rank(rank: int, golden_file: str, meeting: str) -> None:
    """In one of two processes: value and gradient of each pair loss on its half of the images."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=2)
    try:
        expected = arrays_of(Path(golden_file))
        half = slice(8 * rank, 8 * rank + 8)
        for name, (loss, margin, scale) in TWO_RANKS.items():
            features = expected["feat"][half].clone().requires_grad_()
            value = PAIR_LOSSES[loss](features, expected["labels"][half], margin=margin, scale=scale)
            assert_official(expected, f"rank{rank}/{name}", features, value)
        memory = ClothesMemory(16, 12).double()
        memory.store(expected["feat"][half], torch.arange(16)[half], momentum=0.0, how="last")
        assert torch.equal(memory.features, expected["feat"]), "the images of both processes are stored in both"
    finally:
        dist.destroy_process_group()


@pytest.mark.slow
def test_pair_losses_over_two_processes_equal_the_official_ones(golden, tmp_path):
    """Each sees the images of both; a gradient stays with the process whose loss it is of."""
    arguments = (str(golden / "cal/losses_2rank.npz"), str(tmp_path / "meeting"))
    spawn(compare_with_official_rank, arguments, nprocs=2)


@pytest.mark.slow
def test_two_processes_train_through_both_phases(words):
    """The features' graph outlives the first phase, though the second goes through DistributedDataParallel again."""
    done = torchrun([*words, "select.holdout=0.45"])
    assert done.returncode == 0, done.stderr
    folder = only_run(words)
    assert folder.events("start")[0]["processes"] == 2
    assert set(folder.events("epoch")[-1]["terms"]) == {"identity", "pair", "clothes", "adversarial"}
    assert folder.status()["state"] == "done"
