"""Caption features: the join with the images, the files in DIFFER's layout, the text encoders, what is refused."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from datasets.base import ReIDDataset, Samples
from datasets.captions import ASPECTS, CaptionConfig, caption_features, encode_texts, save_caption_features
from datasets.errors import DataError, UsageError
from datasets.ltcc import LTCC


class Named(ReIDDataset):
    """A dataset that is a list of paths; `parts` of the path's end make the caption key."""

    name = "named"
    splits = ("train",)
    parts = 1

    def split(self, name):
        raise NotImplementedError

    def protocols(self):
        return ()

    def caption_key(self, path):
        return "/".join(Path(path).with_suffix("").parts[-self.parts :])


class Described(Named):
    """Has sentences of its own."""

    def caption_texts(self, samples):
        return [tuple(f"{aspect} of person {person}" for aspect in ASPECTS) for person in samples.person.tolist()]


def samples_of(paths, persons=None) -> Samples:
    persons = np.arange(len(paths)) if persons is None else np.array(persons)
    return Samples(tuple(paths), persons, np.zeros(len(paths), np.int64), np.full(len(paths), -1))


@pytest.fixture
def stored(tmp_path) -> tuple[Path, np.ndarray]:
    """A caption folder for images a, b, c, stored in another order, with summaries of persons 3 and 12."""
    features = np.random.default_rng(0).standard_normal((3, 6, 5)).astype(np.float32)
    summaries = {"3": ("tall", features[0, 0] + 1), "012": ("short", features[0, 0] + 2)}
    save_caption_features(tmp_path, "model-v1", ["c", "a", "b"], features, summaries)
    return tmp_path, features


def read(folder, paths=("x/a.jpg", "x/b.jpg", "x/c.jpg"), persons=(3, 3, 12), dataset=Named, **config):
    config = CaptionConfig(**{"text_model": "model"} | config)
    return caption_features(dataset(Path("unused")), samples_of(paths, persons), config, folder)


def test_ltcc_join_equals_differ(golden, tmp_path):
    """Rows of images and of features as DIFFER's dataset class joined them."""
    facts = json.loads((golden / "differ/data_facts.json").read_text())["ltcc"]
    with np.load(golden / "differ/text_join.npz", allow_pickle=False) as arrays:
        data, keys, expected = arrays["ltcc_data"], arrays["ltcc_keys"].tolist(), arrays["ltcc_caption"]
    (tmp_path / "LTCC_ReID/train").mkdir(parents=True)
    for fact in facts:
        Image.new("RGB", (8, 16)).save(tmp_path / "LTCC_ReID/train" / fact["path"])
    save_caption_features(tmp_path / "captions", "EVA02-CLIP-B-16-x", keys, data.reshape(len(keys), -1, data.shape[1]))

    dataset = LTCC(tmp_path)
    samples = dataset.split("train")
    joined = caption_features(dataset, samples, CaptionConfig(text_model="EVA02-CLIP-B-16"), tmp_path / "captions")
    assert [Path(path).name for path in samples.paths] == [fact["path"] for fact in facts]
    assert samples.camera.tolist() == [fact["camid"] for fact in facts]
    for column, name in ((samples.person, "pid"), (samples.clothes, "clothes")):
        assert np.unique(column, return_inverse=True)[1].tolist() == [fact[name] for fact in facts]
    assert joined.rows.tolist() == list(range(len(samples)))
    np.testing.assert_array_equal(joined.features[:, [0, 1, 2]], expected)


@pytest.mark.parametrize(("name", "parts", "aspects"), [("prcc", 2, [1]), ("celeb", 1, [0, 2])])
def test_join_by_other_keys_equals_differ(golden, tmp_path, name, parts, aspects):
    """PRCC's keys have a folder, Celeb-reID's are numbers; paths sorted as text, as DIFFER lists them."""
    with np.load(golden / "differ/text_join.npz", allow_pickle=False) as arrays:
        data, keys, expected = (arrays[f"{name}_{column}"] for column in ("data", "keys", "caption"))
    save_caption_features(tmp_path, "model", keys.tolist(), data.reshape(len(keys), -1, data.shape[1]))
    dataset = Named(Path("unused"))
    dataset.parts = parts
    paths = sorted(f"train/{key}.jpg" for key in keys)
    joined = caption_features(dataset, samples_of(paths), CaptionConfig(text_model="model"), tmp_path)
    np.testing.assert_array_equal(joined.features[:, aspects], expected[:, -len(aspects) :])


def test_files_have_differs_layout(stored):
    """`data` [N*F, D] with the F rows of an image together, string `metadata`, summaries as lists of one vector."""
    folder, features = stored
    with np.load(folder / "model-v1/train.npz", allow_pickle=False) as archive:
        np.testing.assert_array_equal(archive["data"], features.reshape(18, 5))
        assert archive["metadata"].tolist() == ["c", "a", "b"]
    summaries = json.loads((folder / "train_caption_summary_biometric.json").read_text())
    assert summaries["3"]["text"] == "tall"
    np.testing.assert_array_equal(np.float32(summaries["3"]["ft_model-v1"]), features[:1, 0] + 1)


def test_summaries_of_another_model_stay(stored):
    folder, features = stored
    save_caption_features(folder, "other", ["a"], features[:1], {"3": ("tall", features[1, 1])})
    summary = read(folder, summary=True).summary
    np.testing.assert_array_equal(summary, features[0, 0] + np.float32([[1], [1], [2]]))  # zero-padded key 012 too
    np.testing.assert_array_equal(
        read(folder, ["a.jpg"], [3], text_model="other", summary=True).summary[0], features[1, 1]
    )


def test_features_follow_the_images(stored):
    folder, features = stored
    joined = read(folder)
    np.testing.assert_array_equal(joined.features, features[[1, 2, 0]])
    assert joined.features.dtype == np.float32
    assert joined.summary is None


def test_missing_captions_are_counted_named_and_can_be_dropped(stored):
    folder, features = stored
    paths = ["a.jpg", "q.jpg", "b.jpg", "r.jpg"]
    with pytest.raises(DataError, match=r"2 of 4 images lack a caption .*first: q.jpg, r.jpg.*captions.missing=drop"):
        read(folder, paths, range(4))
    joined = read(folder, paths, range(4), missing="drop")
    assert joined.rows.tolist() == [0, 2]
    np.testing.assert_array_equal(joined.features, features[[1, 2]])
    with pytest.raises(DataError, match=r"2 of 2 images lack a caption .*is this the right file"):
        read(folder, ["q.jpg", "r.jpg"], [3, 3], missing="drop")


def test_identities_without_summary_are_named_and_can_be_dropped(stored):
    folder, features = stored
    with pytest.raises(DataError, match=r"1 of 3 images lack an identity summary .*first: 99"):
        read(folder, persons=(3, 99, 12), summary=True)
    joined = read(folder, persons=(3, 99, 12), summary=True, missing="drop")
    assert joined.rows.tolist() == [0, 2]
    np.testing.assert_array_equal(joined.features, features[[1, 0]])
    assert joined.summary.shape == (2, 5)


def test_folder_is_found_by_exact_name_or_unique_version(stored):
    folder, features = stored
    save_caption_features(folder, "model-v2", ["a", "b", "c"], features + 1)
    with pytest.raises(DataError, match=r"more than once: .*captions.text_model=model-v1\|model-v2"):
        read(folder)
    np.testing.assert_array_equal(read(folder, text_model="model-v2").features, features + 1)
    with pytest.raises(DataError, match=r"mod\*/train.npz is missing: .*captions.text_model=model-v1\|model-v2"):
        read(folder, text_model="mod")


def test_no_caption_folder_or_an_empty_one(tmp_path):
    with pytest.raises(DataError, match="caption_folder=DIR"):
        read(None)
    with pytest.raises(DataError, match="no other text model's either"):
        read(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"captions.text_model=hashing-64"):
        read(None, dataset=Described)


def write_npz(folder: Path, **arrays) -> Path:
    (folder / "model").mkdir()
    np.savez(folder / "model/train.npz", **arrays)
    return folder


@pytest.mark.parametrize(
    ("data", "metadata", "message"),
    [
        (np.zeros((5, 4)), np.array(["a", "b"]), "5 rows for 2 images"),
        (np.zeros(4), np.array(["a", "b"]), r"expected floating-point data \[N\*F, D\]"),
        (np.zeros((2, 4)), np.array([1, 2]), "expected .* unicode metadata"),
        (np.zeros((0, 4)), np.array(["a"]), "0 rows for 1 images"),
        (np.array([[0.0], [1.0], [np.nan], [0.0]]), np.array(["a", "b"]), "NaN or infinite numbers, first for b"),
    ],
)
def test_malformed_arrays_are_refused(tmp_path, data, metadata, message):
    with pytest.raises(DataError, match=message):
        read(write_npz(tmp_path, data=data, metadata=metadata))


def test_pickled_array_is_never_loaded(tmp_path):
    """Unpickling would run code from the file."""

    class Bomb:
        def __reduce__(self):
            return Path.touch, (tmp_path / "exploded",)

    write_npz(tmp_path, data=np.zeros((1, 4)), metadata=np.array([Bomb()], dtype=object))
    with pytest.raises(DataError, match="cannot be read without unpickling"):
        read(tmp_path)
    assert not (tmp_path / "exploded").exists()


def test_file_that_is_no_archive_or_lacks_an_array(tmp_path):
    write_npz(tmp_path, data=np.zeros((1, 4)))
    with pytest.raises(DataError, match="must hold `data` and `metadata`"):
        read(tmp_path)
    for content in (b"", b"PK\x03\x04 cut", b"text"):
        (tmp_path / "model/train.npz").write_bytes(content)
        with pytest.raises(DataError, match="cannot be read"):
            read(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "is missing: set captions.summary=false"),
        ("{", "not valid JSON"),
        ("[1]", "is not"),
        ('{"p3": {"ft_model-v1": [[1, 2]]}}', "is not"),
        ('{"3": {"ft_elsewhere": [[1, 2]]}}', "no features of model-v1: .*elsewhere"),
        ('{"3": {"ft_model-v1": [[1, 2]]}, "12": {"ft_model-v1": [[1]]}}', "different lengths"),
        ('{"3": {"ft_model-v1": [[1, NaN]]}}', "NaN or infinite numbers, first for person 3"),
        ('{"3": {"ft_model-v1": [[1, 2]]}, "12": {"ft_model-v1": [[1, 2]]}}', "length 2 .* length 5"),
    ],
)
def test_malformed_summaries_are_refused(stored, content, message):
    path = stored[0] / "train_caption_summary_biometric.json"
    path.unlink() if content is None else path.write_text(content)
    with pytest.raises(DataError, match=message):
        read(stored[0], summary=True)


def test_repeated_key_is_not_written(tmp_path):
    with pytest.raises(DataError, match="1 image names are repeated"):
        save_caption_features(tmp_path, "model", ["a", "a"], np.zeros((2, 6, 4), np.float32))
    assert not list(tmp_path.rglob("*.npz"))


def test_failed_write_leaves_the_old_file(stored, monkeypatch):
    """A run that reads at the same time, or after a crash, sees whole files only."""
    folder, features = stored

    def fails(file, **arrays):
        file.write(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(np, "savez", fails)
    with pytest.raises(OSError, match="disk full"):
        save_caption_features(folder, "model-v1", ["a", "b", "c"], features)
    assert [path.name for path in (folder / "model-v1").iterdir()] == ["train.npz"]
    assert read(folder).features.shape == (3, 6, 5)


def test_own_sentences_are_encoded_without_files():
    joined = read(None, dataset=Described, text_model="hashing-32")
    assert joined.features.shape == (3, 6, 32)
    np.testing.assert_array_equal(joined.features[0], joined.features[1])  # one person, same sentences
    np.testing.assert_array_equal(joined.features[2, 1], encode_texts("hashing-32", ["hairstyle of person 12"])[0])
    with pytest.raises(DataError, match=r"captions.summary=false"):
        read(None, dataset=Described, text_model="hashing-32", summary=True)


def test_hashing_encoder_is_the_same_on_every_machine():
    """The numbers were computed once; runs on two machines must be comparable."""
    features = encode_texts("hashing-4", ["A tall man with short black hair.", "a red coat", ""])
    assert features.dtype == np.float32
    expected = [[0.20253618, -0.05904449, -0.9772619, 0.02126027], [0.56924444, -0.04058854, 0.5276187, 0.62923115]]
    np.testing.assert_allclose(features, [*expected, [0, 0, 0, 0]], atol=1e-6)


def test_hashing_encoder_places_similar_sentences_near():
    texts = ["a red coat and jeans", "a red coat and trousers", "short black hair"]
    text, near, far = encode_texts("hashing-256", texts)
    assert text @ near > 0.4 > text @ far


def test_unknown_text_model_and_missing_weights_say_what_to_do(tmp_path):
    with pytest.raises(UsageError, match=r"Unknown text model hashing-0: choose hashing-D.*EVA02-CLIP-L-14"):
        encode_texts("hashing-0", ["a"])
    with pytest.raises(DataError, match="EVA02-CLIP-B-16 needs a local weight file, and no file was given"):
        encode_texts("EVA02-CLIP-B-16", ["a"])
    (tmp_path / "weights.pt").write_bytes(b"text")
    with pytest.raises(DataError, match=r"weights.pt does not hold open_clip's weights of EVA02-B-16"):
        encode_texts("EVA02-CLIP-B-16", ["a"], tmp_path / "weights.pt")


@pytest.mark.parametrize("form", ["safetensors", "pt"])
def test_open_clip_tower_equals_the_whole_model(tmp_path, monkeypatch, form):
    """A tiny model of the same kind: its text tower alone, from a weight file, gives what open_clip's model gives."""
    open_clip = pytest.importorskip("open_clip")
    from safetensors.torch import save_file

    size = {"image_size": 32, "layers": 1, "width": 64, "patch_size": 16}
    text = {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2}
    config = {"embed_dim": 24, "vision_cfg": size, "text_cfg": text, "custom_text": True}
    (tmp_path / "tiny-text.json").write_text(json.dumps(config))
    open_clip.add_model_config(tmp_path / "tiny-text.json")
    monkeypatch.setitem(encode_texts.__globals__["OPEN_CLIP_NAMES"], "tiny", "tiny-text")
    torch.manual_seed(0)
    model = open_clip.create_model("tiny-text").eval()
    file = tmp_path / f"weights.{form}"
    save_file(model.state_dict(), file) if form == "safetensors" else torch.save(model.state_dict(), file)

    texts = [f"a person with {colour} hair" for colour in ("black", "brown", "grey")] * 50
    with torch.inference_mode():
        expected = model.encode_text(open_clip.get_tokenizer("tiny-text")(texts)).numpy()
    features = encode_texts("tiny", texts, file)
    np.testing.assert_allclose(features, expected, atol=1e-5)
    assert encode_texts("tiny", [], file).shape == (0, 24)
    assert not np.allclose(features[0], features[1])
