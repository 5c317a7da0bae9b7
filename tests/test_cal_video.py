"""Clips: the official networks for them, one draw for all frames of a clip, and CCVID's layout the whole way."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import run
from benchmarks.distribution import World
from benchmarks.embedding import embed
from benchmarks.feed import TrainingData, TrainingFeed
from benchmarks.pooling import pooled
from benchmarks.records import RunStore
from benchmarks.resolve import resolve
from benchmarks.spec import Spec
from datasets.augment import AugmentConfig, augment
from datasets.base import Samples
from datasets.clips import covering_clips, pieces
from datasets.errors import UsageError
from methods.base import Facts, Method, MethodConfig
from methods.cal import Cal, CalConfig
from methods.cal_checkpoints import our_name
from methods.video import (
    VIDEO,
    AppearancePreservingConvolution,
    InflatedConvolution,
    NonLocal,
    VideoBackbone,
    pool_frames,
)
from tests.golden_fill import drawn, filled_state
from tests.test_cal import SEED, arrays_of

CPU = World(torch.device("cpu"))
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
OFFICIAL_NAMES = {
    "c2dres50": "C2DResNet50",
    "i3dres50": "I3DResNet50",
    "ap3dres50": "AP3DResNet50",
    "nlres50": "NLResNet50",
    "ap3dnlres50": "AP3DNLResNet50",
}
IN_THE_CONVOLUTION = {
    "c2d": {},
    "i3d": {"weight": "conv3d.weight"},
    "ap3d": {
        "spatial.weight": "spatial_conv3d.weight",
        "temporal.weight": "temporal_conv3d.weight",
        "register.semantic.weight": "APM.semantic_mapping.weight",
        "register.of_frame.weight": "APM.x_mapping.weight",
        "register.of_neighbour.weight": "APM.n_mapping.weight",
        "register.attention.weight": "APM.contrastive_att_net.0.weight",
    },
}
IN_THE_ATTENTION = {"phi": "phi.0", "g": "g.0", "out": "W.0", "norm": "W.1"}


def official_name(ours: str, backbone: str) -> str:
    """Our name → the released code's, spelled out here apart from `our_name`, which turns them back."""
    ours = ours.replace("neck.", "bn.").removeprefix("backbone.trunk.")
    stage, _, rest = ours.partition(".")
    block, _, inner = rest.partition(".")
    if not stage.startswith("layer"):
        return ours
    module, _, leaf = inner.partition(".")
    if module in IN_THE_ATTENTION:
        return f"{stage}.{block}.{IN_THE_ATTENTION[module]}.{leaf}"
    if (
        module == "conv2"
        and leaf in IN_THE_CONVOLUTION[VIDEO[backbone].convolutions]
        and _is_temporal(backbone, stage, block)
    ):
        return f"{stage}.{block}.conv2.{IN_THE_CONVOLUTION[VIDEO[backbone].convolutions][leaf]}"
    return ours


def _is_temporal(backbone: str, stage: str, block: str) -> bool:
    """Blocks 0, 2 (layer2) and 0, 2, 4 (layer3); attention stands after block 1, 3, … and counts as one itself."""
    numbers = {"layer2": (0, 2), "layer3": (0, 2, 4)}.get(stage, ())
    if VIDEO[backbone].non_local:
        numbers = tuple(number + number // 2 for number in numbers)
    return int(block) in numbers


def official_state(backbone: str) -> dict[str, Tensor]:
    """The official state dict as the golden network had it."""
    config = CalConfig(backbone=backbone, pretrained=False, weights={"clothes": 0, "adversarial": 0})  # pyright: ignore[reportArgumentType]
    with torch.device("meta"):
        own = Cal(config, Facts(1, 0, 1, 64, 32)).state_dict()
    shapes = {
        official_name(key, backbone): _volume(key, value) for key, value in own.items() if "classifier" not in key
    }
    return filled_state(shapes, SEED)


def _volume(name: str, value: Tensor) -> tuple[int, ...]:
    """Kernels of single frames are 1×k×k there."""
    shape = tuple(value.shape)
    return (*shape[:2], 1, *shape[2:]) if len(shape) == 4 else shape


@pytest.mark.parametrize(
    "backbone",
    [
        "c2dres50",
        "ap3dnlres50",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("i3dres50", "ap3dres50", "nlres50")),
    ],
)
def test_an_official_checkpoint_gives_the_official_features_of_clips(golden, backbone):
    state = official_state(backbone)
    loaded = Cal.from_official(state, CalConfig(pretrained=False), 64, 32)
    assert isinstance(loaded.method.config, CalConfig)
    assert loaded.method.config.backbone == backbone, "the tensors tell which network it is"
    assert loaded.ignored == ()
    method = loaded.method.double().eval()
    renamed = {our_name(key): value for key, value in state.items()}
    method.load_state_dict(
        {
            key: renamed[key].reshape(value.shape) if key in renamed else value
            for key, value in method.state_dict().items()
        }
    )
    clips = drawn("clip_2x3x4x64x32", (2, 3, 4, 64, 32), SEED).transpose(1, 2)
    with torch.no_grad():
        features = method.embed(clips)
    expected = arrays_of(golden / "cal/model.npz", f"{OFFICIAL_NAMES[backbone]}/")["eval_feat"]
    torch.testing.assert_close(features[:, ::16], expected, rtol=1e-9, atol=1e-9)


def test_the_names_of_the_official_network_are_those_of_its_state_dict(golden):
    official = json.loads((golden / "cal/model_meta.json").read_text())
    assert {key: list(value.shape) for key, value in official_state("c2dres50").items()} == official["c2d"]


@pytest.mark.parametrize("backbone", OFFICIAL_NAMES)
def test_networks_for_clips_have_the_official_number_of_parameters(golden, backbone):
    official = json.loads((golden / "cal/model_meta.json").read_text())["parameters"]
    with torch.device("meta"):
        method = Cal(CalConfig(backbone=backbone, pretrained=False), Facts(2, 1, 2, 256, 128, wardrobes=((0,), (1,))))
    sizes = {name: parameter.numel() for name, parameter in method.named_parameters() if "classifier" not in name}
    assert sum(sizes.values()) == official[backbone]


@pytest.mark.parametrize("layer", [InflatedConvolution, AppearancePreservingConvolution])
@pytest.mark.parametrize("stride", [1, 2])
def test_convolutions_across_frames_start_as_those_of_single_frames(layer, stride):
    """So that weights of ImageNet mean what they mean frame by frame; what is new gets a gradient all the same."""
    image = nn.Conv2d(32, 32, 3, stride=stride, padding=1, bias=False)
    across = layer(image)
    across.frames = 4
    maps = torch.randn(2 * 4, 32, 8, 4)
    found = across(maps)
    torch.testing.assert_close(found, image(maps))
    found.square().sum().backward()
    new = across.weight.grad[:, :, [0, 2]] if layer is InflatedConvolution else across.temporal.weight.grad
    assert new.abs().amax(dim=(0, 1)).min() > 0


@pytest.mark.parametrize("layer", [InflatedConvolution, AppearancePreservingConvolution, NonLocal])
def test_layers_across_frames_look_at_other_frames_of_the_clip_and_at_no_other_clip(layer):
    torch.manual_seed(0)
    across = layer(32) if layer is NonLocal else layer(nn.Conv2d(32, 32, 3, padding=1, bias=False))
    with torch.no_grad():
        for parameter in across.parameters():
            parameter.normal_(std=0.1)
    across.eval().frames = 4
    maps = torch.randn(2 * 4, 32, 8, 4)
    changed = maps.clone()
    changed[1] += 1  # the second frame of the first clip
    with torch.no_grad():
        differs = [not torch.equal(one, other) for one, other in zip(across(maps), across(changed), strict=True)]
    reach = 4 if layer is NonLocal else 3  # all frames, or the neighbours
    assert differs == [True] * reach + [False] * (8 - reach)


@pytest.mark.parametrize("size", [(4, 1), (1, 4), (1, 1)])
def test_attention_over_the_clip_takes_maps_of_a_single_column_or_row(size):
    """What 16 pixels leave of a width: there is nothing to halve."""
    torch.manual_seed(0)
    layer = NonLocal(16).eval()
    nn.init.ones_(layer.norm.weight)
    layer.frames = 2
    maps = torch.randn(4, 16, *size, requires_grad=True)
    layer(maps).square().sum().backward()
    assert maps.grad is not None
    assert (maps.grad != 0).all()


def test_attention_over_the_clip_starts_as_the_identity():
    layer = NonLocal(16).eval()
    layer.frames = 2
    maps = torch.randn(4, 16, 4, 4)
    assert torch.equal(layer(maps), maps)


# --- batches of clips ---

EVERYTHING = AugmentConfig(zoom_crop=0.5, pad_crop=3, erase=0.8)


@pytest.mark.parametrize("fill", [(0.1, 0.2, 0.3), "random"])
def test_all_frames_of_a_clip_are_augmented_alike(fill):
    """Frame t of the clips is what the images of frame t alone would be: one draw per clip, as for one image."""
    clips = torch.randint(0, 256, (6, 3, 32, 16, 3), dtype=torch.uint8)
    masks = torch.randint(0, 20, (6, 3, 32, 16), dtype=torch.uint8)
    config = EVERYTHING.model_copy(update={"erase_fill": fill, "erase_masks": True})
    moved, moved_masks = augment(clips, config, MEAN, STD, torch.Generator().manual_seed(1), masks)
    assert moved.shape == (6, 3, 3, 32, 16)
    assert moved_masks is not None
    for frame in range(3):
        alone, alone_masks = augment(
            clips[:, frame], config, MEAN, STD, torch.Generator().manual_seed(1), masks[:, frame]
        )
        assert torch.equal(moved[:, frame], alone)
        assert alone_masks is not None
        assert torch.equal(moved_masks[:, frame], alone_masks)


TRACKLET = np.repeat(np.arange(8), [30, 5, 70, 9, 12, 40, 8, 33])
SAMPLES = Samples(tuple(map(str, range(len(TRACKLET)))), TRACKLET // 2, TRACKLET % 3, TRACKLET // 2, tracklet=TRACKLET)
"""8 tracklets of 4 people."""
CUT = pieces(TRACKLET, 16)


def spec_of(**values: Any) -> Spec:
    words = {"image.height": 16, "image.width": 16, "sampler.batch_size": 4, "sampler.instances": 2, "clips.length": 4}
    words |= {"clips.stride": 2, "clips.test_length": 4, "clips.test_stride": 2, "method.backbone": "c2d_tiny"}
    words |= {"evaluate.flip": False}
    named = {key.replace("__", "."): value for key, value in values.items()}
    return resolve({"method.name": "cal", "dataset.name": "synthetic"} | words | named).spec


def feed_of(spec: Spec, cut: Any = CUT) -> TrainingFeed:
    pixels = np.random.default_rng(0).integers(0, 256, (len(TRACKLET), 16, 16, 3), dtype=np.uint8)
    return TrainingFeed(TrainingData(SAMPLES, np.arange(len(TRACKLET)), pieces=cut), pixels, spec, CPU)


def test_a_batch_of_clips_holds_frames_of_one_piece_in_order():
    feed = feed_of(spec_of())
    index = feed.index(3)
    assert index.shape == (feed.steps(3), 1, 4, 4)
    assert (index == feed.index(3)).all(), "a pure function of seed and epoch"
    assert not np.array_equal(index[: len(feed.index(4))], feed.index(4)[: len(index)])
    first, frames = CUT.T
    for clip in index.reshape(-1, 4):
        piece = np.flatnonzero((first <= clip[0]) & (clip[0] < first + frames))[0]
        assert clip[-1] < first[piece] + frames[piece]
        assert (np.diff(clip) == 2).all() if frames[piece] >= 8 else (np.diff(clip) >= 0).all()
    batches = [batch for step in feed.epoch(3, start=1) for batch in step]
    assert len(batches) == len(index) - 1, "an epoch can go on at any step"
    for batch, rows in zip(batches, index[1:, 0], strict=True):
        assert batch.images.shape == (4, 4, 3, 16, 16)
        assert batch.index.tolist() == rows[:, 0].tolist()
        assert batch.person.tolist() == SAMPLES.person[rows[:, 0]].tolist()


def test_methods_for_images_and_for_clips_do_not_mix():
    with pytest.raises(UsageError, match=r"clips\.length=4: this configuration of cal takes single images"):
        feed_of(spec_of(method__backbone="resnet_tiny"))
    with pytest.raises(UsageError, match=r"cal takes clips: set clips\.length"):
        feed_of(spec_of(clips__length=1))
    with pytest.raises(UsageError, match=r"takes clips, and synthetic compares single images"):
        feed_of(spec_of(), cut=None)
    assert feed_of(spec_of(method__backbone="resnet_tiny", clips__length=1)).index(1).shape[2:] == (4,)


class MeanColour(Method):
    """The mean over a clip's frames of the red at the first pixel, and what else it is told."""

    def __init__(self) -> None:
        super().__init__(MethodConfig(), Facts(1, 1, 1, 16, 16))
        self.seen: list[tuple[int, ...]] = []

    @classmethod
    def takes_clips(cls, config: MethodConfig) -> bool:
        return True

    def embed(self, images: Tensor, cameras: Tensor | None = None, **extras: Tensor) -> Tensor:
        self.seen.append(tuple(images.shape))
        assert cameras is not None
        return torch.stack([images[:, :, 0, 0, 0].mean(dim=1), cameras.float()], dim=1)


def test_a_tracklet_is_the_mean_over_the_clips_that_cover_it():
    """For a method that takes clips; their number per pass follows from the number of images."""
    spec = spec_of(image__mean=[0, 0, 0], image__std=[1, 1, 1])
    pixels = np.zeros((len(TRACKLET) + 5, 16, 16, 3), np.uint8)
    pixels[5:, 0, 0, 0] = np.random.default_rng(0).integers(0, 256, len(TRACKLET))
    method = MeanColour()
    features = embed(
        method,
        SAMPLES,
        pixels,
        spec,
        CPU,
        rows=np.arange(len(TRACKLET)) + 5,
        training_cameras=np.unique(SAMPLES.camera),
        batch_size=10,
    )
    assert features.embeddings.shape == (len(TRACKLET), 2)
    assert {shape[1:] for shape in method.seen} == {(4, 3, 16, 16)}
    assert max(shape[0] for shape in method.seen) == 2, "10 images at a time are 2 clips of 4"
    whole = pooled(features, "clips", spec.clips).embeddings
    red = torch.from_numpy(pixels[5:, 0, 0, 0] / 255)
    for number, (start, count) in enumerate(zip(*_runs(), strict=True)):
        clips = covering_clips(count, 4, 2)
        torch.testing.assert_close(whole[number, 0].double(), red[start + clips].mean(dim=1).mean(), atol=1e-6, rtol=0)
        assert float(whole[number, 1]) == pytest.approx(number % 3)


def _runs() -> tuple[list[int], list[int]]:
    counts = np.bincount(TRACKLET)
    return np.r_[0, counts.cumsum()[:-1]].tolist(), counts.tolist()


def test_clips_need_tracklets_at_test_too():
    samples = Samples(("a",), *(np.zeros(1, np.int64) for _ in range(3)))
    with pytest.raises(UsageError, match="takes clips, and these images belong to no tracklets"):
        embed(
            MeanColour(), samples, np.zeros((1, 16, 16, 3), np.uint8), spec_of(), CPU, training_cameras=samples.camera
        )


def test_the_feature_of_a_clip_is_the_mean_over_frames_of_the_maximum_over_positions():
    maps = torch.randn(2, 4, 8, 6, 3)
    torch.testing.assert_close(pool_frames(maps), maps.amax(dim=(3, 4)).mean(dim=1))
    config = CalConfig(backbone="c2d_tiny", pretrained=False)
    method = Cal(config, Facts(2, 1, 2, 32, 16, wardrobes=((0,), (1,)))).eval()
    assert isinstance(method.backbone, VideoBackbone)
    clips = torch.randn(2, 4, 3, 32, 16)
    with torch.no_grad():
        torch.testing.assert_close(method.embed(clips)[:1], method.embed(clips[:1]), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(method.embed(clips), method.embed(clips.flip(1)), rtol=1e-4, atol=1e-5)


# --- the whole way ---


def test_ccvid_s_layout_is_trained_on_and_scored_in_clips(tmp_path: Path, capsys: pytest.CaptureFixture):
    data, runs = tmp_path / "data", tmp_path / "runs"
    world = ["people=8", "test_people=4", "cameras=4", "tracklets=1", "frames=10", "height=64"]
    assert run.main(["synthesize", "layout=ccvid", f"out={data}", *world]) == 0
    words = ["method=cal", "dataset=ccvid", "method.backbone=c2d_tiny", "method.pretrained=false", "device=cpu"]
    words += ["image.height=32", "image.width=16", "sampler.batch_size=8", "train.epochs=2", "train.accumulate=1"]
    words += ["method.clothes_start=1", "method.adversarial_start=1", f"data={data}", f"runs={runs}", "quiet=true"]
    words += [f"cache={tmp_path / 'cache'}"]
    assert run.main([*words, "clips.length=4", "clips.stride=2"]) == 0, capsys.readouterr().err
    (folder,) = RunStore(runs)
    assert [set(event["terms"]) for event in folder.events("epoch")] == [
        {"identity"},
        {"identity", "clothes", "adversarial"},
    ]
    scored = {row["protocol"]: row["mAP"] for row in folder.scores() if row["selection"] == folder.headline}
    assert set(scored) == {"cloth-changing", "standard", "same-clothes"}
    assert all(0 < value <= 1 for value in scored.values())
    capsys.readouterr()
    assert run.main([*words, "clips.length=1", "seed=1"]) == 2
    assert "clips.length" in capsys.readouterr().err
