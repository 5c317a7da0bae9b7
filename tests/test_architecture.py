"""The shape of the project: imports run one way, the command line starts fast, every file has an owner folder."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MAY_IMPORT = {
    "datasets": {"datasets"},
    "methods": {"methods", "datasets"},
    "benchmarks": {"benchmarks", "methods", "datasets"},
    "sweeps": {"sweeps", "benchmarks", "methods", "datasets"},
    "reports": {"reports", "benchmarks", "methods", "datasets"},
    "run.py": {"sweeps", "reports", "benchmarks", "methods", "datasets"},
}
"""run.py → sweeps, reports → benchmarks → methods → datasets."""


def imported(file: Path) -> set[str]:
    """Top-level packages that a file imports, inside functions too; relative imports stay in the package."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found.add(node.module.partition(".")[0])
    return found


@pytest.mark.parametrize("owner", MAY_IMPORT)
def test_imports_follow_the_arrows(owner: str) -> None:
    files = [ROOT / owner] if owner.endswith(".py") else sorted((ROOT / owner).rglob("*.py"))
    assert files
    for file in files:
        against = (imported(file) & MAY_IMPORT.keys()) - MAY_IMPORT[owner]
        assert not against, f"{file.relative_to(ROOT)} imports {against}"


def test_an_import_against_the_arrows_is_found(tmp_path: Path) -> None:
    """The check above can fail: it sees imports inside functions and in both spellings."""
    file = tmp_path / "adapter.py"
    file.write_text("import numpy\ndef f():\n    from benchmarks.spec import Spec\n    import methods.base\n")
    assert imported(file) & MAY_IMPORT.keys() == {"benchmarks", "methods"}


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["--help"],
        ["train", "--help"],
        ["list", "methods"],
        ["list", "datasets"],
        ["list", "protocols"],
        ["list", "studies"],
        ["list", "runs"],
    ],
)
def test_help_and_list_do_not_import_torch(words: list[str]) -> None:
    """What keeps them under half a second: of the heavy packages none is imported."""
    program = (
        "import sys, runpy; sys.argv = ['run.py', *sys.argv[1:]]\n"
        "try: runpy.run_path('run.py', run_name='__main__')\n"
        "except SystemExit as stop: assert not stop.code, stop.code\n"
        "heavy = {'torch', 'timm', 'open_clip', 'mmengine', 'sklearn', 'matplotlib', 'wandb'} & sys.modules.keys()\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", program, *words], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_a_dataset_or_method_name_appears_only_where_it_may() -> None:
    """A protocol or a split is data: no code outside datasets/, methods/ and suites/ branches on a name."""
    from datasets import DATASETS
    from methods import METHODS

    names = {*DATASETS.entries, *METHODS.entries}
    names -= {"synthetic", "last"}  # also a verb's subject, and a rule of selection
    files = [file for owner in ("benchmarks", "reports") for file in (ROOT / owner).rglob("*.py")]
    for file in files:
        if file.parent.name == "perf":  # measures named things
            continue
        tree = ast.parse(file.read_text(encoding="utf-8"))
        typography = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.keyword) and node.arg == "va"}
        constants = {
            node.value
            for node in ast.walk(tree)
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in typography
        }
        assert not names & constants, f"{file.relative_to(ROOT)} names {names & constants}"
