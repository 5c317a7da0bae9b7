"""Tables say what the runs say: which numbers, which marks, whose epoch was chosen how, and what failed."""

import csv
import io
import json
import math
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path

import pytest
from markdown_it import MarkdownIt
from rich.console import Console

from benchmarks.comparison import rows_of
from benchmarks.published import Published, load_published
from benchmarks.records import RunFolder
from benchmarks.resolve import resolve
from benchmarks.spec import to_plain
from benchmarks.statistics import compare, estimate, holm
from benchmarks.suite_plans import plan_suite
from datasets.errors import DataError, UsageError
from reports.tables import (
    Cell,
    Table,
    ablation_tables,
    result_tables,
    suite_table,
    to_console,
    to_csv,
    to_html,
    to_latex,
    to_markdown,
    write_tables,
)
from reports.tables.as_latex import beyond_latin
from reports.tables.captions import tuning_text
from reports.tables.families import families
from reports.tables.table import clean, file_name
from tests.evidence_runs import NASTY, write_run

LONG = "x" * 300


def seeds(root: Path, method: str, mean: float, number: int = 3, **more) -> list[RunFolder]:
    return [write_run(root, method, seed=seed, mean=mean, **more) for seed in range(number)]


def scores(runs: Sequence[RunFolder], published: Sequence[Published] = ()) -> Table:
    return result_tables(rows_of(runs), published)[0]


def cell(table: Table, row: str, title: str, group: str = "") -> Cell:
    column = next(n for n, one in enumerate(table.columns) if (one.title, one.group) == (title, group))
    return next(line[column] for line in table.rows if line[0].text == row)


class Cells(HTMLParser):
    """The texts of a table's cells, row by row, and every tag that was opened."""

    def __init__(self, html: str):
        super().__init__()
        self.rows: list[list[str]] = []
        self.tags: list[str] = []
        self._open = False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
            self._open = True

    def handle_endtag(self, tag: str) -> None:
        self._open = self._open and tag not in ("td", "th")

    def handle_data(self, data: str) -> None:
        if self._open:
            self.rows[-1][-1] += data


# --- numbers ---


def test_cells_hold_what_the_statistics_say(tmp_path: Path) -> None:
    runs = [*seeds(tmp_path, "baseline", 0.4), *seeds(tmp_path, "cal", 0.5), *seeds(tmp_path, "fire", 0.41)]
    table = next(table for table in result_tables(rows_of(runs), ()) if table.name == "ltcc-standard")
    rows = {row.name: row.sample("standard", "mAP") for row in rows_of(runs)}
    found, difference = estimate(rows["cal"]), compare(rows["cal"], rows["baseline"])
    p = holm([difference.p, compare(rows["fire"], rows["baseline"]).p])[0]
    assert cell(table, "cal", "mAP").text == f"{100 * found.mean:.1f} ± {100 * found.deviation:.1f}"
    assert cell(table, "cal", "mAP").value == pytest.approx(100 * found.mean)
    assert cell(table, "cal", "95 %").text == f"{100 * found.low:.1f} … {100 * found.high:.1f}"
    assert cell(table, "cal", "mAP − baseline").text == f"+{100 * difference.difference:.1f}*"
    assert cell(table, "cal", "p (Holm)").text == ("< 0.001" if p < 0.001 else f"{p:.3f}")
    assert cell(table, "cal", "detectable").text == f"{100 * difference.detectable:.1f}"
    assert cell(table, "baseline", "mAP − baseline").text == ""
    line = next(n for n in csv.DictReader(io.StringIO(to_csv(table))) if n["name"] == "cal" and n["metric"] == "mAP")
    assert float(line["mean"]) == 100 * found.mean, "the CSV rounds nothing"
    assert float(line["difference"]) == 100 * difference.difference
    assert (float(line["p"]), float(line["p_holm"])) == (difference.p, p)
    assert (line["reference"], line["seeds"], line["selection"]) == ("baseline", "3", "last")


def test_the_further_scores_are_those_that_the_runs_recorded(tmp_path: Path) -> None:
    runs = seeds(tmp_path, "baseline", 0.4, 2)
    table = next(table for table in result_tables(rows_of(runs), ()) if table.kind == "ranks")
    recorded = [one["mINP"] for run in runs for one in run.scores() if one["protocol"] == "standard"]
    shown = cell(table, "baseline", "mINP", "standard")
    assert shown.value == pytest.approx(100 * sum(recorded) / 2)
    assert "±" in shown.text


def test_one_seed_has_no_spread_and_the_caption_says_what_its_interval_leaves_out(tmp_path: Path) -> None:
    table = scores([write_run(tmp_path)])
    assert "±" not in cell(table, "baseline", "mAP", "standard").text
    assert "over identities alone" in table.caption
    assert not any(one.best for row in table.rows for one in row), "the only row is not the best of anything"


def test_no_row_is_called_different_and_not_different_from_the_best_in_one_line(tmp_path: Path) -> None:
    """Where the best is what differences are to, one comparison has one p: no star beside an underlined score."""
    means = {"cal": 0.600, "fire": 0.560, "ifd": 0.556, "cssc": 0.552, "differ": 0.548, "baseline": 0.544}
    runs = [run for method, mean in means.items() for run in seeds(tmp_path, method, mean)]
    for table in [one for one in result_tables(rows_of(runs), ()) if one.kind == "differences"]:
        assert cell(table, "cal", "mAP").best
        for method in list(means)[1:]:
            starred = cell(table, method, "mAP − cal").text.endswith("*")
            assert cell(table, method, "mAP").close != starred, method


def test_the_best_is_bold_and_what_cannot_be_told_from_it_is_underlined(tmp_path: Path) -> None:
    runs = [*seeds(tmp_path, "cal", 0.60), *seeds(tmp_path, "fire", 0.599), *seeds(tmp_path, "ifd", 0.3)]
    table = scores(runs)
    marks = {name: cell(table, name, "mAP", "standard") for name in ("cal", "fire", "ifd")}
    best, near = ("cal", "fire") if marks["cal"].best else ("fire", "cal")
    assert marks[best].value == max(one.value for one in marks.values() if isinstance(one.value, float))
    assert (marks[best].best, marks[best].close) == (True, False)
    assert (marks[near].best, marks[near].close) == (False, True)
    assert (marks["ifd"].best, marks["ifd"].close) == (False, False)
    assert "Bold" in table.legend("Grey")
    assert "Underlined" in table.legend("Grey")


def test_an_oracle_s_row_neither_wins_nor_is_the_reference(tmp_path: Path) -> None:
    """Though it scores most and comes first; it stays in the table with its †, and the caption says why."""
    runs = [
        *[write_run(tmp_path, "cal", mean=0.9, seed=seed, selection="oracle") for seed in range(3)],
        *seeds(tmp_path, "fire", 0.5),
        *seeds(tmp_path, "ifd", 0.3),
    ]
    every = result_tables(rows_of(runs), ())
    table, differences = every[0], next(one for one in every if one.name == "ltcc-standard")
    assert cell(table, "cal", "selection").text == "oracle †"
    marks = {name: cell(table, name, "mAP", "standard") for name in ("cal", "fire", "ifd")}
    assert [(one.best, one.close) for one in marks.values()] == [(False, False), (True, False), (False, False)]
    assert cell(differences, "cal", "mAP − fire").text.startswith("+")
    for one in (table, differences):
        assert "oracle † is shown, but neither called the highest" in one.caption
        assert any("oracle †" in remark for remark in one.remarks), "also on the terminal"
        assert "Bold: the highest of a column among rows without †." in one.legend("Grey")


def test_where_all_rows_are_an_oracle_s_the_highest_is_marked(tmp_path: Path) -> None:
    runs = [write_run(tmp_path, name, mean=mean, selection="oracle") for name, mean in (("cal", 0.9), ("fire", 0.3))]
    table = scores(runs)
    assert cell(table, "cal", "mAP", "standard").best
    assert "neither called" not in table.caption
    assert "without †" not in table.legend("Grey")


def test_equal_scores_have_no_best(tmp_path: Path) -> None:
    runs = [write_run(tmp_path, name, mean=2.0) for name in ("cal", "fire")]  # every query is clipped to 1
    assert not any(one.best or one.close for row in scores(runs).rows for one in row)


# --- what must not be hidden ---


def test_a_finished_run_that_cannot_be_read_is_counted_as_damaged(tmp_path: Path) -> None:
    """It stands among the unfinished ones, where its status still says done."""
    runs = seeds(tmp_path, "cal", 0.6, 3)
    (runs[2].path / "metrics.jsonl").unlink()
    (table,) = result_tables(rows_of(runs), ())[:1]
    assert "cal: 1 of 3 seeds damaged." in table.caption


def test_failed_runs_are_counted(tmp_path: Path) -> None:
    runs = [*seeds(tmp_path, "cal", 0.6, 2), write_run(tmp_path, "cal", seed=2, state="failed")]
    runs += [write_run(tmp_path, "fire", state="diverged"), write_run(tmp_path, "fire", seed=1, state="running")]
    table = scores(runs)
    assert cell(table, "cal", "seeds").text == "2 of 3"
    assert "cal: 1 of 3 seeds failed." in table.caption
    assert "fire: 1 of 2 seeds diverged, 1 of 2 seeds still running." in table.caption
    assert [one.text for one in table.rows[1][1:]] == ["–", "0 of 2", *["–"] * 4]
    assert table.remarks
    assert table.remarks[0] in table.caption
    for text in (to_markdown(table), to_html(table), to_latex(table), printed(table)):
        assert "2 of 3" in text
        assert "1 of 3 seeds failed" in " ".join(text.split())
    unfinished = {line["name"]: line["unfinished"] for line in csv.DictReader(io.StringIO(to_csv(table)))}
    assert unfinished == {"cal": "1", "fire": "2"}


def test_a_dataset_without_any_finished_run_still_has_its_table(tmp_path: Path) -> None:
    (table,) = result_tables(rows_of([write_run(tmp_path, state="failed")]), ())
    assert cell(table, "baseline", "seeds").text == "0 of 1"
    assert "baseline: 1 of 1 seed failed." in table.caption


def test_a_choice_made_on_the_test_set_carries_a_dagger_everywhere(tmp_path: Path) -> None:
    runs = [*seeds(tmp_path, "cal", 0.6, 2, selection="oracle"), *seeds(tmp_path, "fire", 0.5, 2)]
    table = scores(runs)
    assert cell(table, "cal", "selection").text == "oracle †"
    assert cell(table, "fire", "selection").text == "last"
    assert "oracle † (the best epoch on the test set" in table.caption
    for text in (to_markdown(table), to_html(table), printed(table)):
        assert "oracle †" in text
    assert r"oracle \dag{}" in to_latex(table)


def test_rows_on_other_test_images_stand_in_a_table_of_their_own(tmp_path: Path) -> None:
    runs = [write_run(tmp_path, "cal"), write_run(tmp_path, "fire", fingerprint="bbbbbbbb", people=20)]
    tables = [table for table in result_tables(rows_of(runs), ()) if table.kind == "scores"]
    assert [[row[0].text for row in table.rows] for table in tables] == [["cal"], ["fire"]]
    assert len({table.name for table in tables}) == 2
    assert "files aaaaaaaa" in tables[0].title


# --- published values ---


def paper(**changes: object) -> Published:
    known = {
        "method": "cal",
        "dataset": "ltcc",
        "protocol": "standard",
        "R1": 74.2,
        "mAP": 40.8,
        "selection": "oracle",
        "source": "table 1 & <2>",
        "certainty": "paper",
    }
    return Published.model_validate(known | changes)


def test_published_values_are_grey_below_ours_with_their_source(tmp_path: Path) -> None:
    runs = [*seeds(tmp_path, "baseline", 0.4, 2), *seeds(tmp_path, "cal", 0.5, 2)]
    table = scores(runs, [paper(), paper(protocol="cloth-changing", R1="unknown", mAP=18.0, certainty="memory")])
    assert [row[0].text for row in table.rows] == ["baseline", "cal", "cal, published"]
    shown = cell(table, "cal, published", "mAP", "standard")
    assert (shown.text, shown.published, shown.notes) == ("40.8", True, ("b",))
    assert cell(table, "cal, published", "mAP", "cloth-changing").text == "18.0 ‡"
    assert cell(table, "cal, published", "R1", "cloth-changing").text == "–"
    assert cell(table, "cal, published", "selection").text == "oracle †"
    assert "oracle †" in dict(table.footnotes)["b"]
    assert "table 1 & <2>" in dict(table.footnotes)["b"]
    assert not any(one.best or one.close for one in table.rows[2]), "a published number is not compared with ours"
    assert r"\textcolor{gray}{40.8\textsuperscript{b}}" in to_latex(table)
    assert "*40.8*<sup>b</sup>" in to_markdown(table)
    assert '<tr class="published">' in to_html(table)
    assert "known by heart" in table.legend("Grey")


def test_the_recorded_papers_stand_beside_our_runs(tmp_path: Path) -> None:
    table = result_tables(rows_of(seeds(tmp_path, "cal", 0.5, 2)))[0]
    assert cell(table, "cal, published", "mAP", "cloth-changing").text == "18.0"


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"synthesized": True}, "images that `synthesize` drew: the published numbers are of other images."),
        ({"differences": ["query has 3 images, but its authors publish 493."]}, "query has 3 images, but its authors"),
    ],
)
def test_other_images_than_the_papers_are_said_beside_their_numbers(tmp_path: Path, facts: dict, said: str) -> None:
    (folder,) = seeds(tmp_path, "cal", 0.5, 1)
    assert "published numbers" not in scores([folder], [paper()]).caption
    file = folder.path / "data.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | facts))
    assert said in scores([folder], [paper()]).caption
    assert said not in scores([folder]).caption, "nothing is compared with them"
    suite = plan_suite({"suite": "cssc_main", "method.name": "cal", "dataset.name": "ltcc"}).suite
    (row,) = rows_of([folder])
    assert said in suite_table(suite, {(suite.rows[0].name, "ltcc"): row}).caption


def test_weights_that_were_tuned_are_shown_also_where_one_row_alone_has_them(tmp_path: Path) -> None:
    rows = {"full": {"method.weights.biometric": "0.05"}, "baseline": {}}
    runs = []
    for number, (name, changes) in enumerate(rows.items()):
        found = resolve({"method.name": "differ", "dataset.name": "ltcc", **changes}, ablation=name)
        runs.append(write_run(tmp_path, "differ", configuration=f"{number:08d}", spec=to_plain(found.spec)))
    named = dict(zip([one.run_id for one in runs], rows, strict=True))
    usual, tuned = (
        ablation_tables(rows_of(runs), [], tuning=tuning_text(trials), rows_of_runs=named)[0] for trials in (0, 5)
    )
    assert cell(usual, "full", "biometric", "loss terms").text == "✓"
    assert cell(tuned, "full", "biometric", "loss terms").text == "0.05"
    assert cell(tuned, "baseline", "biometric", "loss terms").text == ""


def test_a_method_of_which_nothing_is_known_has_no_published_row(tmp_path: Path) -> None:
    entries = load_published()
    table = scores([write_run(tmp_path, "baseline")], entries)
    assert any(entry.method == "baseline" for entry in entries), "its entry says «unknown»"
    assert len(table.rows) == 1


# --- ablations ---


def ablated(root: Path, row: str, configuration: str, dataset: str = "synthetic", **keys: str) -> RunFolder:
    words = {"method.name": "differ", "dataset.name": dataset} | {k.replace("__", "."): v for k, v in keys.items()}
    spec = to_plain(resolve(words, ablation=row).spec)
    return write_run(root, "differ", dataset=dataset, configuration=configuration, spec=spec)


def test_the_rows_of_the_method_s_ablation_are_recognised_by_their_specs(tmp_path: Path) -> None:
    names = ["no_camera", "full", "biometric", "baseline"]
    runs = [ablated(tmp_path, name, f"0000000{number}") for number, name in enumerate(names)]
    (table,) = ablation_tables(rows_of(runs), ())
    assert [row[0].text for row in table.rows] == ["baseline", "biometric", "full", "no_camera"], "the method's order"
    on = {row[0].text: [one.text for one in row[1:6]] for row in table.rows}
    assert [column.title for column in table.columns[1:6]] == [
        "identity",
        "triplet",
        "biometric",
        "non_biometric",
        "camera_strength",
    ]
    assert on["baseline"] == ["✓", "✓", "", "", "1"]
    assert on["biometric"] == ["✓", "✓", "✓", "", "1"]
    assert on["full"] == ["✓", "✓", "✓", "✓", "1"], "the recipe's camera_strength=1 does not make it the row camera_1"
    assert on["no_camera"] == ["✓", "✓", "✓", "✓", "0"]
    assert "none is re-tuned" in table.caption
    references = {line["reference"] for line in csv.DictReader(io.StringIO(to_csv(table))) if line["reference"]}
    assert references == {"full"}


def test_rows_are_recognised_where_the_full_model_was_not_run(tmp_path: Path) -> None:
    runs = [ablated(tmp_path, "baseline", "00000000"), ablated(tmp_path, "biometric", "00000001")]
    (table,) = ablation_tables(rows_of(runs), ())
    assert [row[0].text for row in table.rows] == ["baseline", "biometric"]
    results = scores(runs)
    assert [row[0].text for row in results.rows] == ["differ: baseline", "differ: biometric"]
    assert "not re-tuned" in results.caption


def test_what_differs_in_anything_else_is_no_row_of_the_ablation(tmp_path: Path) -> None:
    runs = [
        ablated(tmp_path, "full", "00000000"),
        ablated(tmp_path, "baseline", "00000001", optimiser__lr="0.5"),
        ablated(tmp_path, "full", "00000002", train__epochs="7"),
        ablated(tmp_path, "no_camera", "00000003", train__epochs="7"),
    ]
    (table,) = ablation_tables(rows_of(runs), ())
    assert [row[0].text for row in table.rows] == ["full", "no_camera"]
    assert {line["configuration"][-8:] for line in csv.DictReader(io.StringIO(to_csv(table)))} == {
        "00000002",
        "00000003",
    }
    assert len({row[0].text for row in scores(runs).rows}) == 4, "and no two rows of the results share a name"


def test_a_full_model_keeps_its_name_beside_other_configurations(tmp_path: Path) -> None:
    runs = [
        ablated(tmp_path, "full", "00000000"),
        ablated(tmp_path, "baseline", "00000001"),
        ablated(tmp_path, "full", "00000002", optimiser__lr="0.5"),
    ]
    names = [row[0].text for row in scores(runs).rows]
    assert names[:2] == ["differ", "differ: baseline"]
    assert "optimiser.lr=0.5" in names[2]


def test_a_single_ablated_model_is_not_called_by_the_method_s_name(tmp_path: Path) -> None:
    run = ablated(tmp_path, "biometric", "00000000")
    assert [row[0].text for row in scores([run]).rows] == ["differ: biometric"]


def test_ablations_are_found_among_the_trials_of_a_sweep(tmp_path: Path) -> None:
    runs = [ablated(tmp_path, "full", f"{n:08d}", optimiser__lr=str(0.001 + n / 1e6)) for n in range(20)]
    runs += [ablated(tmp_path, "baseline", f"1{n:07d}", optimiser__lr=str(0.001 + n / 1e6)) for n in range(2)]
    rows = rows_of(runs)
    found = [[rows[position].runs[0].run_id[-11:] for position, _ in family.members] for family in families(rows)]
    assert found == [["10000000-s0", "00000000-s0"], ["10000001-s0", "00000001-s0"]]


def test_two_studies_of_one_method_get_a_table_each(tmp_path: Path) -> None:
    runs = [
        ablated(tmp_path, name, f"{epochs}000000{name == 'full':d}", train__epochs=epochs)
        for epochs in ("1", "2")
        for name in ("full", "baseline")
    ]
    first, second = ablation_tables(rows_of(runs), ())
    assert first.name != second.name
    assert first.document != second.document


def test_a_single_configuration_is_no_ablation(tmp_path: Path) -> None:
    assert ablation_tables(rows_of([ablated(tmp_path, "full", "00000000")]), ()) == []


def test_the_paper_s_own_ablation_stands_in_grey(tmp_path: Path) -> None:
    protocols = {"dataset": "ltcc", "method": "differ", "protocol": "standard"}
    entries = [paper(**protocols), paper(**protocols, row="baseline", mAP=33.3), paper(**protocols, row="w/ X", R1=1.0)]
    runs = [ablated(tmp_path, "full", "00000000", "ltcc"), ablated(tmp_path, "baseline", "00000001", "ltcc")]
    (table,) = ablation_tables(rows_of(runs), entries)
    names = ["baseline", "baseline, published", "full", "full, published", "w/ X, published"]
    assert [row[0].text for row in table.rows] == names
    assert cell(table, "baseline, published", "mAP", "standard").text == "33.3"
    assert all(one.published for one in table.rows[1])


# --- every language escapes ---


def nasty_runs(root: Path) -> list[RunFolder]:
    names = [NASTY, LONG, "_", "-- ?` <<"]
    return [write_run(root, name, dataset=f"set {NASTY}", configuration=f"{n:08d}") for n, name in enumerate(names)]


def printed(table: Table, width: int = 400) -> str:
    console = Console(width=width, file=io.StringIO(), record=True)
    console.print(to_console(table))
    return console.export_text()


def test_names_come_out_of_html_as_they_went_in(tmp_path: Path) -> None:
    for table in result_tables(rows_of(nasty_runs(tmp_path)), ()):
        read = Cells(to_html(table))
        assert {"script", "a", "img"}.isdisjoint(read.tags)
        assert [row[0] for row in read.rows[-4:]] == [NASTY, LONG, "_", "-- ?` <<"]
        assert 'data-sort="' in to_html(table)


def test_names_come_out_of_markdown_as_they_went_in(tmp_path: Path) -> None:
    markdown = MarkdownIt("commonmark").enable(["table", "strikethrough"])
    for table in result_tables(rows_of(nasty_runs(tmp_path)), [paper(method=NASTY[:1])]):
        read = Cells(markdown.render(to_markdown(table)))
        assert len(read.rows) == 5, "one heading and one line for each row"
        assert {len(row) for row in read.rows} == {len(table.columns)}
        assert [row[0] for row in read.rows[1:]] == [NASTY, LONG, "_", "-- ?` <<"]
        assert {"script", "a", "em", "s"}.isdisjoint(read.tags)
        assert "$" not in to_markdown(table), "GitHub would set a formula"


def test_names_come_out_of_csv_as_they_went_in(tmp_path: Path) -> None:
    table = scores(nasty_runs(tmp_path))
    lines = list(csv.DictReader(io.StringIO(to_csv(table))))
    assert [line["name"] for line in lines[:4]] == [NASTY, LONG, "_", "-- ?` <<"]
    assert all(math.isfinite(float(line["mean"])) for line in lines)


def test_names_come_out_on_the_terminal_as_they_went_in(tmp_path: Path) -> None:
    text = printed(scores(nasty_runs(tmp_path)), 1200)
    assert NASTY in text
    assert LONG in text
    narrow = printed(scores(nasty_runs(tmp_path / "again")), 80)
    assert max(map(len, narrow.splitlines())) <= 80
    assert "xxxxxxxxxx" in narrow, "the names keep some room"


def test_latex_escapes_every_special_character(tmp_path: Path) -> None:
    text = to_latex(scores([write_run(tmp_path, r"& % $ # _ { } ~ ^ \ < > |")]))
    assert (
        r"\& \% \$ \# \_ \{ \} \textasciitilde{} \textasciicircum{} \textbackslash{} "
        r"\textless{} \textgreater{} \textbar{}" in text
    )
    assert text.isascii(), "±, − and † are commands, so that every engine has them"
    assert beyond_latin("Жук")
    assert beyond_latin("方")
    assert not beyond_latin("Müller ± 1 – 2 †")


def test_control_characters_and_turned_text_are_left_out() -> None:
    assert clean("a\nb\x00\x1b[31mc\u202ed\ud800") == "a b[31mcd\ufffd"


@pytest.mark.parametrize(
    ("parts", "safe"), [(("ltcc", "scores"), "ltcc-scores"), (("a/b", ".."), "a-b-"), (("方法",), ""), ((LONG,), "xxx")]
)
def test_file_names_are_safe_and_different(parts: tuple[str, ...], safe: str) -> None:
    name = file_name(*parts)
    assert name.startswith(safe)
    assert len(name) < 80
    assert all(one.isascii() and (one.isalnum() or one in "-_") for one in name)
    assert name != file_name(*parts, "other")


# --- files ---


def test_the_same_runs_give_the_same_bytes(tmp_path: Path) -> None:
    runs = [*nasty_runs(tmp_path / "runs"), *seeds(tmp_path / "runs", "cal", 0.5), ablated(tmp_path, "full", "0")]
    runs += [ablated(tmp_path / "runs", "full", "00000001"), ablated(tmp_path / "runs", "baseline", "00000002")]
    formats = ["md", "tex", "csv", "html"]
    first, second = (write_tables(rows_of(runs), tmp_path / name, formats) for name in ("one", "two"))
    assert [file.name for file in first] == [file.name for file in second]
    assert len(set(first)) == len(first)
    for one, other in zip(first, second, strict=True):
        assert one.read_bytes() == other.read_bytes()
        assert str(tmp_path) not in one.read_text(encoding="utf-8"), "no path of this machine"
    assert {"ltcc.md", "ltcc.csv", "ltcc.html", "ltcc-scores.tex", "tables.tex"} <= {file.name for file in first}


def test_an_unknown_format_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"Unknown format=htm\. Did you mean html\?"):
        write_tables(rows_of([write_run(tmp_path / "runs")]), tmp_path / "out", ["md", "htm"])
    assert not (tmp_path / "out").exists()


def test_a_finished_run_without_its_evidence_is_named(tmp_path: Path) -> None:
    """One that was lost after the runs were looked at."""
    run = write_run(tmp_path)
    rows = rows_of([run])
    run.ranking("standard", "last").unlink()
    with pytest.raises(DataError, match=r"standard@last\.npz is missing"):
        result_tables(rows, ())


def test_a_run_that_left_nothing_readable_is_counted_too(tmp_path: Path) -> None:
    run = write_run(tmp_path, "fire", state="failed")
    (run.path / "spec.yaml").write_text("{", encoding="utf-8")
    tables = result_tables(rows_of([write_run(tmp_path), run]), ())
    assert any("1 of 1 seed failed" in table.caption for table in tables)
