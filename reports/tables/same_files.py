"""Which rows were scored on the same test images, and may stand in one table."""

from collections.abc import Sequence

from benchmarks.comparison import Row, fingerprints

from .families import runs_of


def on_same_files(rows: Sequence[Row]) -> list[tuple[str, list[Row]]]:
    """(label, rows) of each set of test images, in the order of the first row; no label where there is one set.

    Rows belong together where all test splits that both were scored on have one fingerprint. A run that failed before
    it had read its data stands with the first.
    """
    groups: list[tuple[dict[str, str], list[Row]]] = []
    for row in rows:
        splits = _fingerprints(row)
        for known, members in groups:
            if all(known.get(name, fingerprint) == fingerprint for name, fingerprint in splits.items()):
                known |= splits
                members.append(row)
                break
        else:
            groups.append((splits, [row]))
    if len(groups) == 1:
        return [("", groups[0][1])]
    return [(f"files {next(iter(splits.values()), 'unknown')[:8]}", members) for splits, members in groups]


def _fingerprints(row: Row) -> dict[str, str]:
    """Test split → fingerprint of its files, of the first run that knows them."""
    for run in runs_of(row):
        if known := fingerprints(run):
            used = {protocol[side] for protocol in run.data().get("protocols", []) for side in ("query", "gallery")}
            return {name: fingerprint for name, fingerprint in known.items() if name in used}
    return {}
