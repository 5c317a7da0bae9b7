"""`caption` and `encode` against a real HTTP server: whole, refused, slowed down, misunderstood, killed, stopped."""

import asyncio
import contextlib
import datetime
import email.utils
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import run
from datasets.captions import ASPECTS, CaptionConfig, caption_features, encode_texts
from datasets.captions.encoders import OPEN_CLIP_NAMES
from datasets.captions.endpoint import ChatEndpoint, EndpointConfig, RateLimit, UnusableAnswerError
from datasets.captions.journal import CaptionJournal
from datasets.captions.questions import (
    IMAGE_VERSION,
    SENTENCES_PER_SUMMARY,
    read_description,
    read_object,
    summary_question,
)
from datasets.errors import UsageError
from datasets.layouts import write_layout
from datasets.ltcc import LTCC
from datasets.synthetic import Synthetic

from .chat_server import Asked, ChatServer, Reply, describing, error

ROOT = Path(__file__).parent.parent
FILES = ("train_captions.json", "train_caption_summary_biometric.json")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("released")
    config = Synthetic.Config(people=3, test_people=3, cameras=2, tracklets=1, frames=2, height=64)
    write_layout("ltcc", out, config)
    return out


@pytest.fixture(scope="module")
def dataset(data: Path) -> LTCC:
    return LTCC(data)


@pytest.fixture(scope="module")
def key_of(dataset: LTCC) -> dict[str, str]:
    """What the server sees of an image → its caption key."""
    looks = {}
    for path in dataset.split("train").paths:
        picture = Image.fromarray(dataset.read_image(path))
        look = f"{picture.width}x{picture.height} {picture.resize((1, 1)).getpixel((0, 0))}"
        assert looks.setdefault(look, dataset.caption_key(path)) == dataset.caption_key(path), "two images look alike"
    return looks


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "text"


@pytest.fixture
def server() -> Iterator[ChatServer]:
    with ChatServer() as running:
        yield running


@pytest.fixture
def words(data: Path, folder: Path) -> list[str]:
    """Of `caption`, but for the endpoint; later words of a test come on top."""
    return [f"data={data}", "dataset=ltcc", f"caption_folder={folder}", "model=vlm", "per_minute=60000", "backoff=0.02"]


@pytest.fixture
def caption(words: list[str], server: ChatServer) -> Callable[..., int]:
    """Runs the verb in this process; its exit code."""

    def start(*more: str) -> int:
        given = {word.partition("=")[0] for word in more}
        usual = [f"endpoint={server.endpoint}", *words]
        return run.main(["caption", *(word for word in usual if word.partition("=")[0] not in given), *more])

    return start


def journal_keys(folder: Path) -> list[str]:
    """Keys of the images that have an answer in the journal; half a last line does not count."""
    with contextlib.suppress(FileNotFoundError):
        records = [json.loads(line) for line in (folder / "captions.jsonl").read_bytes().split(b"\n")[:-1]]
        return [record["key"] for record in records if record["kind"] == "image"]
    return []


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


# --- the whole way ---


def test_from_images_to_features(caption, server, dataset, key_of, folder, data, capsys):
    assert caption("summary_model=llm") == 0
    samples = dataset.split("train")
    people = Counter(samples.person.tolist())

    assert Counter(key_of[look] for look in server.images) == Counter(map(dataset.caption_key, samples.paths))
    captions = json.loads((folder / FILES[0]).read_text())
    assert captions == {key: [f"The {aspect} of {look}." for aspect in ASPECTS] for look, key in key_of.items()}
    summaries = json.loads((folder / FILES[1]).read_text())
    assert summaries == {str(person): {"text": f"A person seen {n} times."} for person, n in people.items()}

    about_images = [asked for asked in server.asked if asked.image is not None]
    assert {asked.model for asked in about_images} == {"vlm"}
    assert {asked.model for asked in server.asked if asked.image is None} == {"llm"}
    assert all(asked.body["temperature"] == 0 and asked.key is None for asked in server.asked)
    assert all(f'"{aspect}"' in about_images[0].words for aspect in ASPECTS)
    assert all("not name or identify the person" in " ".join(asked.words.split()) for asked in server.asked)
    # Sentences about the body, and nothing else, go into the summary.
    summed = next(asked.words for asked in server.asked if asked.image is None)
    assert "- The biometrics of" in summed
    assert not any(f"The {aspect} of" in summed for aspect in ASPECTS[1:])
    out = capsys.readouterr().out
    assert [str(folder / name) for name in FILES] == out.split()[-2:]
    assert "31,500 tokens of questions and 4,200 of answers" in out  # 32 images and 3 people, as the server counts

    encode = ["encode", "dataset=ltcc", f"data={data}", f"caption_folder={folder}", "text_model=hashing-64"]
    assert run.main(encode) == 0
    read = caption_features(dataset, samples, CaptionConfig(text_model="hashing-64", summary=True), folder)
    assert read.features.shape == (len(samples), 6, 64)
    texts = [f"The clothing of {look}." for look in key_of]
    expected = dict(zip(key_of.values(), encode_texts("hashing-64", texts), strict=True))
    for row, path in enumerate(samples.paths):
        np.testing.assert_allclose(read.features[row, 2], expected[dataset.caption_key(path)], atol=1e-6)
    assert read.summary is not None
    sums = encode_texts("hashing-64", [f"A person seen {people[int(person)]} times." for person in samples.person])
    np.testing.assert_allclose(read.summary, sums, atol=1e-6)

    # The same commands again ask nothing and keep the features.
    before, asked = (folder / FILES[1]).read_bytes(), len(server.asked)
    assert caption("summary_model=llm") == 0
    assert len(server.asked) == asked
    assert (folder / FILES[1]).read_bytes() == before


def test_a_pipe_gets_a_line_per_tenth(caption, capsys):
    assert caption() == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("describing train: ")]
    assert [line.partition(": ")[2] for line in lines[-2:]] == ["29 of 32", "32 of 32"]
    assert len(lines) == 1 + 10  # what is ahead, then the tenths
    assert caption("quiet=true") == 0
    assert len(capsys.readouterr().out.splitlines()) == 2  # the files


def test_a_trial_shows_sentences_and_writes_only_the_journal(caption, server, folder, capsys):
    assert caption("limit=2") == 0
    assert len(server.asked) == 2
    assert [path.name for path in folder.iterdir()] == ["captions.jsonl"]
    assert f"biometrics: The biometrics of {server.images[0]}." in capsys.readouterr().out
    assert caption() == 0
    assert len(server.images) == 32  # the trial's answers count


def test_another_model_or_wording_is_asked_anew(caption, server, folder, monkeypatch):
    assert caption("limit=2") == 0
    assert caption("limit=2", "model=other") == 0
    assert [asked.model for asked in server.asked] == ["vlm"] * 2 + ["other"] * 2
    monkeypatch.setattr("benchmarks.captioning.describe.IMAGE_VERSION", "another")
    assert caption("limit=2") == 0
    assert len(server.asked) == 6


def test_people_are_summed_up_again_when_their_sentences_change(caption, server, folder):
    assert caption() == 0
    # Another model for the images, the same for the summaries, which says something else about other sentences.
    server.reply = lambda asked: (
        describing(asked) if asked.image is None else Reply(json.dumps(dict.fromkeys(ASPECTS, "other words")))
    )
    assert caption("model=new", "summary_model=vlm") == 0
    assert sum(asked.image is None for asked in server.asked) == 6
    assert json.loads((folder / FILES[0]).read_text()).popitem()[1] == ["other words"] * 6


def test_files_of_the_authors_are_not_overwritten(caption, server, data, folder, capsys):
    """The release's files took its authors days; `synthesize` writes the same names."""
    captions = data / "captions/LTCC_ReID"
    before = {path: path.read_bytes() for path in captions.rglob("*") if path.is_file()}
    assert caption(f"caption_folder={captions}") == 3
    assert "train_captions.json was not written by this verb" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in captions.rglob("*") if path.is_file()} == before
    assert not server.asked

    folder.mkdir()
    (folder / FILES[1]).write_text(json.dumps({"7": {"text": "tall", "ft_EVA02-CLIP-B-16-x": [[1.0]]}}))
    assert caption() == 3
    assert not server.asked


# --- refusal ---


def test_a_refusal_ends_the_work_with_the_servers_words(caption, server, folder, monkeypatch, capsys):
    monkeypatch.setenv("SECRET", "sk-123")
    server.reply = lambda asked: error(401, f"Incorrect API key\nprovided: {asked.key}.")
    assert caption("api_key_env=SECRET") == 3
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert said.startswith(f"{server.endpoint} answered 401 Unauthorized: Incorrect API key provided: …; name the")
    assert "api_key_env=VARIABLE" in said
    assert all(asked.key == "sk-123" for asked in server.asked)
    assert len(server.asked) <= 4  # those under way at once; none is repeated
    assert not folder.exists()


@pytest.mark.parametrize(
    ("status", "mend"), [(400, "missing=drop goes on without it"), (403, "api_key_env"), (404, "endpoint= should end")]
)
def test_other_refusals_too_and_what_was_answered_stays(caption, server, folder, status, mend, capsys):
    server.reply = lambda asked: describing(asked) if asked.number <= 5 else error(status, "no such thing")
    assert caption("parallel=1") == 3
    said = capsys.readouterr().err
    assert f"answered {status}" in said
    assert "no such thing" in said
    assert mend in said
    assert len(server.asked) == 6
    assert len(journal_keys(folder)) == 5


def test_a_refused_image_can_be_left_out(caption, server, folder, key_of, capsys):
    """Some servers refuse an image for its size or content, today and tomorrow: the others must not wait for it."""
    odd = sorted(key_of)[3]
    server.reply = lambda asked: (
        error(400, "image too small") if asked.image is not None and asked.look == odd else describing(asked)
    )
    assert caption("missing=drop") == 0
    assert server.images.count(odd) == 1
    assert (
        f"(first {key_of[odd]}: {server.endpoint} answered 400 Bad Request: image too small)" in capsys.readouterr().out
    )
    assert set(json.loads((folder / FILES[0]).read_text())) == set(key_of.values()) - {key_of[odd]}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_no_server_at_all(caption, folder, capsys):
    endpoint = f"http://127.0.0.1:{free_port()}/v1"
    assert caption(f"endpoint={endpoint}") == 3
    said = capsys.readouterr().err
    assert said == f"No connection to {endpoint} (Connection refused): start the server, or correct endpoint=.\n"
    assert not folder.exists()


def test_a_server_that_goes_away_ends_the_work(caption, server, folder, capsys):
    """Not image by image: every one of thousands would wait in vain."""

    def reply(asked: Asked) -> Reply:
        if asked.number == 4:
            server.stop()
        content = json.dumps(dict.fromkeys(ASPECTS, "Words."))
        return Reply(content, headers={"Connection": "close"})

    server.reply = reply
    assert caption("retries=2", "parallel=1") == 3
    said = capsys.readouterr().err
    assert "(Connection refused), 3 times in a row; start the server again, then the same command goes on." in said
    assert len(journal_keys(folder)) == 4


# --- what may pass ---


def once(server: ChatServer, reply: Reply) -> None:
    """The first request for each image gets `reply`, the others are answered."""
    seen: set[str] = set()

    def answer(asked: Asked) -> Reply:
        if asked.image is None or asked.look in seen:
            return describing(asked)
        seen.add(asked.look)
        return reply

    server.reply = answer


@pytest.mark.parametrize("status", [408, 500, 503])
def test_a_passing_failure_is_asked_again(caption, server, folder, status):
    once(server, error(status, "overloaded"))
    assert caption("limit=6") == 0
    assert set(Counter(server.images).values()) == {2}
    assert len(journal_keys(folder)) == 6


def test_too_many_requests_holds_everybody_for_as_long_as_the_server_says(caption, server):
    def reply(asked: Asked) -> Reply:
        return error(429, "slow down", Retry_After="1") if asked.number == 9 else describing(asked)

    server.reply = reply
    assert caption("parallel=4", "limit=24") == 0
    starts = [asked.at for asked in server.asked]
    # The request that was refused, at most three that were on their way, and then nothing for a second.
    pause = max(range(1, len(starts)), key=lambda n: starts[n] - starts[n - 1])
    assert 9 <= pause <= 12
    assert starts[pause] - starts[8] >= 0.95
    assert len(server.asked) == 24 + 1


def test_too_many_requests_again_and_again_ends_the_work(caption, server, folder, capsys):
    server.reply = lambda asked: error(429, "quota")
    assert caption("retries=1") == 3
    assert "429 Too Many Requests (quota), 2 times in a row; ask less often with a smaller" in capsys.readouterr().err
    assert len(server.asked) <= 8


def test_a_very_long_hold_ends_the_work(caption, server, capsys):
    date = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=1)
    server.reply = lambda asked: error(429, "daily quota", Retry_After=email.utils.format_datetime(date, usegmt=True))
    assert caption("parallel=1") == 3
    assert re.search(r"left alone for 86[34]\d\d s: give the same command again", capsys.readouterr().err)
    assert len(server.asked) == 1


def test_time_outs_are_asked_again_and_then_given_up(caption, server, folder, key_of, capsys):
    slow = sorted(key_of)[0]
    server.reply = lambda asked: (
        Reply("{}", delay=0.8) if asked.image is not None and asked.look == slow else describing(asked)
    )
    assert caption("timeout=0.3", "retries=2") == 3
    said = capsys.readouterr().err
    assert "1 of 32 images got no usable answer " in said
    assert f"(first {key_of[slow]}: no answer within 0.3 s, 3 times in a row)" in said
    assert server.images.count(slow) == 3
    assert len(journal_keys(folder)) == 31


# --- malformed answers ---

SIX = dict.fromkeys(ASPECTS, "Words.")
MALFORMED = {
    "a refusal in words": (Reply("I'm sorry, I cannot describe people."), "no JSON object with the keys biometrics"),
    "a missing key": (Reply(json.dumps(SIX | {"pose": "x"}).replace('"pose"', '"posture"')), '"pose" is missing'),
    "an empty sentence": (Reply(json.dumps(SIX | {"pose": " . "})), '"pose" holds no sentence'),
    "a list for a sentence": (Reply(json.dumps(SIX | {"pose": ["a", "b"]})), '"pose" holds no sentence'),
    "cut off in mid-object": (Reply(json.dumps(SIX)[:60], finish_reason="length"), "cut off at max_tokens"),
    "nothing": (Reply(content=None), "the answer is empty"),
    "no choices": (Reply(body=b'{"choices": []}'), "not a chat completion"),
    "a web page": (Reply(body=b"<html>it works</html>"), "not a chat completion (<html>it works</html>)"),
    "a JSON list": (Reply(body=b"[1]"), "not a chat completion"),
    "an error with status 200": (Reply(body=b'{"error": {"message": "out of memory"}}'), "(out of memory)"),
}


@pytest.mark.parametrize("kind", MALFORMED)
def test_a_malformed_answer_is_asked_again_and_the_model_told_what_was_wrong(caption, server, folder, kind):
    reply, problem = MALFORMED[kind]
    once(server, reply)
    assert caption("limit=3", "parallel=1") == 0
    first, again = server.asked[:2]
    assert "could not be used" not in first.words
    assert problem in again.words
    assert again.look == first.look
    assert len(server.asked) == 6
    assert len(journal_keys(folder)) == 3


def test_a_truncated_body_is_asked_again(caption, server, folder):
    once(server, Reply(json.dumps(SIX), cut=10))
    assert caption("limit=3") == 0
    assert len(server.asked) == 6
    assert len(journal_keys(folder)) == 3


def test_an_image_without_usable_answer_does_not_stop_the_others(caption, server, folder, key_of, capsys):
    odd = sorted(key_of)[3]
    server.reply = lambda asked: Reply("No.") if asked.image is not None and asked.look == odd else describing(asked)
    assert caption("retries=1") == 3
    said = capsys.readouterr().err
    assert f"1 of 32 images got no usable answer (first {key_of[odd]}: it holds no JSON object" in said
    assert "the same command asks again for these, and missing=drop leaves them out" in said
    assert not [name for name in FILES if (folder / name).exists()]
    failures = [json.loads(line) for line in (folder / "captions.jsonl").read_text().splitlines()]
    assert [line["key"] for line in failures if line["kind"] == "failed"] == [key_of[odd]]

    assert caption("retries=1", "missing=drop") == 0
    assert server.images.count(odd) == 4
    assert len(server.images) == 31 + 4
    assert set(json.loads((folder / FILES[0]).read_text())) == set(key_of.values()) - {key_of[odd]}

    server.reply = describing
    assert caption() == 0  # complete now; the files of the last time are replaced
    assert server.images.count(odd) == 5
    assert set(json.loads((folder / FILES[0]).read_text())) == set(key_of.values())


def test_a_person_without_usable_summary_is_reported(caption, server, folder, capsys):
    refused: list[str] = []

    def reply(asked: Asked) -> Reply:
        if asked.image is None and not refused:
            refused.append(asked.words)
        return Reply("No.") if asked.words in refused else describing(asked)

    server.reply = reply
    assert caption("retries=0", "parallel=1") == 3
    assert "1 of 3 people got no usable answer (first 0: " in capsys.readouterr().err
    assert not [name for name in FILES if (folder / name).exists()]
    assert caption("retries=0", "missing=drop") == 0
    assert set(json.loads((folder / FILES[1]).read_text())) == {"1", "2"}
    assert len(server.asked) == 32 + 3 + 1


def test_a_model_that_never_answers_usably_is_given_up(caption, server, capsys):
    """A wrong model must not cost a request for each of thousands of images."""
    server.reply = lambda asked: Reply("I see a person.")
    assert caption("retries=0", "parallel=1") == 3
    assert "no usable answer to 20 questions in a row" in capsys.readouterr().err
    assert len(server.asked) == 20


@pytest.mark.parametrize(
    "answer",
    [
        "```json\n{}\n```",
        "Here is the description you asked for:\n{}\nLet me know { if } you need more.",
        '<think>A draft: {{"biometrics": "no"}}</think>{}',
    ],
)
def test_the_object_is_found_in_fences_and_text(answer):
    written = {aspect.title(): f"Words on\n {aspect}." for aspect in ASPECTS} | {"confidence": 1}
    found = read_description(answer.replace("{{", "{").replace("}}", "}").replace("{}", json.dumps(written)))
    assert found == tuple(f"Words on {aspect}." for aspect in ASPECTS)


def test_half_a_surrogate_does_not_reach_the_files():
    assert read_object('{"summary": "A \\ud800 person."}', keys=("summary",)) == ("A ? person.",)


@pytest.mark.parametrize("answer", ["{" * 40_000, '{"a": ' * 8_000, '{"' * 10_000_000])
def test_a_runaway_answer_is_refused_quickly(answer):
    """A model that repeats itself, or a server that is none: no deep recursion, no long search."""
    started = time.monotonic()
    with pytest.raises(UnusableAnswerError):
        read_object(answer, keys=("summary",))
    assert time.monotonic() - started < 3


def test_a_summary_of_very_many_sentences_takes_some_from_everywhere():
    asked = summary_question([f"Sentence {n}." for n in range(1000)])
    taken = [int(line.split()[2].rstrip(".")) for line in asked.splitlines() if line.startswith("- ")]
    assert len(taken) == SENTENCES_PER_SUMMARY
    assert taken[0] == 0
    assert taken[-1] == 999
    assert set(np.diff(taken)) <= {20, 21}


# --- broken off ---


def start(words: list[str], server: ChatServer) -> subprocess.Popen:
    command = [sys.executable, "run.py", "caption", f"endpoint={server.endpoint}", *words]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_a_killed_run_is_taken_up_where_it_was(caption, words, server, folder, key_of):
    """Nothing that was answered is asked again, though the process had no time to say goodbye."""
    block = threading.Event()

    def reply(asked: Asked) -> Reply:
        if asked.number > 12:
            block.wait(30)
        return describing(asked)

    server.reply = reply
    process = start(words, server)
    try:
        wait_until(lambda: len(journal_keys(folder)) == 12 and len(server.asked) == 16)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    finally:
        process.kill()
        process.communicate()
        block.set()
    kept = journal_keys(folder)
    with (folder / "captions.jsonl").open("a") as journal:
        journal.write('{"kind": "image", "split": "train", "key": "000_1')  # killed while it wrote
    assert not [name for name in FILES if (folder / name).exists()]

    before = len(server.asked)
    assert caption() == 0
    asked_again = [key_of[asked.look] for asked in server.asked[before:] if asked.image is not None]
    assert not set(asked_again) & set(kept)
    assert sorted(asked_again) == sorted(set(key_of.values()) - set(kept))
    assert len(json.loads((folder / FILES[0]).read_text())) == 32
    assert sorted(journal_keys(folder)) == sorted(key_of.values())  # the half line is gone


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_keeps_every_answer_and_exits_75(caption, server, folder, key_of, number, capsys):
    """What the server is working on comes back and is kept, too; what waits for its turn is not asked any more."""

    def reply(asked: Asked) -> Reply:
        if asked.number == 8:
            os.kill(os.getpid(), number)
        return Reply(describing(asked).content, delay=0.1)

    server.reply = reply
    assert caption() == 75
    said = capsys.readouterr().err
    assert said == f"Stopped by {number.name}: the same command goes on where it stopped.\n"
    assert len(server.asked) <= 8 + 3
    assert len(server.answered) == len(server.asked)
    assert sorted(journal_keys(folder)) == sorted(key_of[asked.look] for asked in server.answered)
    server.reply = describing
    assert caption() == 0
    assert sorted(key_of[look] for look in server.images) == sorted(key_of.values())


def test_a_second_signal_does_not_wait_for_the_server(caption, server, folder):
    wait = threading.Event()

    def reply(asked: Asked) -> Reply:
        if asked.number == 6:
            for _ in range(2):
                os.kill(os.getpid(), signal.SIGTERM)
                time.sleep(0.3)
        if asked.number > 4:
            wait.wait(20)
        return describing(asked)

    server.reply = reply
    started = time.monotonic()
    assert caption("parallel=2") == 75
    assert time.monotonic() - started < 8  # less than the ten seconds of grace
    wait.set()
    assert len(journal_keys(folder)) == 4


def test_a_damaged_line_is_named(caption, server, folder, capsys):
    folder.mkdir()
    (folder / "captions.jsonl").write_text('{"kind": "image"}\n')
    assert caption() == 3
    assert "Line 1 of" in capsys.readouterr().err
    assert not server.asked


def test_two_processes_do_not_write_one_journal(caption, folder, capsys):
    with CaptionJournal(folder) as other:
        other.keep("image", "train", "key", "vlm", IMAGE_VERSION, SIX.values())
        assert caption() == 3
    assert "Another process is writing" in capsys.readouterr().err


# --- the rate ---


def test_the_rate_limit_on_a_clock_of_its_own():
    """Ten workers, 30 a minute: a start every 2 s, in the order of arrival, and none while the server wants peace."""
    now, starts = 0.0, []

    async def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds
        await asyncio.sleep(0)

    async def work(limit: RateLimit, worker: int) -> None:
        await limit.turn()
        starts.append((worker, now))
        if worker == 4:
            limit.hold(60)

    async def together() -> None:
        limit = RateLimit(30, clock=lambda: now, sleep=sleep)
        await asyncio.gather(*(work(limit, worker) for worker in range(10)))

    asyncio.run(together())
    assert starts == [(n, 2.0 * n) for n in range(5)] + [(n, 68.0 + 2 * (n - 5)) for n in range(5, 10)]


def test_no_burst_after_a_pause():
    now = 0.0
    limit = RateLimit(60, clock=lambda: now, sleep=asyncio.sleep)

    async def second_turn() -> None:
        nonlocal now
        await limit.turn()
        now = 1000.0
        await limit.turn()
        waiting = asyncio.create_task(limit.turn())
        await asyncio.sleep(0.05)
        assert not waiting.done()
        waiting.cancel()

    asyncio.run(second_turn())


def test_the_server_sees_no_more_requests_than_allowed(caption, server):
    """Slow answers, many workers, repetitions: all starts count."""
    once(server, Reply(error(500, "x").encoded().decode(), status=500, delay=0.05))
    assert caption("per_minute=1800", "parallel=16", "limit=12", "backoff=0") == 0
    starts = [asked.at for asked in server.asked]
    assert len(starts) == 24
    assert starts[-1] - starts[0] >= 23 * 60 / 1800 - 0.02  # the last may have been quicker on its way than the first
    assert max(len([1 for other in starts if start <= other < start + 0.5]) for start in starts) <= 16


# --- options ---


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("per_minut=3", "Unknown key per_minut (command line). Did you mean per_minute?"),
        ("per_minute=0", "per_minute=0: Input should be greater than 0. It is: Most requests started in a minute"),
        ("endpoint=127.0.0.1:8000", "is not an address"),
        ("endpoint=ftp://127.0.0.1/v1", "is not an address"),
        ("endpoint=http://[::1", "is not an address"),
        ("api_key_env=NOWHERE", "api_key_env=NOWHERE: there is no such environment variable"),
        ("split=night", "no split night"),
    ],
)
def test_a_wrong_option_is_named_before_anything_is_asked(caption, server, folder, word, message, capsys):
    assert caption(word) == 2
    assert message in capsys.readouterr().err
    assert not server.asked
    assert not folder.exists()


def test_a_missing_option_is_explained(words, capsys):
    assert run.main(["caption", *words]) == 2
    assert "endpoint= is missing. It is: Address up to the version, such as http" in capsys.readouterr().err


def test_addresses():
    """What people paste ends up at one place; a password in it is not repeated in messages."""
    for given in ("http://h:1/v1", "http://h:1/v1/", "http://h:1/v1/chat/completions", "http://me:secret@h:1/v1#top"):
        assert ChatEndpoint(EndpointConfig(endpoint=given)).address == "http://h:1/v1"
    assert ChatEndpoint(EndpointConfig(endpoint="http://localhost:1/v1")).local
    assert not ChatEndpoint(EndpointConfig(endpoint="https://api.example.org/v1")).local
    with pytest.raises(UsageError):
        ChatEndpoint(EndpointConfig(endpoint="api.example.org"))


def test_images_that_leave_the_machine_are_announced_with_the_terms(caption, server, monkeypatch, capsys):
    for variable in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    assert caption("limit=1") == 0
    assert "Terms of" not in capsys.readouterr().out
    elsewhere = server.endpoint.replace("127.0.0.1", "0.0.0.0")  # this machine under a name that says nothing about it
    assert caption("limit=2", f"endpoint={elsewhere}", "quiet=true") == 0
    assert f"warning: images are sent to {elsewhere}. Terms of LTCC: Handed out by e-mail" in capsys.readouterr().out


def test_a_proxy_is_not_asked_for_this_machine(caption, server, monkeypatch):
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    assert caption("limit=1") == 0


# --- encode ---


@pytest.fixture
def encode(data: Path, folder: Path) -> Callable[..., int]:
    def start(*more: str) -> int:
        return run.main(["encode", "dataset=ltcc", f"data={data}", f"caption_folder={folder}", "device=cpu", *more])

    return start


def write(folder: Path, captions: object, summaries: object) -> None:
    folder.mkdir(exist_ok=True)
    for name, content in zip(FILES, (captions, summaries), strict=True):
        if content is not None:
            (folder / name).write_text(content if isinstance(content, str) else json.dumps(content))


def test_encode_reads_what_synthesize_wrote(data, dataset, tmp_path):
    """Its own features of the same sentences come out."""
    copy = tmp_path / "data"
    shutil.copytree(data, copy)
    assert run.main(["encode", "dataset=ltcc", f"data={copy}", "text_model=hashing-512", "device=cpu"]) == 0
    config = CaptionConfig(text_model="hashing-512", summary=True)
    samples = dataset.split("train")
    ours, theirs = (caption_features(dataset, samples, config, root / "captions/LTCC_ReID") for root in (copy, data))
    np.testing.assert_allclose(ours.features, theirs.features, atol=1e-6)
    np.testing.assert_allclose(ours.summary, theirs.summary, atol=1e-6)


SIXES = {"000_1_c1_000000": ["Words."] * 6}
SUMMARY = {"0": {"text": "Tall."}}


@pytest.mark.parametrize(
    ("captions", "summaries", "message"),
    [
        (None, SUMMARY, "train_captions.json is missing: make it with `run.py caption`"),
        (SIXES, None, "train_caption_summary_biometric.json is missing: make it with `run.py caption`"),
        ("{", SUMMARY, "train_captions.json is not valid JSON"),
        ({}, SUMMARY, "train_captions.json is not"),
        ({"a": ["one"]}, SUMMARY, "first wrong entry: a"),
        ({"a": ["x"] * 5 + [""]}, SUMMARY, "first wrong entry: a"),
        (SIXES, [1], "train_caption_summary_biometric.json is not"),
        (SIXES, {"0": {"ft_x": [[1]]}}, "first wrong entry: 0"),
        (SIXES, {"p0": {"text": "Tall."}}, "first wrong entry: p0"),
        ({"other": ["Words."] * 6}, SUMMARY, "names none of the training images of ltcc (first: 000_1_c1_000000)"),
    ],
)
def test_unfit_text_files_are_named_and_nothing_is_written(encode, folder, captions, summaries, message, capsys):
    write(folder, captions, summaries)
    assert encode("text_model=hashing-8") == 3
    assert message in capsys.readouterr().err
    assert not list(folder.rglob("*.npz"))


def test_incomplete_text_is_encoded_and_the_gaps_are_counted(encode, folder, capsys):
    write(folder, SIXES, SUMMARY)
    assert encode("text_model=hashing-8") == 0
    out = capsys.readouterr().out
    assert "31 of 32 training images have no captions." in out
    assert "2 of 3 people have no summary." in out


@pytest.mark.slow
def test_encode_with_a_text_tower(encode, folder, dataset, tmp_path, monkeypatch, capsys):
    """A tiny tower from a weight file, in several batches: each sentence's features are open_clip's."""
    open_clip = pytest.importorskip("open_clip")
    size = {"image_size": 32, "layers": 1, "width": 64, "patch_size": 16}
    text = {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2}
    config = {"embed_dim": 24, "vision_cfg": size, "text_cfg": text, "custom_text": True}
    (tmp_path / "tiny-tower.json").write_text(json.dumps(config))
    open_clip.add_model_config(tmp_path / "tiny-tower.json")
    monkeypatch.setitem(OPEN_CLIP_NAMES, "tiny", "tiny-tower")
    torch.manual_seed(0)
    model = open_clip.create_model("tiny-tower").eval()
    torch.save(model.state_dict(), tmp_path / "weights.pt")

    samples = dataset.split("train")
    keys = [dataset.caption_key(path) for path in samples.paths]
    captions = {key: [f"{aspect} of number {n}" for aspect in ASPECTS] for n, key in enumerate(keys)}
    write(folder, captions, {str(person): {"text": f"person {person}"} for person in set(samples.person.tolist())})
    assert encode("text_model=tiny", f"weights_file={tmp_path / 'weights.pt'}") == 0
    assert "encoding sentences: 195 of 195" in capsys.readouterr().out
    read = caption_features(dataset, samples, CaptionConfig(text_model="tiny", summary=True), folder)
    with torch.inference_mode():
        tokens = open_clip.get_tokenizer("tiny-tower")([*captions[keys[17]], f"person {samples.person[17]}"])
        expected = model.encode_text(tokens).numpy()
    np.testing.assert_allclose(read.features[17], expected[:6], atol=1e-5)
    np.testing.assert_allclose(read.summary[17], expected[6], atol=1e-5)
