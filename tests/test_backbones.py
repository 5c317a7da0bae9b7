"""Backbones by name and their weights: sizes that would be cropped, layouts of weight files, and files to refuse."""

import logging
import pickle
from pathlib import Path

import numpy as np
import open_clip
import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor

from datasets.errors import DataError, UsageError
from methods.backbones import Backbone, BackboneConfig, build_backbone

TINY = {"patch_size": 14, "embed_dim": 64, "depth": 3, "num_heads": 4}


def tiny_eva(size: tuple[int, int] = (56, 56), weights_file: Path | None = None, **options) -> Backbone:
    return build_backbone(
        "eva02_clip_tiny", image_size=size, weights_file=weights_file, pretrained=False, **(TINY | options)
    )


def same(first: Backbone, second: Backbone) -> bool:
    pairs = zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    return all(torch.equal(ours, theirs) for ours, theirs in pairs)


# --- forward ---


def test_tokens_go_the_way_timm_sends_them():
    backbone = tiny_eva().eval()
    images = torch.randn(2, 3, 56, 56)
    with torch.no_grad():
        assert torch.equal(backbone(images), backbone.trunk(images))
        assert torch.equal(backbone(images, torch.zeros(2, 1, 64)), backbone(images))
        assert not torch.allclose(backbone(images, torch.ones(2, 1, 64)), backbone(images))
    assert backbone(images).shape == (2, backbone.width)


def test_an_ordinary_vision_transformer_takes_an_offset_too():
    backbone = build_backbone(
        "vit_tiny_patch16_224", image_size=(64, 32), pretrained=False, depth=2, embed_dim=32, num_heads=2
    ).eval()
    images = torch.randn(2, 3, 64, 32)
    with torch.no_grad():
        torch.testing.assert_close(backbone(images), backbone.trunk(images))
        assert not torch.allclose(backbone(images, torch.ones(2, 1, 32)), backbone(images))


def test_rotary_table_is_the_official_one(golden: Path):
    with np.load(golden / "differ/model_tiny.npz", allow_pickle=False) as arrays:
        tiny, full = (torch.from_numpy(arrays[key]) for key in ("rope_official", "rope_224_full"))
    torch.testing.assert_close(tiny_eva().trunk.rope.get_embed(), tiny, rtol=1e-6, atol=1e-6)
    wide = tiny_eva((224, 224), embed_dim=128, num_heads=2, depth=1)
    torch.testing.assert_close(wide.trunk.rope.get_embed(), full, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_last_stride_1_doubles_the_map_without_dilation(name):
    maps = {}
    for stride in (1, 2):
        trunk = build_backbone(name, image_size=(64, 32), pretrained=False, last_stride=stride).trunk
        assert all(m.dilation == (1, 1) for m in trunk.modules() if isinstance(m, torch.nn.Conv2d))
        maps[stride] = tuple(trunk.forward_features(torch.randn(1, 3, 64, 32)).shape[2:])
    assert maps == {1: (4, 2), 2: (2, 1)}


def test_random_weights_are_announced_unless_they_are_meant(caplog):
    with caplog.at_level(logging.WARNING, "ccreid"):
        build_backbone("eva02_clip_tiny", image_size=(56, 56), pretrained=False, depth=1)
        assert not caplog.records
        build_backbone("eva02_clip_tiny", image_size=(56, 56), depth=1)
    assert "random weights" in caplog.text
    config = BackboneConfig(weights_file=Path("x"), pretrained=True).for_checkpoint()
    assert (config.weights_file, config.pretrained) == (None, False)


# --- refused names, options and sizes ---


def test_a_size_that_would_be_cropped_is_refused_with_the_nearest_ones():
    with pytest.raises(UsageError, match=r"use 252×126 or 266×140, or method\.pad_images=true"):
        tiny_eva((256, 128))


@pytest.mark.parametrize(
    ("name", "size", "nearest"),
    [
        ("mixer_s32_224", (64, 48), "64×32 or 64×64"),
        ("gmixer_12_224", (63, 47), "48×32 or 64×48"),
        ("sequencer2d_s", (63, 47), "63×42 or 63×49"),
        ("convnext_atto", (63, 47), "60×44 or 64×48"),
    ],
)
def test_so_it_is_of_models_that_are_no_transformers(name, size, nearest):
    """They cut the image into patches as well, and would leave out what is over at the right and below."""
    with torch.device("meta"), pytest.raises(UsageError, match=f"use {nearest}\\."):
        build_backbone(name, image_size=size, pretrained=False)


def test_a_model_that_resizes_one_of_its_inputs_is_refused_where_that_would_be_cropped():
    """CrossViT's second branch sees the image at 14/15 of its size: at 288×288, 268 pixels in patches of 16."""
    with torch.device("meta"):
        build_backbone("crossvit_tiny_240", image_size=(240, 240), pretrained=False)
        with pytest.raises(UsageError, match="is built for images of 240×240 and does not take 288×288"):
            build_backbone("crossvit_tiny_240", image_size=(288, 288), pretrained=False)


@pytest.mark.parametrize("name", ["resnet18", "pvt_v2_b0", "efficientnet_b0"])
def test_networks_whose_convolutions_are_padded_take_any_size(name):
    with torch.device("meta"):
        build_backbone(name, image_size=(63, 47), pretrained=False)


def test_padding_sees_the_last_pixels_that_cropping_would_drop():
    backbone = tiny_eva((64, 32), pad_images=True).eval()
    images = torch.randn(1, 3, 64, 32)
    changed = images.clone()
    changed[..., -1, -1] += 100
    with torch.no_grad():
        assert not torch.allclose(backbone(images), backbone(changed))


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("resnet51", {}, r"Unknown method\.backbone=resnet51\. Did you mean resnet50\?"),
        ("resnet18.best", {}, r"names weights timm does not know: choose .*resnet18\.tv_in1k"),
        ("resnet18", {"depth": 3}, r"^method\.backbone=resnet18 has no depth to choose: set method\.depth=null\.$"),
        ("resnet18", {"depth": 3, "embed_dim": 8}, r"depth, embed_dim to .* method\.depth=null method\.embed_dim="),
        ("resnet50d", {}, r"method\.last_stride=2"),
    ],
)
def test_impossible_backbones_are_refused(name, options, message):
    with pytest.raises(UsageError, match=message):
        build_backbone(name, image_size=(64, 32), pretrained=False, **options)


def test_weights_that_cannot_be_downloaded_name_the_mend(monkeypatch):
    def offline(*args, **kwargs):
        raise FileNotFoundError("cannot find the requested files in the local cache. Please check")

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(DataError, match=r"cannot be downloaded .*method\.weights_file"):
        build_backbone("resnet18", image_size=(64, 32), pretrained=True)


# --- other families of timm ---


@pytest.mark.parametrize(
    "name",
    [
        "vit_small_patch14_dinov2",
        "vit_small_patch14_reg4_dinov2",
        "vit_small_patch16_dinov3",
        "vit_base_patch16_siglip_224",
        "vit_small_patch16_rope_mixed_224",
    ],
)
def test_token_families_take_upright_images_the_way_timm_does(name: str):
    """Register tokens, rotary tables alone, attention pooling, and a rotary table for every block."""
    size = (56, 28) if "patch14" in name else (64, 32)
    backbone = build_backbone(name, image_size=size, pretrained=False, depth=2).eval()
    images = torch.randn(2, 3, *size)
    with torch.no_grad():
        for parameter in backbone.parameters():
            parameter.normal_(std=0.1)  # class tokens and layer scales start so small that an error would not show
        torch.testing.assert_close(backbone(images), backbone.trunk(images))
    assert backbone(images).shape == (2, backbone.width)


def test_dinov2_weights_for_square_images_serve_upright_ones(tmp_path):
    def dinov2(size: tuple[int, int], file: Path | None = None) -> Backbone:
        name = "vit_small_patch14_reg4_dinov2"
        return build_backbone(name, image_size=size, depth=1, embed_dim=48, num_heads=4, weights_file=file).eval()

    square = dinov2((56, 56))
    torch.save(square.trunk.state_dict(), tmp_path / "weights.pt")
    upright = dinov2((112, 42), tmp_path / "weights.pt")
    assert upright.trunk.pos_embed.shape == (1, 24, 48), "no places for the class token and the registers"
    mean = square.trunk.pos_embed.mean(dim=1)
    torch.testing.assert_close(upright.trunk.pos_embed.mean(dim=1), mean, rtol=0, atol=0.02)
    assert torch.equal(upright.trunk.reg_token, square.trunk.reg_token)


def test_the_width_is_that_of_the_feature_where_the_head_has_a_layer_of_its_own():
    backbone = build_backbone("mobilenetv3_small_050", image_size=(64, 32), pretrained=False).eval()
    assert backbone(torch.randn(1, 3, 64, 32)).shape == (1, backbone.width)


def test_a_model_for_one_size_takes_another_or_says_that_it_does_not():
    swin = build_backbone("swin_tiny_patch4_window7_224", image_size=(64, 32), pretrained=False, depths=(1, 1, 1, 1))
    assert swin.eval()(torch.randn(1, 3, 64, 32)).shape == (1, swin.width)
    with pytest.raises(UsageError, match=r"patches of 4×4 pixels: use 60×32 or 64×32\.$"):
        build_backbone("swin_tiny_patch4_window7_224", image_size=(62, 32), pretrained=False)
    with pytest.raises(UsageError, match=r"built for images of 224×224 and does not take 64×32: set image\.height=224"):
        build_backbone("efficientformer_l1", image_size=(64, 32), pretrained=False)


def test_maps_are_those_that_the_network_pools():
    resnet = build_backbone("resnet_tiny", image_size=(64, 32), pretrained=False).eval()
    images = torch.randn(2, 3, 64, 32)
    with torch.no_grad():
        torch.testing.assert_close(resnet.feature_maps(images).mean(dim=(2, 3)), resnet(images))
    with pytest.raises(UsageError, match="A transformer ends in tokens"):
        tiny_eva().feature_maps(images)


# --- image towers of open_clip ---

TINY_CLIP = {
    "embed_dim": 24,
    "vision_cfg": {"image_size": 64, "patch_size": 16, "width": 64, "layers": 2, "head_width": 16},
    "text_cfg": {"context_length": 4, "vocab_size": 8, "width": 16, "heads": 2, "layers": 1},
}
"""An open_clip model of its own kind; the one below takes its image tower from timm."""
TINY_TIMM_CLIP = TINY_CLIP | {
    "vision_cfg": {
        "timm_model_name": "vit_tiny_patch16_224",
        "timm_pool": "token",
        "timm_proj": None,
        "image_size": 224,
    },
    "custom_text": True,
}


@pytest.fixture
def clips(monkeypatch):
    """open_clip, knowing these two."""
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "tiny", TINY_CLIP)
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "tiny-quickgelu", TINY_CLIP | {"quick_gelu": True})
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "tiny-timm", TINY_TIMM_CLIP)


def saved_clip(name: str, file: Path) -> Path:
    """Weights of the whole model, image and text, as open_clip saves them."""
    torch.manual_seed(2)
    torch.save(open_clip.create_model(name).state_dict(), file)
    return file


@pytest.mark.parametrize("name", ["tiny", "tiny-quickgelu"])
def test_open_clips_own_tower_gives_what_open_clip_pools_on_upright_images(name, clips, tmp_path):
    """Weights for 64×64; the resize of the positions to 128×32 is compared with open_clip's own."""
    file = saved_clip(name, tmp_path / "clip.pt")
    size = (128, 48)
    tower = build_backbone(f"open_clip:{name}", image_size=size, weights_file=file).eval()
    reference = open_clip.create_model(name, pretrained=str(file), force_image_size=size).visual.eval()
    reference.proj = None
    images = torch.randn(2, 3, *size)
    with torch.no_grad():
        torch.testing.assert_close(tower(images), reference(images), rtol=1e-5, atol=1e-5)
        assert torch.equal(tower(images, torch.zeros(2, 1, 64)), tower(images))
        assert not torch.allclose(tower(images, torch.ones(2, 1, 64)), tower(images))
    assert tower(images).shape == (2, tower.width) == (2, 64), "the trunk's feature, not the 24 numbers beside the text"
    assert not any("token_embedding" in key or key == "proj" for key in tower.trunk.state_dict())


def test_as_many_patches_in_another_grid_are_resized_too(clips, tmp_path):
    """4×4 positions are not those of 8×2: open_clip itself would take them over in reading order."""
    file = saved_clip("tiny", tmp_path / "clip.pt")
    square = build_backbone("open_clip:tiny", image_size=(64, 64), weights_file=file)
    upright = build_backbone("open_clip:tiny", image_size=(128, 32), weights_file=file)
    same = [torch.equal(*(one.trunk.positional_embedding[row] for one in (square, upright))) for row in range(17)]
    assert same == [True] + [False] * 16


def test_a_tower_that_open_clip_takes_from_timm_is_timms(clips, tmp_path):
    file = saved_clip("tiny-timm", tmp_path / "clip.pt")
    tower = build_backbone("open_clip:tiny-timm", image_size=(64, 32), weights_file=file).eval()
    reference = open_clip.create_model("tiny-timm", pretrained=str(file), force_image_size=(64, 32)).visual.trunk.eval()
    images = torch.randn(2, 3, 64, 32)
    with torch.no_grad():
        expected = reference.forward_head(reference.forward_features(images), pre_logits=True)
        torch.testing.assert_close(tower(images), expected, rtol=1e-4, atol=1e-4)
    assert tower.takes_tokens


def test_open_clips_towers_refuse_or_pad_what_they_would_crop(clips):
    with pytest.raises(
        UsageError, match=r"patches of 14×14 pixels: use 252×126 or 266×140, or method\.pad_images=true"
    ):
        build_backbone("open_clip:ViT-L-14", image_size=(256, 128), pretrained=False)
    tower = build_backbone("open_clip:tiny", image_size=(60, 30), pretrained=False, pad_images=True).eval()
    images = torch.randn(1, 3, 60, 30)
    changed = images.clone()
    changed[..., -1, -1] += 100
    with torch.no_grad():
        assert not torch.allclose(tower(images), tower(changed))


def test_the_options_of_transformers_make_open_clips_small(clips):
    config = BackboneConfig(
        backbone="open_clip:ViT-B-16", pretrained=False, patch_size=8, embed_dim=32, depth=1, num_heads=2
    )
    tower = config.build(64, 32)
    assert (tower.width, len(tower.trunk.transformer.resblocks), tower.trunk.grid_size) == (32, 1, (8, 4))
    tower.trunk.ln_post.weight.data.fill_(3.0)
    tower.reset_final_norm()
    assert torch.equal(tower.trunk.ln_post.weight, torch.ones(32))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("ViT-B-61", r"open_clip has no model ViT-B-61\. Did you mean ViT-B-16\?"),
        ("ViT-B-16", r"does not say which weights: Write open_clip:ViT-B-16\.TAG with one of openai, laion400m_e31"),
        ("ViT-B-16.openay", r"does not say which weights: Did you mean openai\?"),
        ("ViT-B-16.openai", r"another activation .*: write method\.backbone=open_clip:ViT-B-16-quickgelu\.openai"),
        ("ViT-S-16", r"Nobody published weights of open_clip:ViT-S-16"),
        ("RN50.cc12m", r"method\.backbone=resnet50_clip_gap\.openai"),
    ],
)
def test_impossible_towers_are_refused(name: str, message: str, monkeypatch):
    monkeypatch.setattr(open_clip, "download_pretrained", lambda *_: pytest.fail("nothing should be fetched"))
    with pytest.raises(UsageError, match=message):
        build_backbone(f"open_clip:{name}", image_size=(64, 32), pretrained=True)


def test_published_weights_are_fetched_and_loaded(clips, tmp_path, monkeypatch):
    file = saved_clip("tiny", tmp_path / "clip.pt")
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, "tiny", {"mine": {"file": str(file)}})
    tower = build_backbone("open_clip:tiny.mine", image_size=(64, 64), pretrained=True)
    assert torch.equal(tower.trunk.conv1.weight, torch.load(file, weights_only=True)["visual.conv1.weight"])

    def offline(*_):
        raise FileNotFoundError("Failed to download file. Last error: offline")

    monkeypatch.setattr(open_clip, "download_pretrained", offline)
    with pytest.raises(DataError, match=r"open_clip:tiny\.mine cannot be downloaded .*method\.weights_file"):
        build_backbone("open_clip:tiny.mine", image_size=(64, 64), pretrained=True)


# --- weight files ---


def eva_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The names of EVA's own code, with a text tower beside the image tower."""
    renamed = {"text.positional_embedding": torch.zeros(2), "visual.rope.freqs_cos": torch.zeros(2)}
    for key, value in state.items():
        for ours, theirs in (
            (".mlp.fc1_g.", ".mlp.w1."),
            (".mlp.fc1_x.", ".mlp.w2."),
            (".mlp.fc2.", ".mlp.w3."),
            (".mlp.norm.", ".mlp.ffn_ln."),
            (".attn.norm.", ".attn.inner_attn_ln."),
            (".q_proj.bias", ".q_bias"),
            (".v_proj.bias", ".v_bias"),
        ):
            key = key.replace(ours, theirs)
        renamed[f"visual.{key}"] = value
    return renamed


def differ_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A released DIFFER checkpoint of three blocks."""
    renamed = {"module.head.weight": torch.zeros(9, 64), "module.camera_embed": torch.zeros(2, 1, 64)}
    for key, value in state.items():
        key = key.replace("blocks.2.", "head_bio.")
        renamed["module." + ("norm_bio." + key[5:] if key.startswith("norm.") else key)] = value
    return renamed


LAYOUTS = {
    "timm": lambda state: state | {"head.weight": torch.zeros(768, 64)},
    "open_clip": lambda state: {f"visual.trunk.{k}": v for k, v in state.items()} | {"logit_scale": torch.ones(())},
    "eva": eva_names,
    "differ": differ_names,
    "ours": lambda state: {f"backbone.trunk.{k}": v for k, v in state.items()} | {"heads.identity.bias": torch.ones(2)},
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_known_layout_loads_completely(tmp_path, layout):
    torch.manual_seed(1)
    source = tiny_eva()
    state = LAYOUTS[layout](source.trunk.state_dict())
    torch.save({"state_dict": state, "epoch": 3}, tmp_path / "weights.pt")
    assert same(tiny_eva(weights_file=tmp_path / "weights.pt"), source)


def test_safetensors_load_and_half_precision_becomes_float32(tmp_path):
    source = tiny_eva()
    state = {key: value.half() for key, value in source.trunk.state_dict().items()}
    save_file(state, tmp_path / "weights.safetensors")
    loaded = tiny_eva(weights_file=tmp_path / "weights.safetensors").trunk.state_dict()
    assert all(torch.equal(loaded[key], state[key].float()) for key in loaded)


def test_torchvision_resnet_loads_without_its_classifier(tmp_path, caplog):
    from torchvision.models import resnet18

    reference = resnet18(weights=None).eval()
    torch.save(reference.state_dict(), tmp_path / "resnet18.pth")
    with caplog.at_level(logging.INFO, "ccreid"):
        backbone = build_backbone(
            "resnet18", image_size=(64, 32), weights_file=tmp_path / "resnet18.pth", last_stride=2
        ).eval()
    assert "not used: fc.bias, fc.weight" in caplog.text
    reference.fc = torch.nn.Identity()
    images = torch.randn(2, 3, 64, 32)
    with torch.no_grad():
        torch.testing.assert_close(backbone(images), reference(images), rtol=1e-5, atol=1e-5)


def test_positional_embedding_is_resized_as_the_official_loader_does(golden: Path, tmp_path):
    with np.load(golden / "differ/posembed_resize.npz", allow_pickle=False) as arrays:
        source, target = torch.from_numpy(arrays["src"]), torch.from_numpy(arrays["dst"])
    state = tiny_eva().trunk.state_dict() | {"pos_embed": source}
    torch.save(state, tmp_path / "weights.pt")
    loaded = tiny_eva(weights_file=tmp_path / "weights.pt").trunk.pos_embed
    torch.testing.assert_close(loaded.detach(), target, rtol=1e-6, atol=1e-6)
    assert tiny_eva((112, 56), weights_file=tmp_path / "weights.pt").trunk.pos_embed.shape == (1, 33, 64)


def test_a_table_of_no_square_grid_loads_where_it_fits(tmp_path):
    """Weights of our own for 112×42 pixels (8×3 patches) go into a model for the same size."""
    source = tiny_eva((112, 42))
    torch.save(source.trunk.state_dict(), tmp_path / "weights.pt")
    assert same(tiny_eva((112, 42), weights_file=tmp_path / "weights.pt"), source)
    with pytest.raises(DataError, match="pos_embed is 1×25×64 there, 1×17×64 in the model"):
        tiny_eva(weights_file=tmp_path / "weights.pt")


def test_a_missing_final_norm_is_said_and_stays_at_its_start(tmp_path, caplog):
    state = {key: value for key, value in tiny_eva().trunk.state_dict().items() if not key.startswith("norm.")}
    torch.save(state, tmp_path / "weights.pt")
    with caplog.at_level(logging.WARNING, "ccreid"):
        norm = tiny_eva(weights_file=tmp_path / "weights.pt").trunk.norm
    assert "does not hold norm.bias, norm.weight" in caplog.text
    assert torch.equal(norm.weight, torch.ones(64))


def test_weights_of_another_architecture_are_refused_with_examples(tmp_path):
    torch.save(tiny_eva(embed_dim=32).trunk.state_dict(), tmp_path / "narrow.pt")
    with pytest.raises(DataError, match=r"another architecture than eva02_clip_tiny: 0 of 69 tensors fit \(cls_token"):
        tiny_eva(weights_file=tmp_path / "narrow.pt")
    torch.save(tiny_eva(depth=2).trunk.state_dict(), tmp_path / "shallow.pt")
    with pytest.raises(DataError, match=r"blocks\.2\.norm1\.weight is not there"):
        tiny_eva(weights_file=tmp_path / "shallow.pt")


class Code:
    """Runs when it is unpickled."""

    def __reduce__(self):
        return (exec, ("raise SystemExit('unpickled')",))


def test_a_file_with_code_is_refused_and_not_run(tmp_path):
    torch.save({"state_dict": tiny_eva().trunk.state_dict(), "args": Code()}, tmp_path / "weights.pt")
    (tmp_path / "plain.pkl").write_bytes(pickle.dumps({"weights": Code()}, protocol=2))
    for name in ("weights.pt", "plain.pkl"):
        with pytest.raises(DataError, match=r"not unpickled.*\.safetensors"):
            tiny_eva(weights_file=tmp_path / name)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none.pt", None, "does not exist"),
        ("empty.pt", b"", "is empty: download it again"),
        ("empty.safetensors", b"", "is empty: download it again"),
        ("passwd", b"root:x:0:0:root:/root:/bin/bash\n", "neither a PyTorch file .* 'root:x:0:0:root:'"),
        ("hello.pt", b"hello world, not weights\n", "neither a PyTorch file"),
        ("page.pt", b"<!DOCTYPE html><html>", "begins with '<!DOCTYPE html>"),
        ("noise.pt", bytes(range(1, 200)), "by its first bytes"),
        ("cut_pickle.pt", b"\x80\x02h\x65", "not a readable weights file"),
        ("cut.safetensors", b"\x08\0\0\0\0\0\0\0{}", "not a readable weights file"),
        ("cut.pt", b"PK\x03\x04 half a zip", "not a readable weights file"),
    ],
)
def test_unreadable_files_are_named(tmp_path, name, content, message):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=f"{name}.*{message}"):
        tiny_eva(weights_file=tmp_path / name)


def test_a_folder_is_not_taken_for_a_file(tmp_path):
    with pytest.raises(DataError, match=r"is a folder: name the weights file in it by method\.weights_file"):
        tiny_eva(weights_file=tmp_path)


def test_a_file_without_tensors_is_no_state_dict(tmp_path):
    torch.save({"epoch": 3}, tmp_path / "weights.pt")
    with pytest.raises(DataError, match="holds no state dict"):
        tiny_eva(weights_file=tmp_path / "weights.pt")
