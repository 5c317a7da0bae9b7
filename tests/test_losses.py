"""The shared losses and layers against the official code's numbers, and where those leave a choice open."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from datasets.errors import UsageError
from methods.layers import BNNeck, projection, reverse_gradient
from methods.losses import batch_hard_triplet, euclidean_distances, hardest_distances, image_text_contrastive

EXACT = {"rtol": 1e-6, "atol": 1e-6}


@pytest.fixture(scope="module")
def losses(golden: Path) -> Iterator[Callable[[str], Tensor]]:
    """Key → a fresh tensor."""
    with np.load(golden / "differ/losses.npz", allow_pickle=False) as arrays:
        yield lambda key: torch.from_numpy(arrays[key])


@pytest.mark.parametrize(("case", "smoothing"), [("ce_off", 0.0), ("ce_ls_on", 0.1), ("ce_ls_unused_class", 0.1)])
def test_label_smoothing_is_the_papers(losses, case, smoothing):
    logits = losses(f"{case}/logits").requires_grad_()
    loss = F.cross_entropy(logits, losses(f"{case}/target"), label_smoothing=smoothing)
    loss.backward()
    torch.testing.assert_close(loss, losses(f"{case}/loss"), **EXACT)
    torch.testing.assert_close(logits.grad, losses(f"{case}/grad"), **EXACT)


@pytest.mark.parametrize("reshaped", [False, True])
@pytest.mark.parametrize(
    ("case", "margin"),
    [
        ("tri_soft_K2", None),
        ("tri_soft_K4", None),
        ("tri_soft_K2_norm", None),
        ("tri_margin03", 0.3),
        ("tri_margin01", 0.1),
    ],
)
def test_triplet_equals_the_official_one_when_persons_have_equally_many_images(losses, case, margin, reshaped):
    features = losses(f"{case}/feat").requires_grad_()
    used = F.normalize(features) if losses(f"{case}/normalize") else features
    loss = batch_hard_triplet(used, losses(f"{case}/target"), margin, reshaped=reshaped)
    loss.backward()
    torch.testing.assert_close(loss, losses(f"{case}/loss"), **EXACT)
    torch.testing.assert_close(features.grad, losses(f"{case}/grad"), **EXACT)


def test_triplet_masks_where_the_released_code_mixes_rows(losses):
    features, person = losses("tri_soft_DUP_pid/feat"), losses("tri_soft_DUP_pid/target")
    positive, negative = hardest_distances(euclidean_distances(features, features), person)
    torch.testing.assert_close(positive, losses("tri_soft_DUP_pid/correct_dist_ap"), **EXACT)
    torch.testing.assert_close(negative, losses("tri_soft_DUP_pid/correct_dist_an"), **EXACT)
    correct = losses("tri_soft_DUP_pid/correct_loss")
    torch.testing.assert_close(batch_hard_triplet(features, person), correct, **EXACT)
    features.requires_grad_()
    released = batch_hard_triplet(features, person, reshaped=True)
    released.backward()
    torch.testing.assert_close(released, losses("tri_soft_DUP_pid/loss"), **EXACT)
    torch.testing.assert_close(features.grad, losses("tri_soft_DUP_pid/grad"), **EXACT)


@pytest.mark.parametrize("margin", [None, 0.3])
def test_triplet_of_a_batch_of_one_person_is_zero_with_zero_gradient(margin):
    features = torch.randn(4, 8, requires_grad=True)
    loss = batch_hard_triplet(features, torch.zeros(4, dtype=torch.int64), margin)
    loss.backward()
    assert loss == 0
    assert torch.equal(features.grad, torch.zeros(4, 8))


@pytest.mark.parametrize("person", [[0, 0, 0, 0], [0, 0, 0, 1, 2, 2, 3]])
def test_released_triplet_names_the_mend_for_a_batch_it_cannot_reshape(person):
    with pytest.raises(UsageError, match=r"method\.released_code=false"):
        batch_hard_triplet(torch.randn(len(person), 8), torch.tensor(person), reshaped=True)


def test_triplet_of_identical_images_has_finite_gradients():
    features = torch.ones(4, 8, requires_grad=True)
    batch_hard_triplet(features, torch.tensor([0, 0, 1, 1])).backward()
    assert features.grad is not None
    assert features.grad.isfinite().all()


def test_contrast_equals_the_official_one(losses):
    image = losses("clip_contrastive_scale1/image").requires_grad_()
    loss = image_text_contrastive(image, losses("clip_contrastive_scale1/text"))
    loss.backward()
    torch.testing.assert_close(loss, losses("clip_contrastive_scale1/loss"), **EXACT)
    # The official piece takes unit vectors and gives the gradient before normalising; ours normalises, so that the part
    # along the vector is gone.
    unit, gradient = image.detach(), losses("clip_contrastive_scale1/grad_image")
    tangent = gradient - (gradient * unit).sum(dim=1, keepdim=True) * unit
    torch.testing.assert_close(image.grad, tangent, **EXACT)


def test_temperature_sharpens_the_contrast():
    """A matching pair costs less at a lower temperature; a mismatched one costs more."""
    text = torch.eye(4)
    assert image_text_contrastive(text, text, 0.1) < image_text_contrastive(text, text, 1.0)
    assert image_text_contrastive(text.flip(0), text, 0.1) > image_text_contrastive(text.flip(0), text, 1.0)


def test_several_positives_lift_the_penalty_for_identical_captions():
    """Two persons with one caption each: with all of a person's captions as positives log 2 is the floor per person."""
    person = torch.tensor([0, 0, 1, 1])
    text = torch.eye(2)[person]
    loss = image_text_contrastive(text * 5, text, 0.01, person)
    torch.testing.assert_close(loss, torch.log(torch.tensor(2.0)))
    distinct = torch.arange(4)
    torch.testing.assert_close(
        image_text_contrastive(text, text, 0.5, distinct), image_text_contrastive(text, text, 0.5)
    )


@pytest.mark.parametrize("alpha", ["1.0", "0.3"])
def test_reversal_is_the_identity_with_a_negated_gradient(golden: Path, alpha):
    with np.load(golden / "differ/grl.npz", allow_pickle=False) as arrays:
        case = {key: torch.from_numpy(arrays[f"grl_a{alpha}/{key}"]) for key in ("x", "y", "upstream", "grad")}
    x = case["x"].requires_grad_()
    y = reverse_gradient(x, float(alpha))
    y.backward(case["upstream"])
    torch.testing.assert_close(y, case["y"], rtol=0, atol=0)
    torch.testing.assert_close(x.grad, case["grad"], **EXACT)


def test_projections_start_as_the_official_ones(golden: Path):
    with np.load(golden / "differ/grl.npz", allow_pickle=False) as arrays:
        std, bias = float(arrays["init_linear/std"]), bool(arrays["init_linear/has_bias"])
    torch.manual_seed(0)
    linear = projection(1024, 512, bias=bias)
    assert [name for name, _ in linear.named_parameters()] == ["weight"]
    assert float(next(linear.parameters()).detach().std()) == pytest.approx(std, rel=0.01)
    mlp = projection(64, 32, "mlp", hidden=16)
    assert [tuple(p.shape) for p in mlp.parameters()] == [(16, 64), (16,), (32, 16), (32,)]
    assert all(not p.any() for p in mlp.parameters() if p.ndim == 1)


def test_neck_never_learns_a_shift():
    neck = BNNeck(4)
    neck(torch.randn(8, 4)).square().sum().backward()
    assert neck.bias.grad is None
    assert neck.weight.grad is not None
