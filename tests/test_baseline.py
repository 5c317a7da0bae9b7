"""The baseline: where the neck stands, what each term sees, and that it learns."""

import sys

import pytest
import torch
import torch.nn.functional as F

from benchmarks.optimisation import OptimiserConfig, build_optimiser
from datasets.errors import UsageError
from methods import METHODS
from methods.base import Batch, Facts
from methods.baseline import Baseline, BaselineConfig
from methods.losses import batch_hard_triplet

FACTS = Facts(persons=4, cameras=2, clothes=4, height=64, width=32)


def small(**config) -> Baseline:
    return Baseline(BaselineConfig(**({"backbone": "resnet18", "pretrained": False} | config)), FACTS)


def small_batch() -> Batch:
    generator = torch.Generator().manual_seed(0)
    person = torch.arange(8) // 2
    images = torch.randn(4, 3, 64, 32, generator=generator)[person] * 0.5
    images = images + 0.5 * torch.randn(8, 3, 64, 32, generator=generator)
    return Batch(images, person, person % 2, person, torch.arange(8))


def test_triplet_sees_the_feature_and_cross_entropy_the_neck():
    torch.manual_seed(0)
    method, batch = small(), small_batch()
    terms = method.losses(batch)
    feature = method.observed
    assert feature is not None
    triplet = batch_hard_triplet(feature, batch.person, 0.3)
    torch.testing.assert_close(terms["triplet"], triplet)
    neck = F.batch_norm(feature, None, None, training=True)
    identity = F.cross_entropy(neck @ method.classifier.weight.T, batch.person, label_smoothing=0.1)
    torch.testing.assert_close(terms["identity"], identity)


def test_test_feature_is_taken_on_the_chosen_side_of_the_neck():
    after, before = small().eval(), small(test_feature="before_neck").eval()
    before.load_state_dict(after.state_dict())
    after.neck.running_mean.fill_(1.0)
    images = small_batch().images
    with torch.no_grad():
        torch.testing.assert_close(after.embed(images), (before.embed(images) - 1) / (1 + 1e-5) ** 0.5)


@pytest.mark.parametrize("term", ["identity", "triplet"])
def test_a_term_with_weight_zero_is_not_computed(term):
    assert set(small(weights={term: 0.0}).losses(small_batch())) == {"identity", "triplet"} - {term}


def test_without_options_nothing_of_them_is_there():
    """The default is the network it always was, number for number of its state."""
    method = small()
    others = {name for name in method.state_dict() if not name.startswith("backbone.")}
    assert {name.partition(".")[0] for name in others} == {"neck", "classifier"}


def test_gem_pools_the_maps_with_a_learned_exponent():
    torch.manual_seed(0)
    method, images = small(pooling="gem").eval(), small_batch().images
    average = small().eval()
    average.backbone.load_state_dict(method.backbone.state_dict())
    maps = method.backbone.feature_maps(images).clamp(min=1e-6).double()
    torch.testing.assert_close(
        method.features(images).double(), maps.pow(3).mean(dim=(2, 3)).pow(1 / 3), rtol=1e-4, atol=1e-5
    )
    assert method.pool.p.requires_grad
    with torch.no_grad():
        method.pool.p.fill_(1.0)
        torch.testing.assert_close(method.features(images), average.features(images), rtol=1e-4, atol=1e-5)
    facts = Facts(persons=4, cameras=2, clothes=4, height=64, width=32)
    transformer = Baseline(BaselineConfig(backbone="eva02_clip_tiny", depth=1, pretrained=False, pooling="gem"), facts)
    with pytest.raises(UsageError, match=r"not in feature maps: choose a ResNet"):
        transformer.embed(images)


def test_centre_loss_is_the_mean_squared_distance_and_its_centres_follow_by_their_own_sgd():
    """The released code: an SGD of rate 0.5 on the centres, whose gradient is freed of the term's weight."""
    torch.manual_seed(0)
    method, batch = small(weights={"centre": 0.0005}), small_batch()
    before = method.centres.centres.clone().requires_grad_(True)
    term = method.losses(batch)["centre"]
    feature = method.observed
    assert feature is not None
    reference = (feature.detach() - before[batch.person]).pow(2).sum(dim=1).mean()
    torch.testing.assert_close(term, reference)
    (gradient,) = torch.autograd.grad(reference, before)
    torch.testing.assert_close(method.centres.centres, before.detach() - 0.5 * gradient, rtol=1e-5, atol=1e-5)
    (pull,) = torch.autograd.grad(term, feature)
    torch.testing.assert_close(pull, 2 * (feature - before[batch.person]).detach() / 8)
    moved = method.centres.centres.clone()
    method.eval().losses(batch)
    assert torch.equal(method.centres.centres, moved), "a test moves nothing"
    assert "centres.centres" in method.state_dict(), "a checkpoint holds them"


def test_arcface_adds_an_angle_to_the_own_class():
    """Deng et al. 2019, equation 3: cross entropy of s cos(θ + m) for the own class, s cos θ for the others."""
    torch.manual_seed(0)
    method, batch = small(head="arcface", arcface_margin=0.3, arcface_scale=16.0), small_batch()
    identity = method.losses(batch)["identity"]
    feature = method.observed
    assert feature is not None
    neck = F.normalize(F.batch_norm(feature, None, None, training=True))
    angle = torch.acos(neck @ F.normalize(method.metric_head.W, dim=0))
    own = F.one_hot(batch.person, 4).bool()
    torch.testing.assert_close(identity, F.cross_entropy(16 * torch.cos(angle + 0.3 * own), batch.person))
    assert "classifier.weight" not in method.state_dict()


def test_circle_loss_weighs_each_pair_by_how_far_it_is_from_its_optimum():
    """Sun et al. 2020, equation 6: log(1 + Σ exp(γ α_n (s_n - m)) Σ exp(-γ α_p (s_p - 1 + m)))."""
    torch.manual_seed(0)
    method, batch = small(head="circle", circle_margin=0.25, circle_scale=32.0), small_batch()
    identity = method.losses(batch)["identity"]
    feature = method.observed
    assert feature is not None
    neck = F.normalize(F.batch_norm(feature, None, None, training=True)).double()
    similarity = neck @ neck.T
    of_anchors = []
    for anchor in range(8):
        same = batch.person == batch.person[anchor]
        positive = similarity[anchor][same & (torch.arange(8) != anchor)]
        negative = similarity[anchor][~same]
        pulled = -32 * (1.25 - positive).clamp(min=0) * (positive - 0.75)
        pushed = 32 * (negative + 0.25).clamp(min=0) * (negative - 0.25)
        of_anchors.append(F.softplus(pulled.logsumexp(0) + pushed.logsumexp(0)))
    torch.testing.assert_close(identity.double(), torch.stack(of_anchors).mean(), rtol=1e-4, atol=1e-4)
    assert not any(name.startswith(("classifier", "metric_head")) for name in method.state_dict())


def test_the_library_of_the_other_heads_is_only_imported_for_them(monkeypatch):
    monkeypatch.setitem(sys.modules, "pytorch_metric_learning.losses", None)  # importing it now fails
    small().losses(small_batch())
    with pytest.raises(ImportError):
        small(head="circle")


@pytest.mark.parametrize("row", Baseline.ablations)
def test_every_row_of_the_ablation_trains(row):
    changes = Baseline.ablations[row]
    config: dict = {}
    for key, value in changes.items():
        if key.startswith("method.weights."):
            config.setdefault("weights", {})[key.removeprefix("method.weights.")] = value
        elif key.startswith("method."):
            config[key.removeprefix("method.")] = value
    method = small(**config)
    terms = method.losses(small_batch())
    torch.stack(list(terms.values())).sum().backward()
    idle = [name for name, parameter in method.named_parameters() if parameter.requires_grad and parameter.grad is None]
    assert not idle, "several processes would wait for its gradient"


def test_training_separates_four_persons():
    torch.manual_seed(0)
    method, batch = small(), small_batch()
    optimizer = build_optimiser(method.named_parameters(), OptimiserConfig(name="adam", lr=1e-3))
    history = []
    for _ in range(12):
        optimizer.zero_grad()
        total = torch.stack(list(method.losses(batch).values())).sum()
        total.backward()
        optimizer.step()
        history.append(float(total.detach()))
    assert history[-1] < 0.6 * history[0]


def test_losses_stay_float32_under_autocast():
    with torch.autocast("cpu", torch.bfloat16):
        terms = small().losses(small_batch())
    assert {term.dtype for term in terms.values()} == {torch.float32}


def test_baseline_needs_no_captions_and_is_registered():
    assert METHODS.get("baseline") is Baseline
    assert not Baseline.inputs(BaselineConfig())


def test_a_transformer_serves_as_well():
    facts = Facts(persons=4, cameras=2, clothes=4, height=64, width=32)
    config = BaselineConfig(backbone="eva02_clip_tiny", depth=1, pretrained=False)
    assert Baseline(config, facts).eval().embed(torch.randn(2, 3, 64, 32)).shape == (2, 128)
