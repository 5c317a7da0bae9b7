"""FIRe against the official code: clusters, modules, network, gradients; and that a run goes on where it stopped."""

import json
import os
import signal
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError
from torch import Tensor

import run
from benchmarks.optimisation import build_optimiser, learning_rate
from benchmarks.resolve import resolve
from benchmarks.training import Trainer
from datasets.errors import DataError, UsageError
from methods import METHODS
from methods.base import Batch, Facts, TrainingSet
from methods.fire import (
    FIRe,
    FIReConfig,
    FIReWeights,
    cosines,
    draw_partners,
    mining_loss,
    our_name,
    recompose,
)
from methods.fire_clusters import cluster, cluster_identities
from methods.k_reciprocal import encode, jaccard, nearest
from methods.layers import pool_max_avg
from methods.losses import batch_hard_triplet
from methods.weights import read_state_dict
from tests.golden_fill import checksum, drawn, filled_state
from tests.test_distribution import torchrun
from tests.test_experiment import assert_equal_runs, only_run

Arrays = dict[str, Tensor]
SEED = 51
assert_equal = partial(torch.testing.assert_close, rtol=1e-10, atol=1e-10)


@pytest.fixture(scope="module")
def official(golden: Path) -> Arrays:
    with np.load(golden / "fire/fire.npz", allow_pickle=False) as arrays:
        return {key: torch.from_numpy(np.asarray(arrays[key])) for key in arrays.files}


@pytest.fixture(scope="module")
def network_facts(golden: Path) -> dict[str, Any]:
    return json.loads((golden / "fire/network.json").read_text())


@pytest.fixture(scope="module")
def network(network_facts: dict[str, Any]) -> FIRe:
    """The official network, 6 identities, in float64."""
    method = FIRe(FIReConfig(pretrained=False), Facts(6, 1, 1, height=128, width=64)).double()
    state = filled_state(network_facts["shapes"], SEED)
    missing, unexpected = method.load_state_dict({our_name(name): value for name, value in state.items()}, strict=False)
    assert (missing, unexpected) == (["classifier.weight"], [])
    return method


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def small(**config: Any) -> FIRe:
    facts = Facts(persons=4, cameras=2, clothes=4, height=64, width=32)
    return FIRe(FIReConfig(**({"backbone": "resnet_tiny", "pretrained": False, "identity_epochs": 1} | config)), facts)


def small_batch() -> Batch:
    person = torch.arange(8) // 2
    images = torch.randn(8, 3, 64, 32, generator=torch.Generator().manual_seed(0))
    return Batch(images, person, person % 2, person, torch.arange(8))


def training_set(width: int = 1024, number: int = 8, persons: int = 4) -> TrainingSet:
    """Two images of each of four people."""
    person = torch.arange(number) // (number // persons)
    features = torch.randn(number, width, generator=torch.Generator().manual_seed(1))
    return TrainingSet(person, person, lambda: features)


def clustered(**config: Any) -> FIRe:
    """A small method in its second epoch, each image a cluster."""
    torch.manual_seed(0)
    method = small(**({"neighbours": 1, "average": 1} | config))
    method.on_epoch(2, training_set())
    method.epoch = 2
    return method


# --- clusters ---


@pytest.mark.parametrize("number", [40, 25, 21])
def test_jaccard_distances_and_clusters_are_the_official_ones(official: Arrays, number: int) -> None:
    """Lists of 20 and 11, the image itself included."""
    features = official[f"jac/n{number}/feat"]
    vectors = encode(features, neighbours=20, half=11, average=6, scaled=False).vectors
    np.testing.assert_array_equal(nearest(features, 20)[0], official[f"jac/n{number}/initial_rank"])
    distances = jaccard(vectors, vectors.tocsc())
    np.testing.assert_allclose(distances, official[f"jac/n{number}/dist"], atol=1e-6)
    for eps in (0.4, 0.5, 0.6):
        found = cluster(features, FIReConfig(eps=eps))
        np.testing.assert_array_equal(found, official[f"jac/n{number}/dbscan_eps{eps}"])


def test_few_images_have_lists_of_their_own_length(official: Arrays) -> None:
    """The official code reads padding as the last image, which leaves images at a distance from themselves.

    Twelve images in four groups, in turn: lists of all twelve tell little apart, lists of six the groups.
    """
    features = official["jac/n12/feat"]
    vectors = encode(features, neighbours=20, half=11, average=6, scaled=False).vectors
    distances = jaccard(vectors, vectors.tocsc())
    np.testing.assert_allclose(distances.diagonal(), 0, atol=1e-6)
    np.testing.assert_allclose(distances, distances.T, atol=1e-6)
    assert cluster(features, FIReConfig()).tolist() == [0] * 12
    assert cluster(features, FIReConfig(neighbours=6, average=3)).tolist() == [0, 1, 2, 3] * 3


@pytest.mark.parametrize("number", [3, 1])
def test_as_few_images_as_are_averaged_are_one_cluster(official: Arrays, number: int) -> None:
    assert cluster(official[f"jac/n{number}/feat"], FIReConfig()).tolist() == [0] * number


def test_an_image_in_no_cluster_is_one_itself(official: Arrays) -> None:
    """One image far from the four groups of ten; all four are noise where a core needs more than ten."""
    features = official["jac/n40/feat"]
    lonely = torch.cat([features, F.normalize(torch.randn(1, 64, generator=torch.Generator().manual_seed(0)), dim=1)])
    found = cluster(lonely, FIReConfig(min_samples=3))
    assert found.tolist() == [index % 4 for index in range(40)] + [4]
    assert cluster(features, FIReConfig(min_samples=41)).tolist() == list(range(40))


def test_clusters_are_numbered_identity_by_identity_with_the_mean_of_unit_features(official: Arrays) -> None:
    """Images of two people in mixed order; there is nobody with number 1."""
    features = torch.cat([official["jac/n40/feat"] * 3, official["jac/n3/feat"]])
    person = torch.tensor([0] * 40 + [2] * 3)
    order = torch.randperm(43, generator=torch.Generator().manual_seed(0))
    found = cluster_identities(features[order], person[order], FIReConfig())
    assert found.person.tolist() == [0, 0, 0, 0, 2]
    assert torch.equal(found.person[found.label], person[order])
    for number, centre in enumerate(found.centre):
        own = F.normalize(features[order], dim=1)[found.label == number]
        torch.testing.assert_close(centre, own.mean(dim=0))


# --- the two modules ---


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5])
@pytest.mark.parametrize("scale", [16, 4])
def test_mining_is_the_official_loss_on_clusters(official: Arrays, scale: int, smoothing: float) -> None:
    cosine = official["cos"].clone().requires_grad_()
    owner = torch.tensor([0, 0, 0, 0, 1, 1, 1, 2, 2])
    loss = mining_loss(cosine, official["fgid"], owner == official["pid"][:, None], scale, smoothing)
    loss.backward()
    case = f"attr_aware_s{scale}_eps{smoothing}"
    assert_equal(loss, official[f"{case}/value"])
    assert_equal(cosine.grad, official[f"{case}/grad"])


def test_mining_moves_features_and_centres_as_the_official_code_does(official: Arrays) -> None:
    features, centres = (official[name].clone().requires_grad_() for name in ("feat", "centers"))
    cosine = cosines(features, centres)
    assert_equal(cosine, official["fgcls_logits"])
    owner = torch.tensor([0, 0, 0, 0, 1, 1, 1, 2, 2])
    loss = mining_loss(cosine, official["fgid"], owner == official["pid"][:, None], 16, 0.1)
    loss.backward()
    assert_equal(loss, official["centres_and_loss/value"])
    assert_equal(features.grad, official["centres_and_loss/grad"])
    assert_equal(centres.grad, official["fgcls_grad_weight"])


def test_partners_are_images_of_other_clusters_and_follow_the_global_generator() -> None:
    label = torch.tensor([0, 1, 2, 2, 4])
    torch.manual_seed(0)
    draws = torch.stack([draw_partners(label, 2) for _ in range(200)])  # type: ignore[arg-type]
    assert draws.shape == (200, 2, 5)
    assert (label[draws] != label).all()
    met = [set(draws[:, 0, image].tolist()) for image in range(5)]
    assert met == [set(range(5)) - set((label == own).nonzero()[:, 0].tolist()) for own in label]
    assert not torch.equal(draws[:, 0], draws[:, 1]), "the stripes draw apart"
    torch.manual_seed(0)
    assert torch.equal(draws[0], draw_partners(label, 2))  # type: ignore[arg-type]
    assert draw_partners(torch.zeros(4, dtype=torch.int64), 2) is None


def test_each_stripe_takes_the_style_of_its_partner_and_an_odd_row_is_dropped() -> None:
    maps = torch.randn(3, 4, 7, 5, dtype=torch.float64) * torch.arange(1, 4).view(3, 1, 1, 1)
    partners = torch.tensor([[1, 2, 0], [2, 0, 1]])
    found = recompose(maps, partners)
    assert found.shape == (3, 4, 6, 5)
    for part in range(2):
        ours, theirs = found[:, :, 3 * part : 3 * part + 3], maps[partners[part], :, 3 * part : 3 * part + 3]
        torch.testing.assert_close(ours.mean(dim=(2, 3)), theirs.mean(dim=(2, 3)))
        torch.testing.assert_close(ours.std(dim=(2, 3)), theirs.std(dim=(2, 3)), rtol=1e-5, atol=1e-6)


# --- the network ---


def test_names_shapes_and_frozen_parameters_are_the_official_ones(network: FIRe, network_facts: dict[str, Any]) -> None:
    own = {name: list(value.shape) for name, value in network.state_dict().items() if name != "classifier.weight"}
    assert own == {our_name(name): shape for name, shape in network_facts["shapes"].items()}
    parameters = {name: value for name, value in network.named_parameters() if name != "classifier.weight"}
    assert sum(value.numel() for value in parameters.values()) == network_facts["parameters"]
    frozen = [name for name, value in parameters.items() if not value.requires_grad]
    assert frozen == [our_name(name) for name in network_facts["frozen"]]


def test_features_at_test_are_the_official_ones(network: FIRe, official: Arrays) -> None:
    network.eval()
    images = drawn("img_2x3x128x64", (2, 3, 128, 64), SEED)
    with torch.no_grad():
        features, mirrored = network.embed(images), network.embed(images.flip(-1))
    assert_equal(features, official["eval_feat"])
    both = F.normalize(features + mirrored, dim=1)
    assert_equal(both[:, :64], official["test_feat_first_64"])


def test_recomposition_and_every_gradient_are_the_official_ones(
    network: FIRe, network_facts: dict[str, Any], official: Arrays
) -> None:
    """0.3 × recomposition + triplet in training mode, with the partners that the official code drew."""
    network.train()
    maps = network.backbone.feature_maps(drawn("img_8x3x128x64", (8, 3, 128, 64), SEED))
    features = network.neck(pool_max_avg(maps))
    assert_equal(features[:, :64], official["train_feat_first_64"])
    assert_equal(features.norm(dim=1), official["train_feat_norms"])
    logits: list[Tensor] = []
    with network.recomposed_classifier.register_forward_hook(lambda *call: logits.append(call[2])):
        recomposition = network._recomposition(maps, official["partners"], torch.tensor([0, 0, 0, 0, 4, 4, 5, 5]))
    assert_equal(logits[0], official["train_y_far"])
    total = 0.3 * recomposition + batch_hard_triplet(features, torch.arange(8) // 4, 0.3)
    assert_equal(total, official["far_tri_loss"])
    network.zero_grad()
    total.backward()
    parameters = dict(network.named_parameters())
    for name, expected in zip(network_facts["gradients"], official["gradients"].numpy(), strict=True):
        gradient = parameters[our_name(name)].grad
        assert gradient is not None
        np.testing.assert_allclose(checksum(gradient), expected, rtol=1e-8, atol=1e-9, err_msg=name)


def test_a_checkpoint_of_the_authors_gives_their_features(
    network_facts: dict[str, Any], official: Arrays, tmp_path: Path
) -> None:
    """Written as their code does, with a score of numpy's beside the weights."""
    state = filled_state(network_facts["shapes"], SEED, torch.float32)
    content = {"model_state_dict": state, "optimizer_state_dict": {}, "rank1": np.float64(0.4), "epoch": 79}
    torch.save(content, tmp_path / "best.pth")
    read = read_state_dict(tmp_path / "best.pth")
    loaded = FIRe.from_official(read, FIReConfig(pretrained=False), 128, 64)
    assert (loaded.ignored, loaded.absent) == ((), ("classifier.weight",))
    with torch.no_grad():
        features = loaded.method.eval().embed(drawn("img_2x3x128x64", (2, 3, 128, 64), SEED, torch.float32))
    torch.testing.assert_close(features.double(), official["eval_feat"], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["FAR_classifier.weight", "backbone.4.0.conv1.weight"])
def test_a_checkpoint_of_something_else_is_refused(network_facts: dict[str, Any], name: str) -> None:
    state = {key: torch.zeros(shape) for key, shape in network_facts["shapes"].items() if key != name}
    with pytest.raises(DataError, match=our_name(name) if name.startswith("backbone") else name):
        FIRe.from_official(state, FIReConfig(pretrained=False), 128, 64)


def test_a_checkpoint_goes_into_the_configured_network_and_no_other(network_facts: dict[str, Any]) -> None:
    state = {key: torch.zeros(shape) for key, shape in network_facts["shapes"].items()}
    with pytest.raises(DataError, match=r"another architecture: .*choose the method\.backbone that belongs to it"):
        FIRe.from_official(state, FIReConfig(backbone="resnet_tiny", pretrained=False), 128, 64)
    with pytest.raises(DataError, match=r"FAR_classifier\.weight is 0×4096"):
        FIRe.from_official(state | {"FAR_classifier.weight": torch.zeros(0, 4096)}, FIReConfig(), 128, 64)


# --- the course of training ---


def test_learning_rates_are_the_official_ones(official: Arrays) -> None:
    spec = resolve({"method.name": "fire", "dataset.name": "ltcc"}).spec
    rates = [learning_rate(spec.optimiser, spec.schedule, epoch, spec.train.epochs) for epoch in range(1, 81)]
    np.testing.assert_allclose(rates, official["learning_rates"], rtol=1e-12)


def test_identity_alone_until_clusters_are_formed_and_all_terms_then() -> None:
    method = small()
    unasked = TrainingSet(torch.zeros(0), torch.zeros(0), lambda: pytest.fail("embedded before it was needed"))
    assert method.on_epoch(1, unasked) is False
    method.epoch = 1
    assert set(method.losses(small_batch())) == {"identity"}
    method = clustered()
    assert set(method.losses(small_batch())) == set(FIReWeights.model_fields)
    assert METHODS.get("fire") is FIRe


@pytest.mark.parametrize("term", FIReWeights.model_fields)
def test_a_term_with_weight_zero_is_not_computed(term: str) -> None:
    terms = clustered(weights={term: 0.0}, identity_epochs=0).losses(small_batch())
    assert set(terms) == FIReWeights.model_fields.keys() - {term}


def test_without_both_modules_nothing_is_clustered() -> None:
    method = small(weights={"mining": 0.0, "recomposition": 0.0})
    training = TrainingSet(torch.zeros(0), torch.zeros(0), lambda: pytest.fail("embedded for nothing"))
    assert method.on_epoch(2, training), "the optimiser starts afresh all the same"
    assert not method.memory


def test_a_batch_of_one_cluster_has_no_recomposition_and_still_trains() -> None:
    """The official code raises there."""
    method = clustered()
    method.memory["label"].zero_()
    terms = method.losses(small_batch())
    assert terms["recomposition"] == 0
    torch.stack(list(terms.values())).sum().backward()
    gradient = method.backbone.trunk.conv1.weight.grad
    assert gradient is not None
    assert gradient.isfinite().all()
    assert gradient.abs().sum() > 0


def test_terms_are_those_of_the_clusters_of_the_batchs_rows() -> None:
    """Row numbers of the training set, not of the batch: mining of a shuffled batch sees the same clusters."""
    method, batch = clustered(), small_batch()
    order = torch.randperm(8, generator=torch.Generator().manual_seed(0))
    shuffled = Batch(batch.images[order], batch.person[order], batch.camera, batch.clothes, batch.index[order])
    with torch.no_grad():
        torch.testing.assert_close(method.losses(batch)["mining"], method.losses(shuffled)["mining"])
    assert method.memory["person"].tolist() == [0, 0, 1, 1, 2, 2, 3, 3]


@pytest.mark.parametrize(("learned", "fresh"), [(True, True), (False, True), (False, False)])
def test_centres_move_with_the_optimiser_unless_they_are_to_stay(learned: bool, fresh: bool) -> None:
    """And where nothing changes size the optimiser may go on."""
    method = small(learned_centres=learned, fresh_optimiser=fresh)
    assert method.on_epoch(2, training_set()) is fresh
    method.epoch = 2
    spec = resolve({"method.name": "fire", "dataset.name": "ltcc"}).spec
    optimiser = build_optimiser(method.named_parameters(), spec.optimiser)
    before = method.memory["centres"].clone()
    torch.stack(list(method.losses(small_batch()).values())).sum().backward()
    optimiser.step()
    assert torch.equal(before, method.memory["centres"]) is not learned


def test_centres_are_no_part_of_the_weights_and_memory_holds_their_present_value() -> None:
    method = clustered()
    assert "centres" in dict(method.named_parameters())
    assert "centres" not in method.state_dict()
    small().load_state_dict(method.state_dict())
    method.load_state_dict(small().state_dict())
    assert method.centres is not None
    with torch.no_grad():
        method.centres.mul_(2)
    again = small()
    again.restore(method.memory)
    assert again.centres is not None
    assert torch.equal(again.centres, method.centres)
    assert torch.equal(again.memory["label"], method.memory["label"])
    with torch.no_grad():
        method.centres.mul_(2)
    assert not torch.equal(again.centres, method.centres), "what is restored has its own storage"


def test_losses_stay_float32_under_autocast() -> None:
    method = clustered()
    with torch.autocast("cpu", torch.bfloat16):
        terms = method.losses(small_batch())
    assert {term.dtype for term in terms.values()} == {torch.float32}
    assert all(term.isfinite() for term in terms.values())


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"fresh_optimiser": False}, r"method\.learned_centres=false"),
        ({"eps": 1.5}, "less than or equal to 1"),
        ({"weights": {"triplets": 1.0}}, "Extra inputs are not permitted"),
    ],
)
def test_impossible_configurations_are_refused(config: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        FIReConfig(**config)


def test_a_backbone_without_maps_and_maps_without_styles_are_refused() -> None:
    with pytest.raises(UsageError, match="choose a ResNet"):
        small(backbone="eva02_clip_tiny")
    batch = small_batch()
    flat = Batch(batch.images[:, :, :32, :16], batch.person, batch.camera, batch.clothes, batch.index)
    with pytest.raises(UsageError, match=r"2 × 1 cells.*raise image\.height"):
        small().losses(flat)


# --- whole runs ---


@pytest.fixture
def words(tiny: list[str]) -> list[str]:
    """A small world, a small ResNet, one epoch of identity and two of everything; some steps each."""
    kept = [word for word in tiny if not word.startswith(("method", "captions", "image", "train.epochs", "sampler"))]
    own = ["method=fire", "image.height=64", "image.width=32", "sampler.batch_size=8", "sampler.instances=2"]
    return [*kept, *own, "method.identity_epochs=1", "train.epochs=3", "select.rule=last", "evaluate.initial=false"]


def stopped_at(step: int) -> Callable[..., dict[str, float]]:
    """`Trainer._move` that asks for the end during the given step of the process."""
    move, steps = Trainer._move, []

    def interrupted(self: Trainer, *arguments: Any) -> dict[str, float]:
        steps.append(1)
        if len(steps) == step:
            os.kill(os.getpid(), signal.SIGTERM)
        return move(self, *arguments)

    return interrupted


def test_a_run_stopped_among_clusters_ends_with_the_bits_of_an_unbroken_one(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped in the middle of the second epoch: labels, moved centres and the new optimiser come back as they were."""
    assert run.main(words) == 0
    unbroken = only_run(words)
    epochs = unbroken.events("epoch")
    assert list(epochs[0]["terms"]) == ["identity"]
    assert set(epochs[1]["terms"]) == set(FIReWeights.model_fields)
    assert epochs[1]["steps"] > 2
    broken_words = [word for word in words if not word.startswith("runs=")] + [f"runs={tmp_path / 'broken'}"]
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_move", stopped_at(epochs[0]["steps"] + 2))
        assert run.main(broken_words) == 75
    broken = only_run(broken_words)
    state = torch.load(broken.checkpoint, weights_only=True)
    assert (state["epoch"], state["step"]) == (2, 2)
    assert set(state["memory"]) == {"label", "person", "centres"}
    assert not any("centres" in name for name in state["method"])
    assert run.main(broken_words) == 0
    assert_equal_runs(unbroken, broken)


@pytest.mark.slow
def test_two_processes_form_the_same_clusters_and_train_one_model(words: list[str]) -> None:
    done = torchrun(words)
    assert done.returncode == 0, done.stderr
    folder = only_run(words)
    assert [event["epoch"] for event in folder.events("epoch")] == [1, 2, 3]
    assert folder.status()["state"] == "done"
