"""A verdict from one forward pass against `generate()` of the whole answer: same student, prompts, thread.

Both begin with pictures that are decoded and shrunk, so the processor's work counts for both. The bare
prefill is the model alone on inputs that are ready. Times are seconds of processor time on one thread,
medians, the three taken in turns; checks by clients are wall-clock seconds on the machine's own threads.
The shipped student ends its answers itself; one with drawn weights never does, so its answer is as long as
a rationale may be.
"""

import argparse
import random
import statistics
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # a script finds its own folder only

import torch
from PIL import Image

from benchmarks.report import Figure, figure, percentile, show
from benchmarks.stages import LARGE, MODELS, llava, smolvlm
from db.vocabulary import Verdict
from ooc_app.desk import open_desk
from ooc_app.serving import Serving
from training import drawing, world
from training.base import load_base
from training.pictures import shrink
from training.prompts import parse_answer
from training.records import CaseInput
from training.student import Student

SHIPPED = Path(__file__).resolve().parents[1] / "assets/demo-run"
LONGEST = 160
"""Tokens of the longest answer, what `Student.rationale` allows."""
GOALS = {1: ">= 10", 8: ">= 4"}
CLIENTS, CHECKS = 10, 100
ROUNDS = 15


def main() -> None:
    """Measure each student and print its figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--large", action="store_true", help="measure SmolVLM-256M's shape too; takes long")
    given = parser.parse_args()
    warnings.filterwarnings("ignore", ".*_checkpointing", FutureWarning)
    figures = list(_checks_at_once())
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        figures += _figures("tiny student", Student.load(str(SHIPPED)), ROUNDS)
        figures += _figures(MODELS[1].name, _made(llava(Path(folder, "llava"))), 5)
        if given.large:
            figures += _figures(LARGE[0].name, _made(smolvlm(Path(folder, "smolvlm"))), 3)
    show("verdict", ("torch", "transformers"), figures, as_json=given.json)


def _made(source: Path) -> Student:
    """Load a student with drawn weights; one that would end its answer at random never ends it."""
    model, processor = load_base(str(source), "float32")
    return Student(model, processor, name=str(source))


def _figures(name: str, student: Student, rounds: int) -> Iterator[Figure]:
    """Yield the figures of batches of 1 and 8, then those of one check step by step."""
    ends_itself = name == "tiny student"
    for batch, goal in GOALS.items():
        pictures, cases = _questions(batch, student.edge)
        inputs, (_, out_of_context) = student._inputs(pictures, cases)

        def prefill(inputs: dict[str, Any] = inputs) -> None:
            with torch.inference_mode():
                student.model(**inputs, logits_to_keep=1)

        def verdict(pictures: list[Image.Image] = pictures, cases: list[CaseInput] = cases) -> list[bool]:
            return [one.margin >= 0 for one in student.read(student.see(pictures), cases)]

        sights = student.see(pictures)

        def again(sights: list[Any] = sights, cases: list[CaseInput] = cases) -> list[bool]:
            return [one.margin >= 0 for one in student.read(sights, cases)]

        def whole(pictures: list[Image.Image] = pictures, cases: list[CaseInput] = cases) -> torch.Tensor:
            return _generated(student, pictures, cases, ends_itself=ends_itself)

        bare, ours, kept = _in_turns((prefill, verdict, again), rounds)
        said, theirs = _whole(whole, max(1, rounds // 4))
        first = said[:, 0].tolist()
        equal = [token == out_of_context for token in first] == verdict() if ends_itself else None
        what = f"{name}, batch {batch}"
        yield figure(f"{what}, verdict", ours * 1000, "ms")
        yield figure(f"{what}, verdicts", batch / ours, "1/s")
        yield figure(f"{what}, bare prefill", bare * 1000, "ms")
        yield figure(f"{what}, generate() of the whole answer", theirs * 1000, "ms")
        yield figure(f"{what}, tokens of the longest answer", said.shape[1], "tokens")
        yield figure(f"{what}, generate() over verdict", theirs / ours, "x", goal)
        yield figure(f"{what}, verdict over bare prefill", ours / bare, "x", "<= 1.3")
        yield figure(f"{what}, verdict of pictures seen before over bare prefill", kept / bare, "x")
        if equal is not None:
            yield figure(f"{what}, verdicts equal to those generated", float(equal), "", "= 1")
    if ends_itself:  # what drawn weights write is no word
        yield from _first_word(name, student, rounds)


def _first_word(name: str, student: Student, rounds: int) -> Iterator[Figure]:
    """Yield when the first word of the rationale is there, gone on from the verdict and read anew."""
    pictures, cases = _questions(1, student.edge)
    begun = student.read(student.see(pictures), cases)[0]

    def goes_on() -> None:
        next(student.write(begun, Verdict.OUT_OF_CONTEXT), None)

    def anew() -> None:
        next(student.rationale(pictures[0], cases[0], Verdict.OUT_OF_CONTEXT), None)

    after, both = _in_turns((goes_on, anew), rounds)
    yield figure(f"{name}, first word of the rationale after the verdict", after * 1000, "ms")
    yield figure(f"{name}, first word, prompt read anew", both * 1000, "ms")


def _generated(
    student: Student, pictures: Sequence[Image.Image], cases: Sequence[CaseInput], *, ends_itself: bool
) -> torch.Tensor:
    """Return the tokens of whole answers, (B, T), as transformers generates them at its defaults."""
    inputs = student.encoded(pictures, cases).to(student.model.device, student.model.dtype)
    fixed = {} if ends_itself else {"min_new_tokens": LONGEST}
    with torch.inference_mode():
        said = student.model.generate(**inputs, max_new_tokens=LONGEST, do_sample=False, **fixed)
    answers: torch.Tensor = said[:, inputs["input_ids"].shape[1] :]
    if ends_itself:
        texts = student.processor.batch_decode(answers, skip_special_tokens=True)
        if any(parse_answer(text).verdict.value == "unsure" for text in texts):
            raise ValueError(f"An answer names no verdict: {texts}")
    return answers


def _whole(work: Callable[[], torch.Tensor], times: int) -> tuple[torch.Tensor, float]:
    """Return what whole answers came to, and the median seconds of processor time they took."""
    taken = []
    for _ in range(times):
        began = time.process_time()
        said = work()
        taken.append(time.process_time() - began)
    return said, statistics.median(taken)


def _in_turns(works: Sequence[Callable[[], Any]], rounds: int) -> list[float]:
    """Return the median seconds of processor time of each piece of work, done in turns."""
    taken: list[list[float]] = [[] for _ in works]
    for number in range(rounds + 1):
        for seconds, work in zip(taken, works, strict=True):
            began = time.process_time()
            work()
            if number:  # the first round warms up
                seconds.append(time.process_time() - began)
    return [statistics.median(seconds) for seconds in taken]


def _questions(count: int, edge: int) -> tuple[list[Image.Image], list[CaseInput]]:
    """Draw cases of the demo world as they come off a desk, a picture each."""
    rng = random.Random(0)
    pictures = [
        shrink(drawing.draw(world.sample_scene(rng), seed, height=480, supersample=1), edge)
        for seed in range(count)
    ]
    said = [world.caption(world.sample_scene(rng), world.sample_dateline(rng), rng) for _ in range(count)]
    return pictures, [CaseInput("", "", caption) for caption in said]


def _checks_at_once() -> Iterator[Figure]:
    """Yield how 10 clients that check 100 pictures fare against one, each picture new to the student."""
    with tempfile.TemporaryDirectory() as folder, open_desk(Path(folder, "data")) as desk:
        serving = Serving(desk)
        rng = random.Random(1)
        paths = [Path(folder, f"{number}.jpg") for number in range(2 * CHECKS)]
        for seed, path in enumerate(paths):
            drawn = drawing.draw(world.sample_scene(rng), seed, height=480, supersample=1)
            drawn.save(path, "JPEG", quality=90)
        serving.check(paths[0], "A market by the castle.")
        alone = [_timed(serving, path) for path in paths[:CHECKS]]
        began = time.perf_counter()
        together, errors = _by_clients(serving, paths[CHECKS:])
        seconds = time.perf_counter() - began
        serving.close()
    single, crowded = percentile(alone, 0.5), percentile(together, 0.95)
    yield figure("checks, one client, p50", single and single * 1000, "ms")
    yield figure(f"checks, {CLIENTS} clients, p95", crowded and crowded * 1000, "ms")
    yield figure(
        f"checks, {CLIENTS} clients, p95 over one client's p50",
        crowded / single if crowded and single else None,
        "x",
    )
    yield figure(f"checks, {CLIENTS} clients", CHECKS / seconds, "1/s")
    yield figure("checks, one client", CHECKS / sum(alone), "1/s")
    yield figure(f"checks, {CLIENTS} clients, errors", len(errors), "", "= 0")


def _by_clients(serving: Serving, paths: Sequence[Path]) -> tuple[list[float], list[Exception]]:
    """Check every picture from `CLIENTS` threads at once; return the seconds of each and what failed."""
    taken: list[float] = []
    errors: list[Exception] = []

    def client(own: Sequence[Path]) -> None:
        for path in own:
            try:
                taken.append(_timed(serving, path))
            except Exception as error:  # what failed is counted, and the others go on
                errors.append(error)

    threads = [threading.Thread(target=client, args=(paths[start::CLIENTS],)) for start in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return taken, errors


def _timed(serving: Serving, path: Path) -> float:
    began = time.perf_counter()
    serving.check(path, "A market by the castle in Norvik.")
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
