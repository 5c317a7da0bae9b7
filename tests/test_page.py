"""Pages stand alone, say everything, let nothing of a run become markup, and are the same bytes every time."""

import base64
import hashlib
import io
import json
import re
import shlex
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from benchmarks.comparison import rows_of
from benchmarks.records import RunFolder
from benchmarks.resolve import resolve
from benchmarks.run_states import DAMAGED
from benchmarks.spec import to_plain
from benchmarks.words import parse_words, read_value
from reports.overview_page import table_sections, write_overview
from reports.page import WIDEST, Gallery, Shown, anchor, duration, shown
from reports.reproduction import CHOSEN, RECIPE, command, settings
from reports.run_facts import read_run, without_machine_paths
from reports.run_page import RunPage, page_name
from reports.tables import ablation_tables, result_tables
from tests.evidence_runs import NASTY, write_run

LONG = "x" * 300
REASON = f"DataError: {NASTY}"


def drawing(seed: int = 0, width: int = 600) -> Image.Image:
    """Noise, so that a lossy copy would be seen."""
    pixels = np.random.default_rng(seed).integers(0, 256, (200, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a report on three methods, one of a hostile name, a failed run, a new one and a damaged one."""
    return written(tmp_path_factory.mktemp("pages"))


def written(tmp_path: Path) -> Path:
    """The run folders, made once, and their pages, made each time."""
    root, out = tmp_path / "runs", tmp_path / "report"
    if not root.exists():
        for method in ("baseline", "differ", f"{NASTY}{LONG}"):
            for seed in (0, 1):
                write_run(root, method, seed=seed, mean=0.4, people=8)
        write_run(root, "cal", state="failed").set_status("failed", reason=f"{REASON} in {tmp_path}/secret/file")
        write_run(root, "ifd", state="new")
        (write_run(root, "fire").path / "metrics.jsonl").write_text('{"event": "scores"\n{}\n')
    runs = [read_run(RunFolder(folder)) for folder in sorted(root.iterdir())]
    rows = rows_of([facts.run for facts in runs if facts.state != DAMAGED])
    pictures = [shown(f"{NASTY} {number}", f"{NASTY} {LONG}", drawing(number)) for number in range(3)]
    galleries = [Gallery(f"Gallery {NASTY}", tuple(pictures), NASTY)]
    sections = table_sections(result_tables(rows), ablation_tables(rows))
    write_overview(out / "index.html", runs, sections, galleries, galleries, [f"{REASON} {tmp_path}/x/y"], [NASTY])
    for facts in runs:
        RunPage(facts, tuple(galleries), tuple(galleries), None, (NASTY,)).write(out / "runs")
    return out


class Parsed(HTMLParser):
    """Tags with their attributes, and the text between them."""

    def __init__(self, file: Path):
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(file.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    def attributes(self, name: str) -> list[str]:
        return [value for _, attributes in self.tags if (value := attributes.get(name)) is not None]

    @property
    def text(self) -> str:
        return " ".join("".join(self.words).split())


def every_page(folder: Path) -> list[Path]:
    found = sorted(folder.rglob("*.html"))
    assert len(found) == 10  # the overview and nine runs
    return found


# --- what a page holds ---


def test_the_overview_names_every_run_with_its_state_and_links_to_its_page(pages: Path) -> None:
    page = Parsed(pages / "index.html")
    links = page.attributes("href")
    for folder in (pages.parent / "runs").iterdir():
        assert folder.name in page.text
        assert f"runs/{page_name(read_run(RunFolder(folder)))}" in links
    for state in ("done", "failed", "new", "damaged"):
        assert state in page.text
    assert "It has not been started." in page.text


def test_a_run_page_says_scores_interval_selection_and_what_is_wrong(pages: Path) -> None:
    done = next(file for file in every_page(pages) if re.search(rb"baseline".hex(), file.name))
    text = Parsed(done).text
    for said in ("cloth-changing", "95 %:", "The result is that of the last epoch.", "python run.py", "seed"):
        assert said in text
    failed = next(file for file in every_page(pages) if b"cal".hex() in file.name)
    assert "This run counts in no table" in Parsed(failed).text


def test_nothing_of_a_run_becomes_markup(pages: Path) -> None:
    """One script, ours; the hostile name stands as text, and no attribute was opened by its quotes."""
    for file in every_page(pages):
        page = Parsed(file)
        assert sum(tag == "script" for tag, _ in page.tags) == 1
        assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]
        assert NASTY.split()[2] in page.text  # <script>…: as text
        assert "方法 😀" in page.text


def test_a_page_asks_for_nothing_outside_itself(pages: Path) -> None:
    for file in every_page(pages):
        page = Parsed(file)
        assert all(source.startswith("data:image/webp;base64,") for source in page.attributes("src"))
        for link in page.attributes("href"):
            assert link.startswith(("#", "data:,", "runs/", "../index.html")) or link.endswith(".html"), link
        assert "url(" not in file.read_text(encoding="utf-8")
        assert not {tag for tag, _ in page.tags} & {"iframe", "object", "embed", "form", "base"}


def test_the_policy_names_the_hash_of_the_one_script(pages: Path) -> None:
    text = (pages / "index.html").read_text(encoding="utf-8")
    script = re.search(r"<script>(.*?)</script>", text, re.DOTALL)
    assert script is not None
    digest = base64.b64encode(hashlib.sha256(script[1].encode()).digest()).decode()
    policy = next(content for content in Parsed(pages / "index.html").attributes("content") if "script-src" in content)
    assert f"script-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy


def test_links_between_parts_of_a_page_lead_somewhere(pages: Path) -> None:
    for file in every_page(pages):
        page = Parsed(file)
        names = page.attributes("id")
        assert len(names) == len(set(names)) or "Gallery" in page.text  # the same gallery stands twice in the fixture
        for link in page.attributes("href"):
            assert not link.startswith("#") or link[1:] in names, link


def test_a_page_says_nothing_of_the_machines_disk(pages: Path) -> None:
    for file in every_page(pages):
        assert str(pages.parent) not in file.read_text(encoding="utf-8")


def test_the_same_runs_give_the_same_bytes(pages: Path) -> None:
    before = {file: file.read_bytes() for file in every_page(pages)}
    written(pages.parent)
    assert {file: file.read_bytes() for file in every_page(pages)} == before


def test_again_evaluated_scores_stand_on_the_page(tmp_path: Path) -> None:
    run = write_run(tmp_path / "runs")
    row = {"protocol": "standard", "options": "with flip", "selection": "oracle", "queries": 7}
    row |= dict.fromkeys(("mAP", "R1", "R5", "R10", "mINP"), 0.123)
    options = {"metric": "euclidean", "normalise": True, "rerank": {"method": "none"}, "protocols": ["all"]}
    folder = run.path / "evaluations" / "abc"
    folder.mkdir(parents=True)
    (folder / "scores.json").write_text(json.dumps({"evaluate": options, "scores": [row]}))
    text = Parsed(RunPage(read_run(run)).write(tmp_path / "out")).text
    for said in ("metric=euclidean", "with flip", "oracle †", "12.3", "evaluations/abc"):
        assert said in text
    (folder / "scores.json").write_text("{")
    assert "scores.json is damaged" in Parsed(RunPage(read_run(run)).write(tmp_path / "out")).text


# --- runs that cannot be counted ---


@pytest.mark.parametrize("lost", ["data.json", "metrics.jsonl", "spec.yaml", "splits/query.npz", "rankings"])
def test_a_damaged_run_is_described_and_not_raised(tmp_path: Path, lost: str) -> None:
    """Whatever file is gone or cut off: the state is «damaged», the reason names the file, and the page is written."""
    run = write_run(tmp_path)
    target = run.path / lost
    file = sorted(target.iterdir())[0] if target.is_dir() else target
    file.write_bytes(b"\x00{")
    facts = read_run(run)
    assert (facts.state, facts.counts) == (DAMAGED, False)
    assert file.name in facts.reason
    page = Parsed(RunPage(facts).write(tmp_path / "out"))
    assert file.name in page.text
    assert str(tmp_path) not in page.text


# --- how to reproduce ---

WORDS = [
    "method=differ",
    "dataset=synthetic",
    "seed=7",
    "image.mean=[0.5,0.25,1e-05]",
    "optimiser.lr=3.3e-05",
    "method.patch_size=none",
    "method.weights.triplet=0.123456789",
    "evaluate.protocols=standard,cloth-changing",
    "evaluate.flip=true",
    "method.weights_file=/some folder/it's.bin",
]


def stored(tmp_path: Path, words: list[str]) -> RunFolder:
    """A run's folder as `describe` would begin it."""
    spec = resolve({key: read_value(key, word) for key, word in parse_words(words).items()}).spec
    run = RunFolder(tmp_path / spec.run_id)
    run.path.mkdir(parents=True)
    (run.path / "spec.yaml").write_text(yaml.safe_dump(to_plain(spec), allow_unicode=True))
    (run.path / "environment.json").write_text(json.dumps([{"commit": "0123abcd"}]))
    return run


def test_the_command_on_the_page_makes_the_same_run(tmp_path: Path) -> None:
    run = stored(tmp_path, WORDS)
    said = command(run, settings(run.spec()))
    words = shlex.split(said.text)[2:]
    assert resolve({key: read_value(key, word) for key, word in parse_words(words).items()}).spec.run_id == run.run_id
    assert {word.partition("=")[0] for word in words} == {
        *(word.partition("=")[0] for word in WORDS if "patch_size" not in word)  # none is what it is anyway
    }
    assert (said.commit, said.remark) == ("0123abcd", "")


def test_each_value_says_where_it_came_from(tmp_path: Path) -> None:
    found = {setting.key: setting for setting in settings(stored(tmp_path, WORDS).spec())}
    assert found["optimiser.lr"].origin == CHOSEN
    assert found["image.height"].origin == RECIPE
    assert found["image.std"].origin == "default"
    assert "Pixels" in found["image.height"].doc


def test_a_command_that_gives_another_run_today_is_not_passed_off_as_the_same(tmp_path: Path) -> None:
    """As after a change of a default: the page says what the words would make now."""
    run = stored(tmp_path, ["method=baseline", "dataset=synthetic"])
    other = RunFolder(run.path.rename(tmp_path / "synthetic-baseline-ffffffff-s0"))
    assert f"calls the result {run.run_id}" in command(other, settings(other.spec())).remark


def test_a_configuration_of_an_unknown_method_is_shown_without_defaults() -> None:
    found = settings({"method": {"name": "mine", "width": 3}, "dataset": {"name": "synthetic"}, "seed": 0})
    assert [(one.key, one.usual) for one in found if one.key == "method.width"] == [("method.width", None)]


# --- small parts ---


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("data=/home/me/data runs=/tmp/x/runs", "data=…/data runs=…/runs"),
        ("/tmp/a/b.json is missing: restore it", "…/b.json is missing: restore it"),
        ("see https://example.org/a/b and a/b/c", "see https://example.org/a/b and a/b/c"),
        (r"C:\Users\me\x.pt", "…/x.pt"),
        ("[Errno 2] '/a/b/c'", "[Errno 2] '…/c'"),
    ],
)
def test_paths_of_the_machine_are_cut_to_their_last_part(text: str, safe: str) -> None:
    assert without_machine_paths(text) == safe


def test_a_figure_inside_a_page_has_the_pixels_of_its_file(tmp_path: Path) -> None:
    image = drawing()
    image.save(tmp_path / "figure.png")
    picture = shown("a", "b", tmp_path / "figure.png")
    with Image.open(io.BytesIO(base64.b64decode(picture.uri.partition(",")[2]))) as back:
        assert np.array_equal(np.asarray(back.convert("RGB")), np.asarray(image))


def test_a_huge_picture_is_scaled_down() -> None:
    picture = shown("a", "b", drawing(width=2 * WIDEST), photographs=True)
    assert (picture.width, picture.height, picture.broad) == (WIDEST, 100, True)


def test_names_of_places_and_pages_are_plain_and_differ() -> None:
    names = ["Figures", NASTY, f"{NASTY}!", "方法", "方式", LONG, f"{LONG}y", ""]
    places = [anchor(name) for name in names]
    assert len(set(places)) == len(names)
    assert all(re.fullmatch(r"[a-z0-9-]{1,80}", place) for place in places)
    files = [page_name(read_run(RunFolder(Path(name)))) for name in ("ltcc-cal-1-s0", f"{LONG[:250]}", "a b", "方法")]
    assert files[0] == "ltcc-cal-1-s0.html"
    assert len(set(files)) == 4
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{1,150}\.html", file) for file in files)


def test_durations_read_well() -> None:
    assert [duration(seconds) for seconds in (48.2, 200, 3900)] == ["48 s", "3 min 20 s", "1 h 05 min"]


def test_narrow_pictures_come_first_so_that_broad_ones_leave_no_holes() -> None:
    broad, narrow = Shown("b", "", "", 2000, 10), Shown("n", "", "", 1000, 10)
    assert [picture.title for picture in Gallery("", (broad, narrow)).ordered] == ["n", "b"]
