"""Published numbers: every one with a source, under protocols that exist; a defective file is refused by its entry."""

from collections import Counter
from pathlib import Path

import pytest
import yaml

from benchmarks.published import FILE, Published, find, headline, load_published
from datasets import DATASETS
from datasets.errors import DataError
from methods import METHODS

ENTRY = {
    "method": "differ",
    "source": "table 1",
    "certainty": "paper",
    "results": [{"dataset": "ltcc", "protocol": "standard", "R1": 50.0, "mAP": "unknown"}],
}


@pytest.fixture(scope="module")
def entries() -> tuple[Published, ...]:
    return load_published()


def test_datasets_and_protocols_are_those_of_the_adapters(entries: tuple[Published, ...]) -> None:
    """A number under a name that no run uses would never be printed beside ours."""
    named = {(entry.dataset, entry.protocol) for entry in entries}
    for dataset in {dataset for dataset, _ in named}:
        protocols = {protocol.name for protocol in DATASETS.get(dataset)(Path("unused")).protocols()}
        asked = {protocol for of, protocol in named if of == dataset}
        assert asked <= protocols, f"{dataset} has no protocol {asked - protocols}"


def test_every_method_of_ours_has_entries(entries: tuple[Published, ...]) -> None:
    papers = set(METHODS.entries) - {"zeroshot"}  # that one is nobody's: a tower as it is
    assert papers <= {entry.method for entry in entries}


def test_every_number_has_a_source_and_lies_between_0_and_100(entries: tuple[Published, ...]) -> None:
    numbers = [(entry, value) for entry in entries for value in (entry.R1, entry.R5, entry.mAP) if value is not None]
    assert len(numbers) > 150
    for entry, value in numbers:
        assert 1 < value <= 100, f"{entry} holds a fraction, or no percentage"
        assert len(entry.source) > 10
        assert entry.R5 is None or entry.R1 is None or entry.R5 >= entry.R1


def test_no_cell_is_there_twice(entries: tuple[Published, ...]) -> None:
    cells = Counter((entry.method, entry.row, entry.dataset, entry.protocol) for entry in entries)
    assert max(cells.values()) == 1


def test_numbers_that_several_tables_hold_agree(entries: tuple[Published, ...]) -> None:
    """The full method in an ablation table and in the main one; a slip of the pen in one of them would show."""
    full = [entry for entry in entries if entry.row in ("full", "IFD", "masked attributes with 10 % noise")]
    compared = 0
    for entry in full:
        main = headline(entries, entry.method, entry.dataset, entry.protocol)
        assert main is not None
        if main.R1 is not None:
            assert (main.R1, main.mAP) == (entry.R1, entry.mAP)
            compared += 1
    assert compared == 6


def test_a_headline_is_found_and_printed_as_in_the_paper(entries: tuple[Published, ...]) -> None:
    found = headline(entries, "cssc", "ltcc", "cloth-changing")
    assert found is not None
    assert (found.printed("R1"), found.printed("mAP"), found.certainty) == ("43.6", "18.6", "paper")
    assert headline(entries, "cssc", "ltcc", "same-clothes") is None


def test_what_is_not_known_is_printed_as_unknown(entries: tuple[Published, ...]) -> None:
    """Its cell exists, so that a table says so instead of leaving the row out."""
    found = headline(entries, "differ", "ltcc", "standard")
    assert found is not None
    assert (found.printed("R1"), found.printed("mAP"), found.printed("R5")) == ("unknown", "unknown", "unknown")


def test_what_is_quoted_from_memory_is_marked(entries: tuple[Published, ...]) -> None:
    marked = {entry.dataset for entry in find(entries, method="cal") if entry.certainty == "memory"}
    assert marked == {"vc_clothes", "ccvid", "last", "deepchange"}


def test_find_narrows_by_each_key(entries: tuple[Published, ...]) -> None:
    rows = find(entries, method="ifd", dataset="prcc", protocol="cloth-changing")
    assert [entry.row for entry in rows] == [None, "baseline", "w/ IKT", "w/ CBD", "IFD w/ CL", "IFD"]
    assert {entry.method for entry in find(entries, dataset="last")} == {"made", "fire", "cal"}
    assert len(find(entries)) == len(entries)
    assert not find(entries, method="nobody")


def changed(**results: object) -> list[dict]:
    return [ENTRY | {"results": [ENTRY["results"][0] | results]}]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (changed(R1=100.5), r"entry 0.results.0.R1.*less than or equal to 100"),
        (changed(mAP=-1), r"0.results.0.mAP.*greater than or equal to 0"),
        (changed(R1="58.2"), r"0.results.0.R1.*valid number"),
        (changed(R1=True), r"0.results.0.R1.*valid number"),
        (changed(rank1=3), r"0.results.0.rank1.*not permitted"),
        ([ENTRY, ENTRY | {"source": " "}], r"entry 1.source"),
        ([{key: value for key, value in ENTRY.items() if key != "source"}], r"0.source: Field required"),
        ([ENTRY | {"certainty": "sure"}], r"0.certainty.*'memory' or 'unknown'"),
        ([ENTRY | {"certainty": "unknown"}], r"certainty is unknown exactly where all numbers are"),
        (changed(R1="unknown"), r"certainty is unknown exactly where all numbers are"),
        ([ENTRY | {"results": []}], r"0.results.*at least 1 item"),
        ([{**ENTRY, "results": [{"dataset": "ltcc", "protocol": "standard", "R1": 1}]}], r"mAP: Field required"),
        ([ENTRY, ENTRY], r"two results for differ, ltcc, standard"),
        ("a: [", r"cannot be read"),
        ({"method": "differ"}, r"published.yaml: entry"),
        (None, r"published.yaml: entry"),
    ],
)
def test_a_defective_file_is_refused_by_its_entry(tmp_path: Path, content: object, message: str) -> None:
    file = tmp_path / "published.yaml"
    file.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    with pytest.raises(DataError, match=message):
        load_published(file)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere.yaml cannot be read"):
        load_published(tmp_path / "nowhere.yaml")


def test_the_file_has_no_key_twice() -> None:
    """YAML keeps the last of two equal keys and says nothing."""

    class Refusing(yaml.SafeLoader):
        pass

    def mapping(loader: yaml.SafeLoader, node: yaml.MappingNode) -> dict:
        keys = [key.value for key, _ in node.value]
        assert len(keys) == len(set(keys)), f"line {node.start_mark.line + 1}: {keys}"
        return yaml.SafeLoader.construct_mapping(loader, node, deep=True)

    Refusing.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, mapping)
    assert len(yaml.load(FILE.read_text(encoding="utf-8"), Loader=Refusing)) > 10
