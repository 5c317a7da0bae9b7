"""Heat maps light up where a feature comes from, for every method, and are of the same images for all of them."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from benchmarks.distribution import World
from benchmarks.heat_maps import _inputs, chosen_pairs, ensure_heat_maps, read_heat_maps, similarity_maps
from benchmarks.protocols import ignored
from benchmarks.records import RunFolder
from benchmarks.reopening import Reopened, reopen
from benchmarks.resolve import resolve
from benchmarks.run_features import kept_features
from benchmarks.splits import load_samples
from benchmarks.words import parse_words, read_value
from datasets.base import Ignore, Protocol, Samples
from datasets.errors import DataError
from methods import METHODS
from methods.backbones import build_backbone, patch_maps
from methods.base import Facts, Method, MethodConfig, Places
from reports.figures.heat_maps import heat_map_figure, overlaid
from tests.small_runs import copied, small_run
from tests.test_every_method import SMALL, words_of

FACTS = Facts(persons=4, cameras=2, clothes=8, height=32, width=16, text_width=16, wardrobes=((0, 1), (2, 3)) * 2)


class Corner(Method):
    """A convolution whose maps are weighed before they are pooled: all that counts lies where the weights are."""

    def __init__(self, weights: Tensor, pool: str = "mean"):
        super().__init__(MethodConfig(), FACTS)
        torch.manual_seed(0)
        self.convolution = nn.Sequential(nn.Conv2d(3, 16, 4, stride=4), nn.ReLU(inplace=True))
        self.weights, self.pool = weights, pool

    def places(self) -> Places:
        return Places(self.convolution, lambda maps: maps)

    def embed(self, images: Tensor, cameras: Tensor | None = None, **extras: Tensor) -> Tensor:
        maps = self.convolution(images) * self.weights
        return maps.mean((2, 3)) if self.pool == "mean" else maps.amax((2, 3))


def images(count: int = 4, height: int = 32, width: int = 16) -> Tensor:
    return torch.randn(count, 3, height, width, generator=torch.Generator().manual_seed(1))


def partners(count: int = 4) -> Tensor:
    return torch.arange(count).roll(count // 2)


def maps_of(method: Method, pictures: Tensor, **extras: Tensor) -> Tensor:
    cameras = torch.zeros(len(pictures), dtype=torch.int64)
    found = similarity_maps(method, partners(len(pictures)), pictures, cameras, **extras)
    assert found is not None
    return found


@pytest.mark.parametrize("pool", ["mean", "maximum"])
@pytest.mark.parametrize("corner", [(0, 0), (7, 3), (2, 1)])
def test_only_the_planted_place_lights_up(corner: tuple[int, int], pool: str) -> None:
    weights = torch.zeros(8, 4)
    weights[corner] = 1.0
    maps = maps_of(Corner(weights, pool), images())
    assert maps.shape == (4, 8, 4)
    assert maps[:, *corner].tolist() == [1.0] * 4
    assert maps.sum() == 4, "nothing else has any share"


def test_places_that_count_twice_as_much_are_twice_as_bright() -> None:
    """With mean pooling a map shows what each place adds: constant images add in proportion to the weights."""
    weights = torch.arange(32.0).view(8, 4) / 31
    maps = maps_of(Corner(weights), torch.ones(2, 3, 32, 16))
    assert torch.allclose(maps, weights.expand(2, 8, 4), atol=1e-6)


def test_with_mean_pooling_it_is_grad_cam_and_adds_up_to_the_similarity() -> None:
    """Grad-CAM from its definition: channels weighed by their mean gradient. Its sum is f · g / |g|, no bias here."""
    method = Corner(torch.ones(8, 4)).eval()
    pictures = images()
    with torch.no_grad():
        activations = method.convolution(pictures)
        features = method.embed(pictures)
    target = normalize(features, dim=1)[partners()]
    weights = target[:, :, None, None] / (8 * 4)  # ∂ mean(A) · g / ∂A, the same at every place
    cam = (weights * activations).sum(dim=1)
    assert cam.sum((1, 2)) == pytest.approx((features * target).sum(dim=1), rel=1e-5)
    cam = cam.relu()
    assert torch.allclose(maps_of(method, pictures), cam / cam.amax((1, 2), keepdim=True), atol=1e-6)


def test_a_feature_that_does_not_come_from_the_maps_has_none() -> None:
    class Blind(Corner):
        def embed(self, images: Tensor, cameras: Tensor | None = None, **extras: Tensor) -> Tensor:
            super().embed(images)
            return images.mean((2, 3))

    class Unseen(Corner):
        def embed(self, images: Tensor, cameras: Tensor | None = None, **extras: Tensor) -> Tensor:
            return images.mean((2, 3)).requires_grad_()

    class Placeless(Corner):
        def places(self) -> None:  # type: ignore[override]
            return None

    for kind in (Blind, Unseen, Placeless):
        arguments = partners(), images(), torch.zeros(4, dtype=torch.int64)
        assert similarity_maps(kind(torch.ones(8, 4)), *arguments) is None


def test_neither_weights_nor_the_gradient_mode_are_left_changed() -> None:
    method = Corner(torch.ones(8, 4))
    before = {name: tensor.clone() for name, tensor in method.state_dict().items()}
    with torch.no_grad():
        maps_of(method, images())
        assert not torch.is_grad_enabled()
    assert all(torch.equal(before[name], tensor) for name, tensor in method.state_dict().items())
    assert all(parameter.grad is None for parameter in method.parameters())
    assert not method.convolution._forward_hooks


def test_tokens_lie_where_their_patches_are() -> None:
    """Row after row of the image, behind the class token."""
    tokens = torch.arange(9.0)[None, :, None].repeat(2, 1, 5)
    assert patch_maps(tokens, (4, 2))[0, 0].tolist() == [[1, 2], [3, 4], [5, 6], [7, 8]]


def small_method(name: str, tmp_path: Path, *words: str) -> Method:
    values = {key: read_value(key, word) for key, word in parse_words([*words_of(name, tmp_path), *words]).items()}
    config: Any = resolve(values).spec.method
    torch.manual_seed(0)
    return METHODS.get(name)(config, FACTS).eval()


@pytest.mark.parametrize("name", SMALL)
def test_every_method_has_maps_that_follow_the_image(name: str, tmp_path: Path) -> None:
    """In 0 … 1, as many rows as columns twice over, and another image gives another map."""
    method = small_method(name, tmp_path)
    masks = {"masks": torch.zeros(4, 32, 16, dtype=torch.uint8)} if method.test_inputs(method.config) else {}
    maps = maps_of(method, images(), **masks)
    assert maps.shape[1] == 2 * maps.shape[2]
    assert (maps >= 0).all()
    assert maps.amax((1, 2)).max() == 1
    if maps[0].numel() > 2:
        assert not torch.allclose(maps[0], maps[1])


@pytest.mark.parametrize(
    "backbone", ["vit_tiny_patch16_224", "eva02_clip_tiny", "resnet18", "convnext_atto", "swin_tiny_patch4_window7_224"]
)
def test_maps_have_the_grid_of_the_backbone(backbone: str) -> None:
    """Class tokens, maps with channels last, and stages that are no nn.Sequential."""
    size = {"swin_tiny_patch4_window7_224": (224, 224)}.get(backbone, (64, 32))
    last = {"vit_tiny_patch16_224": 16, "eva02_clip_tiny": 8, "resnet18": 16}.get(backbone, 32)

    class Bare(Method):
        def __init__(self) -> None:
            super().__init__(MethodConfig(), FACTS)
            torch.manual_seed(0)
            self.backbone = build_backbone(backbone, image_size=size, pretrained=False)

        def embed(self, images: Tensor, cameras: Tensor | None = None, **extras: Tensor) -> Tensor:
            return self.backbone(images)

    assert maps_of(Bare(), images(2, *size)).shape == (2, size[0] // last, size[1] // last)


def test_a_clip_has_the_map_of_the_frame_that_is_meant(tmp_path: Path) -> None:
    method = small_method("cal", tmp_path, "method.backbone=c2d_tiny")
    clips = images(6).view(2, 3, 3, 32, 16)
    clips[0, 2] = 0  # all of the first clip but one frame is noise
    each = [maps_of(method, clips, frame=torch.full((2,), frame)) for frame in range(3)]
    assert all(maps.shape == each[0].shape and maps.shape[0] == 2 for maps in each)
    assert not torch.equal(each[0][0], each[2][0])


# --- whom it is about ---


def world() -> tuple[Samples, Samples]:
    """Twelve people in two outfits before two cameras; the last three have nothing in the gallery but the query's."""
    grid = np.indices((12, 2, 2)).reshape(3, -1)
    person, outfit, camera = grid
    clothes = person * 10 + outfit
    samples = Samples(tuple(f"{number}.jpg" for number in range(len(person))), person, camera, clothes)
    gallery = np.flatnonzero((person < 9) | ((outfit == 0) & (camera == 0)))
    return samples.take(np.flatnonzero((outfit == 0) & (camera == 0))), samples.take(gallery)


def test_pairs_are_true_matches_of_people_evenly_chosen() -> None:
    query, gallery = world()
    protocol = Protocol("cloth-changing", "query", "gallery", Ignore.SAME_CAMERA | Ignore.SAME_CLOTHES)
    pairs = chosen_pairs(protocol, query, gallery, 3)
    asked, given = query.take(pairs[:, 0]), gallery.take(pairs[:, 1])
    assert asked.person.tolist() == given.person.tolist() == [0, 3, 6]
    assert not np.diag(ignored(protocol, asked, given)).any()
    assert chosen_pairs(protocol, query, gallery, 100)[:, 0].tolist() == list(range(9)), "who has no match is not asked"
    strict = Protocol("other-clothes-only", "query", "query", Ignore.SAME_CLOTHES)
    assert chosen_pairs(strict, query, query, 3).shape == (0, 2)


# --- a run ---


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return small_run(tmp_path_factory.mktemp("run"), dataset__test_people=8)


@pytest.fixture(scope="module")
def with_masks(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return small_run(tmp_path_factory.mktemp("run"), "ifd", dataset__test_people=8)


@pytest.fixture
def finished(trained: RunFolder, tmp_path: Path) -> RunFolder:
    return copied(trained, tmp_path)


def opened(folder: RunFolder, heard: list[dict] | None = None) -> Reopened:
    return reopen(folder, {}, lambda event: None if heard is None else heard.append(event))


def test_maps_are_made_once_and_kept(finished: RunFolder) -> None:
    assert read_heat_maps(finished) is None
    maps = ensure_heat_maps(opened(finished), 3)
    assert maps is not None
    assert maps.query_maps.shape == maps.match_maps.shape == (3, *maps.query_maps.shape[1:])
    assert maps.query_maps.dtype == np.float16
    query, gallery = load_samples(finished.split("query")), load_samples(finished.split("gallery"))
    assert [query.paths[row] for row in maps.query] == maps.query_paths.tolist()
    assert [gallery.paths[row] for row in maps.match] == maps.match_paths.tolist()
    assert np.array_equal(gallery.person[maps.match], maps.person)
    before = (finished.path / "heat_maps.npz").read_bytes()
    shutil.move(finished.path / "checkpoints", finished.path / "elsewhere")
    ensure_heat_maps(opened(finished), 3)
    with pytest.raises(DataError, match="cannot be read"):
        ensure_heat_maps(opened(finished), 2)
    shutil.move(finished.path / "elsewhere", finished.path / "checkpoints")
    (finished.path / "heat_maps.npz").unlink()
    ensure_heat_maps(opened(finished), 3)
    assert (finished.path / "heat_maps.npz").read_bytes() == before, "the same weights give the same bytes"


@pytest.mark.parametrize("name", ["trained", "with_masks"])
def test_the_model_sees_what_it_saw_in_the_evaluation(name: str, request: pytest.FixtureRequest) -> None:
    """The same pixels, cameras and masks: the features are the kept ones."""
    folder = request.getfixturevalue(name)
    reopened = opened(folder)
    reopened.ensure_features(World(torch.device("cpu")))
    samples, rows = load_samples(folder.split("gallery")), np.array([0, 5, 9])
    method = reopened.method()
    with torch.no_grad():
        features = normalize(method.embed(**_inputs(reopened, method, samples, rows)), dim=1)
    assert torch.allclose(features, kept_features(folder, "gallery").embeddings[rows], atol=2e-3)


def test_methods_of_one_dataset_are_shown_the_same_images(
    finished: RunFolder, with_masks: RunFolder, tmp_path: Path
) -> None:
    """And stand in one figure, which is the same bytes again."""
    runs = [opened(finished), opened(copied(with_masks, tmp_path))]
    one, other = (ensure_heat_maps(reopened, 3) for reopened in runs)
    assert one is not None
    assert other is not None
    assert one.query_paths.tolist() == other.query_paths.tolist()
    assert one.match_paths.tolist() == other.match_paths.tolist()
    first, again = heat_map_figure(runs, tmp_path / "one"), heat_map_figure(runs, tmp_path / "two")
    assert first is not None
    assert again is not None
    assert first.png.read_bytes() == again.png.read_bytes()
    assert first.pdf.read_bytes() == again.pdf.read_bytes()
    assert "Runs without maps" not in first.caption
    hidden = heat_map_figure(
        runs, tmp_path / "hidden", ["one <b>$x_1$", "a name that is far too long"], blur_faces=True
    )
    assert hidden is not None
    assert hidden.png.read_bytes() != first.png.read_bytes()


def test_runs_without_maps_of_these_images_are_counted(finished: RunFolder, tmp_path: Path) -> None:
    assert heat_map_figure([opened(finished)], tmp_path) is None
    another = copied(finished, tmp_path / "another")
    ensure_heat_maps(opened(finished), 3)
    ensure_heat_maps(opened(another), 2)
    picture = heat_map_figure([opened(finished), opened(another)], tmp_path)
    assert picture is not None
    assert picture.caption.endswith("Runs without maps of these images: 1.")
    (another.path / "heat_maps.npz").write_bytes(b"PK")
    picture = heat_map_figure([opened(another), opened(finished)], tmp_path)
    assert picture is not None
    assert picture.caption.endswith("Left out, since a file is damaged: 1.")


def test_a_method_without_maps_says_so(finished: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Method, "places", lambda self: None)
    heard: list[dict] = []
    assert ensure_heat_maps(opened(finished, heard)) is None
    message = heard[-1]["message"]
    assert message.startswith(f"{finished.run_id} has no heat maps: its features are not made from maps")
    assert not (finished.path / "heat_maps.npz").exists()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut short"])
def test_a_damaged_file_is_named_with_its_mend(finished: RunFolder, content: bytes) -> None:
    (finished.path / "heat_maps.npz").write_bytes(content)
    with pytest.raises(DataError, match=r"heat_maps\.npz is not a file of heat maps .*: delete it"):
        read_heat_maps(finished)


def test_the_overlay_is_the_grey_image_where_nothing_counts() -> None:
    image = np.random.default_rng(0).integers(0, 256, (40, 20, 3), dtype=np.uint8)
    heat = np.zeros((4, 2))
    cold = overlaid(image, heat)
    assert (cold == cold[..., :1]).all(), "no colour"
    heat[:2] = 1
    warm = overlaid(image, heat).astype(int)
    assert np.ptp(warm[:10], axis=2).min() > 20, "coloured above"
    assert np.array_equal(warm[-8:], cold[-8:]), "not below"
