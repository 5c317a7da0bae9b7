"""Tables of studies: where a trial stands, what the numbers are, that nothing is left out, any name in any format."""

import csv
import io
from pathlib import Path

import numpy as np
import pytest

from reports.studies.tables import IN_A_PAPER, confirmation_table, study_tables, trials_table, write_study_tables
from reports.tables import Table, to_console, to_csv, to_html, to_latex, to_markdown
from tests.study_examples import HOSTILE, all_failed, choices, differ_on_ltcc, every_study, hostile, two_objectives

STUDIES = every_study()


def column(table: Table, title: str) -> list[str]:
    place = [one.title for one in table.columns].index(title)
    return [row[place].text for row in table.rows]


def test_trials_stand_best_first_and_none_is_missing() -> None:
    study = differ_on_ltcc()
    table = trials_table(study)
    assert sorted(map(int, column(table, "trial"))) == list(range(40))
    scores = [float(text) for text in column(table, "cloth-changing mAP") if text != "–"]
    assert scores == sorted(scores, reverse=True)
    assert column(table, "state")[31:] == ["pruned"] * 6 + ["failed"] * 2 + ["lost"]
    assert table.remarks == ("Counted, not hidden: 6 pruned, 2 failed, 1 lost of 40 trials.",)
    notes = dict(zip(map(int, column(table, "trial")), column(table, "note"), strict=True))
    assert (notes[0], notes[19], notes[23]) == ("defaults", "repeats trial 18", "seed 0, epoch 9")
    assert "triplet is method.weights.triplet" in table.caption
    best = [row[1] for row in table.rows if row[1].best]
    assert [cell.value for cell in best] == [100 * max(trial.values[0] for trial in study.trials if trial.values)]


def test_a_cost_is_printed_as_it_is_and_the_front_is_noted() -> None:
    study = two_objectives()
    table = trials_table(study)
    assert column(table, "seconds")[0] == f"{study.best.values[1]:,.0f}" if study.best else ""
    fronts = [
        number for number, note in zip(column(table, "trial"), column(table, "note"), strict=True) if "front" in note
    ]
    assert sorted(map(int, fronts)) == sorted(study.pareto)


def test_choices_are_printed_as_they_are_typed() -> None:
    table = trials_table(choices())
    assert set(column(table, "reversal")) == {"true", "false"}
    assert set(column(table, "backbone")) == {"resnet50", "vit_small", "eva02_large"}


def test_confirmed_values_are_means_over_fresh_seeds_with_their_shrinkage() -> None:
    study = differ_on_ltcc()
    assert study.confirmation is not None
    table = confirmation_table(study, study.confirmation)
    for row, cells in zip(study.confirmation.rows, table.rows, strict=True):
        scores = 100 * np.array(list(row.by_seed.values()))
        texts = dict(zip([one.title for one in table.columns], [cell.text for cell in cells], strict=True))
        assert texts["confirmed"] == f"{scores.mean():.1f} ± {scores.std(ddof=1):.1f}"
        shrinkage = study.confirmation.shrinkage[row.name]
        assert texts["shrinkage"].replace("−", "-") == f"{100 * shrinkage.mean:+.1f}"
        assert texts["95 % interval"].replace("−", "-") == f"{100 * shrinkage.low:+.1f} … {100 * shrinkage.high:+.1f}"
    assert column(table, "chosen").count("✓") == 1
    assert column(table, "chosen")[column(table, "configuration").index(study.confirmation.chosen)] == "✓"
    assert column(table, "over defaults")[-1] == "–"
    assert table.footnotes == (("a", "seed 4: The GPU ran out of memory."),)


def test_the_test_split_stands_in_a_table_of_its_own_that_says_when_it_was_opened() -> None:
    study = differ_on_ltcc()
    (table,) = [one for one in study_tables(study) if one.kind == "tested"]
    assert [cell.text for cell in table.rows[0][2:]] == ["24.2", "21.1", "+3.1", "+0.4 … +5.8", "0.042", "3.4"]
    assert study.confirmation is not None
    assert f"opened after {study.confirmation.chosen} was chosen" in table.caption
    assert "none of the test split" in trials_table(study).caption
    untested = study.confirmation.model_copy(update={"tested": ()})
    kinds = [one.kind for one in study_tables(study.model_copy(update={"confirmation": untested}))]
    assert kinds == ["confirmation", "trials"]


def test_captions_say_protocol_selection_seeds_and_budget() -> None:
    for table in study_tables(differ_on_ltcc()):
        for said in (
            "mean over seeds (0, 1)",
            "protocol cloth-changing",
            "selection validation",
            "of 40 trials asked for",
        ):
            assert said in table.caption


def test_latex_has_the_best_trials_and_csv_all(tmp_path: Path) -> None:
    files = write_study_tables(differ_on_ltcc(), tmp_path, ["md", "tex", "csv", "html"])
    assert {file.name for file in files} >= {
        "trials.md",
        "confirmation.csv",
        "ltcc-differ-weights-trials.tex",
        "tables.tex",
    }
    lines = (tmp_path / "ltcc-differ-weights-trials.tex").read_text().count(r"\\")
    assert IN_A_PAPER <= lines <= IN_A_PAPER + 3
    rows = list(csv.DictReader(io.StringIO((tmp_path / "trials.csv").read_text())))
    assert len(rows) == 40
    best = differ_on_ltcc().best
    assert best is not None
    assert float(rows[0]["cloth-changing mAP"]) == pytest.approx(100 * best.values[0], abs=1e-9)
    assert float(rows[0]["triplet"]) == best.params["method.weights.triplet"]


@pytest.mark.parametrize("name", STUDIES)
def test_every_study_goes_through_every_format(name: str) -> None:
    for table in study_tables(STUDIES[name]):
        for make in (to_markdown, to_latex, to_csv, to_html, to_console):
            assert make(table)
        assert len({len(row) for row in table.rows} | {len(table.columns)}) == 1


def test_names_are_escaped() -> None:
    (table,) = study_tables(hostile())
    assert "<script>" not in to_html(table)
    assert "<script>" not in to_markdown(table)
    assert HOSTILE.strip() in table.caption
    assert all(letter.isalnum() or letter in "-_" for letter in table.name)


def test_a_study_without_a_score_still_lists_what_was_tried() -> None:
    (table,) = study_tables(all_failed())
    assert column(table, "state") == ["failed"] * 7
    assert column(table, "cloth-changing mAP") == ["–"] * 7
