"""The baseline: where the neck stands, what each term sees, and that it learns."""

import pytest
import torch
import torch.nn.functional as F

from benchmarks.optimisation import OptimiserConfig, build_optimiser
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
