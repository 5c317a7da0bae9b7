"""The LaTeX that is written compiles, and the names in it are in the PDF.

Needs TeX: on Debian `apt-get install --no-install-recommends texlive-latex-recommended texlive-luatex lmodern
poppler-utils fonts-dejavu-core fonts-droid-fallback`. Where it is missing the tests are skipped, in CI they fail.
"""

import os
import re
import shutil
import subprocess
import unicodedata
from pathlib import Path

import pytest

from benchmarks.ablations import grid_rows, loss_terms
from benchmarks.comparison import rows_of
from benchmarks.records import RunFolder, RunStore
from benchmarks.resolve import resolve
from benchmarks.spec import to_plain
from benchmarks.suite import suite_names
from benchmarks.suite_plans import plan_suite
from reports.tables import ablation_tables, suite_table, write, write_tables
from tests.evidence_runs import NASTY, write_run

pytestmark = pytest.mark.slow

LONG = "a_long_name-" * 25
LATIN = r"Müller & 100 % $x_1$ #2 {y} ~ ^ \section <b> | -- ?` `q' ,, «»"


def tool(name: str) -> str:
    """Path of a program. Skips the test where it is missing, and fails it in CI."""
    if found := shutil.which(name):
        return found
    sentence = (
        f"{name} is missing: apt-get install --no-install-recommends texlive-latex-recommended texlive-luatex lmodern "
        "poppler-utils fonts-dejavu-core fonts-droid-fallback"
    )
    if os.environ.get("CI"):
        pytest.fail(sentence)
    pytest.skip(sentence)


def compiled(engine: str, folder: Path) -> tuple[str, str]:
    """The text of the PDF that `engine` makes of tables.tex, and its log."""
    command = [tool(engine), "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", "tables.tex"]
    reader = tool("pdftotext")
    for _ in range(2):  # the second time with the labels of the first
        done = subprocess.run(command, cwd=folder, capture_output=True, timeout=300, check=False)
        assert done.returncode == 0, done.stdout.decode("utf-8", "replace")[-3000:]
    read = subprocess.run([reader, "tables.pdf", "-"], cwd=folder, capture_output=True, check=True)
    log = (folder / "tables.log").read_text(encoding="utf-8", errors="replace")
    return unicodedata.normalize("NFKC", read.stdout.decode()), log


def squeezed(text: str) -> str:
    """Without spaces, and without hyphens, which pdftotext leaves out at the end of a line."""
    return re.sub(r"[\s-]+", "", unicodedata.normalize("NFKC", text))


def study(root: Path, *names: str) -> list[RunFolder]:
    """Results of some methods, of one that failed, of one with published scores, and an ablation."""
    runs = [
        write_run(root, name, seed=seed, configuration=f"{number:08d}")
        for number, name in enumerate(names)
        for seed in (0, 1)
    ]
    runs += [write_run(root, "cal", selection="oracle"), write_run(root, "cal", seed=1, state="failed")]
    for number, row in enumerate(("baseline", "full", "no_camera")):
        spec = to_plain(resolve({"method.name": "differ", "dataset.name": "ltcc"}, ablation=row).spec)
        runs.append(write_run(root, "differ", configuration=f"1000000{number}", spec=spec))
    return runs


@pytest.mark.parametrize("engine", ["pdflatex", "lualatex"])
def test_tables_compile_and_hold_what_the_runs_say(engine: str, tmp_path: Path) -> None:
    write_tables(rows_of(study(tmp_path / "runs", LATIN, LONG)), tmp_path / "out", ["tex"])
    text, log = compiled(engine, tmp_path / "out")
    assert "Missing character" not in log
    assert "undefined" not in log
    assert "Overfull \\hbox" not in log, "nothing stands out of the page"
    for said in (LATIN.replace("q'", "q’"), LONG, "1 of 2", "oracle †", "cal, published"):
        assert squeezed(said) in squeezed(text), said


@pytest.mark.parametrize("engine", ["pdflatex", "lualatex"])
@pytest.mark.parametrize("name", suite_names())
def test_a_suite_compiles(name: str, engine: str, tmp_path: Path) -> None:
    """The widest tables with the longest footnotes that there are."""
    table = suite_table(plan_suite({"suite": name}).suite, {})
    write([table], tmp_path, ["tex"])
    text, log = compiled(engine, tmp_path)
    assert "Missing character" not in log
    assert "Overfull \\hbox" not in log, "nothing stands out of the page"
    for row in table.rows:
        assert squeezed(row[0].text) in squeezed(text)


def test_generated_rows_compile(tmp_path: Path) -> None:
    for number, row in enumerate(grid_rows("differ", loss_terms("differ"))):
        spec = to_plain(resolve({"method.name": "differ", "dataset.name": "ltcc"}, ablation=row).spec)
        write_run(tmp_path / "runs", "differ", configuration=f"{number:08d}", spec=spec)
    write(ablation_tables(rows_of(list(RunStore(tmp_path / "runs")))), tmp_path / "out", ["tex"])
    text, log = compiled("pdflatex", tmp_path / "out")
    assert "Overfull \\hbox" not in log
    for said in ("without_triplet+biometric", "baseline", "none is re-tuned"):
        assert squeezed(said) in squeezed(text), said


def test_names_in_other_scripts_come_out_with_lualatex(tmp_path: Path) -> None:
    files = write_tables(rows_of(study(tmp_path / "runs", NASTY)), tmp_path / "out", ["tex"])
    assert (
        "Holds letters beyond Latin"
        in next(f for f in files if f.name == "ltcc-scores.tex").read_text().splitlines()[0]
    )
    text, log = compiled("lualatex", tmp_path / "out")
    assert "Missing character" not in log
    for word in ("Жук", "方法", "<script>alert(", "#2", r"\n"):
        assert squeezed(word) in squeezed(text), word
