"""Recipes of the golden evaluation cases, bit-identical on every machine and numpy version.

`RandomState` is used because numpy has promised to freeze its stream; the arithmetic on distances is integer-valued, so
that no BLAS can round it differently. Q queries, G gallery entries, D dimensions.
"""

import hashlib
from collections.abc import Callable

import numpy as np

Case = dict[str, np.ndarray]
"""`distmat` [Q, G] float32; `q_pids`, `q_camids`, `q_clothes` [Q]; `g_pids`, … [G]; with features `qf` [Q, D], `gf`."""

LABELS = ("q_pids", "g_pids", "q_camids", "g_camids", "q_clothes", "g_clothes")


def draw_labels(
    random: np.random.RandomState,
    queries: int,
    gallery: int,
    persons: int,
    cameras: int,
    outfits: int,
    strangers: int = 0,
    distractors: int = 0,
) -> Case:
    """`strangers` query identities are not in the gallery; `distractors` gallery entries show person 0."""
    g_pids = random.randint(1, persons + 1, size=gallery).astype(np.int64)
    if distractors:
        g_pids[random.permutation(gallery)[:distractors]] = 0
    q_pids = random.randint(1, persons + 1, size=queries).astype(np.int64)
    if strangers:
        q_pids[random.permutation(queries)[:strangers]] = 10000 + np.arange(strangers)
    q_camids = random.randint(0, cameras, size=queries).astype(np.int64)
    g_camids = random.randint(0, cameras, size=gallery).astype(np.int64)
    q_clothes = q_pids * outfits + random.randint(0, outfits, size=queries)
    g_clothes = g_pids * outfits + random.randint(0, outfits, size=gallery)
    return dict(zip(LABELS, (q_pids, g_pids, q_camids, g_camids, q_clothes, g_clothes), strict=True))


def rank_distances(random: np.random.RandomState, labels: Case, pull: float, tie: int) -> np.ndarray:
    """[Q, G] place of each entry by a noisy score that pulls the query's person nearer; `tie` entries share a place."""
    rows = []
    for person, camera, clothes in zip(labels["q_pids"], labels["q_camids"], labels["q_clothes"], strict=True):
        score = random.standard_normal(len(labels["g_pids"]))
        same = labels["g_pids"] == person
        score = score - pull * same - 0.75 * pull * (same & (labels["g_clothes"] == clothes))
        score = score - 0.25 * (labels["g_camids"] == camera)
        place = np.empty(len(score), dtype=np.int64)
        place[np.argsort(score, kind="mergesort")] = np.arange(len(score))
        rows.append((place // tie).astype(np.float32))
    return np.stack(rows)


def ranked(seed: int, *sizes: int, pull: float = 1.0, tie: int = 1) -> Case:
    random = np.random.RandomState(seed)
    labels = draw_labels(random, *sizes)
    return labels | {"distmat": rank_distances(random, labels, pull, tie)}


def integer_features(seed: int, *sizes: int, dimensions: int = 64, amplitude: int = 7) -> Case:
    """Features so small that every order of summation gives the same dot product in float32."""
    random = np.random.RandomState(seed)
    labels = draw_labels(random, *sizes)
    outfits, third = sizes[4], amplitude // 3
    person = random.randint(-amplitude // 3, third + 1, size=(20001, dimensions))
    outfit = random.randint(-amplitude // 3, third + 1, size=(20001 * outfits, dimensions))
    features = {}
    for side in "gq":
        pids, clothes = labels[f"{side}_pids"], labels[f"{side}_clothes"]
        noise = random.randint(-amplitude, amplitude + 1, size=(len(pids), dimensions))
        features[f"{side}f"] = (person[pids] + outfit[clothes] + noise).astype(np.float32)
    product = features["qf"].astype(np.int64).dot(features["gf"].astype(np.int64).T)
    return labels | {"distmat": -product.astype(np.float32)} | features


def by_hand() -> Case:
    """3 queries × 6 gallery entries; worked out in the README."""
    columns = ([1, 2, 3], [1, 1, 1, 2, 2, 9], [0, 0, 1], [0, 1, 2, 0, 1, 1], [10, 20, 30], [10, 10, 11, 20, 20, 90])
    labels = {name: np.array(column, dtype=np.int64) for name, column in zip(LABELS, columns, strict=True)}
    return labels | {
        "distmat": np.array([[0, 3, 5, 1, 2, 4], [2, 3, 4, 0, 1, 5], [5, 4, 3, 2, 1, 0]], dtype=np.float32)
    }


def prcc(changed: bool) -> Case:
    """Gallery: camera 0; queries: camera 1 in the same clothes, or camera 2 in other clothes."""
    random = np.random.RandomState(20)
    gallery = random.randint(0, 71, size=3384)
    gallery[:71] = np.arange(71)
    same, other = random.randint(0, 71, size=3873), random.randint(0, 71, size=3543)
    query = other if changed else same
    columns = (
        query * 3 + 5,
        gallery * 3 + 5,
        np.full(len(query), 2 if changed else 1),
        np.zeros(len(gallery)),
        query * 2 + int(changed),
        gallery * 2,
    )
    labels = {name: column.astype(np.int64) for name, column in zip(LABELS, columns, strict=True)}
    return labels | {"distmat": rank_distances(np.random.RandomState(21 + int(changed)), labels, 1.2, 1)}


SMALL = (50, 200, 12, 4, 3)
LTCC = (493, 7050, 75, 12, 3)
CASES: dict[str, Callable[[], Case]] = {
    "hand_3x6": by_hand,
    "small_50x200_s0": lambda: ranked(0, *SMALL, 3, 20),
    "small_50x200_s1": lambda: ranked(1, *SMALL, 3, 20),
    "small_50x200_s2": lambda: ranked(2, 50, 200, 40, 2, 2, 5, 0),
    "small_50x200_ties5": lambda: ranked(3, *SMALL, 3, 20, tie=5),
    "small_50x200_ties50": lambda: ranked(4, *SMALL, tie=50),
    "small_50x200_alltied": lambda: ranked(5, *SMALL, tie=1000),
    "tinygal_20x30": lambda: ranked(6, 20, 30, 5, 3, 2),
    "intfeat_50x200": lambda: integer_features(7, *SMALL),
    "ltcc_493x7050": lambda: ranked(10, *LTCC),
    "ltcc_493x7050_ties4": lambda: ranked(11, *LTCC, tie=4),
    "ltcc_intfeat_493x7050": lambda: integer_features(12, *LTCC),
    "market_3368x15913": lambda: ranked(13, 3368, 15913, 750, 6, 1, 0, 2798, pull=2.0),
    "prcc_same_3873x3384": lambda: prcc(False),
    "prcc_diff_3543x3384": lambda: prcc(True),
}


def digest(case: Case) -> str:
    """SHA-256 of all inputs, to be compared with the one in `golden.json`."""
    found = hashlib.sha256()
    for name in sorted(case):
        array = np.ascontiguousarray(case[name])
        found.update(name.encode() + str(array.shape).encode())
        found.update(array.astype("<f4" if array.dtype.kind == "f" else "<i8").tobytes())
    return found.hexdigest()
