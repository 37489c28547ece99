"""Asking a teacher about a desk's cases, against a client that asks and throws the answers away.

The server takes a second for an answer and 32 questions at once. The client is the `openai` package with a
semaphore, as its documentation shows it, each question and picture made beforehand; the desk finds the
cases, shrinks the pictures, reads the answers, watches them and keeps each before its worker asks the next.
Memory is the peak of a fresh process, of a short run and of a long one.

python benchmarks/teach.py [--cases N] [--long N] [--seconds S] [--json]
"""

import argparse
import asyncio
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from math import ceil
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # a script finds its own folder only

from openai import AsyncOpenAI
from PIL import Image

from benchmarks.processes import free_port, in_child, server
from benchmarks.report import compared, figure, show
from db.cases import NewCase, NewImage, add_cases
from db.engine import write_session
from ooc_app.desk import open_desk
from ooc_app.intake.images import admit, shown_copy
from ooc_app.teaching import Asking, teach_desk
from training.records import CaseInput
from training.teacher_endpoint import data_url
from training.teacher_question import teacher_question
from training.teacher_watch import TeacherWatch
from training.teachers import TeacherConfig

AT_ONCE = 32
PICTURES = 20  # shared by all cases
EDGE = (1_280, 960)
BATCH = 500
SHORT = 1_000  # cases of the run whose memory the long one's is compared with


def main() -> None:
    """Ask both ways and print how long each took."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=500)
    parser.add_argument(
        "--long", type=int, default=5_000, help="cases of the run that memory is looked at in"
    )
    parser.add_argument("--seconds", type=float, default=1.0, help="that the server takes for an answer")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    ideal = ceil(given.cases / AT_ONCE) * given.seconds
    with tempfile.TemporaryDirectory() as folder:
        with _server(Path(folder), given.seconds) as address:
            client = asyncio.run(_bare(Path(folder), address, given.cases))
            desk, _ = in_child(_desk, Path(folder) / "desk", address, given.cases)
        with _server(Path(folder), 0.0) as address:
            peaks = [
                in_child(_desk, Path(folder) / name, address, cases)[1]
                for name, cases in (("short", min(SHORT, given.long)), ("long", given.long))
            ]
    figures = [
        compared(f"{given.cases} cases", desk, client, "s", more_is_better=False),
        figure("over the ideal", desk / ideal, "x", "<= 1.15"),
        figure("the bare client over the ideal", client / ideal, "x"),
        figure(f"peak memory, {min(SHORT, given.long)} cases", peaks[0], "MiB"),
        figure(f"peak memory, {given.long} cases", peaks[1], "MiB"),
        figure("memory, long over short", peaks[1] / peaks[0], "x", "<= 1.1"),
    ]
    show("teach", ("openai", "sqlalchemy"), figures, as_json=given.json)


@contextmanager
def _server(folder: Path, seconds: float) -> Iterator[str]:
    """Give the address of a server that answers while the block runs."""
    port = free_port()
    script = Path(__file__).with_name("teach_server.py")
    command = [sys.executable, str(script), str(port), str(seconds), str(AT_ONCE)]
    address = f"http://127.0.0.1:{port}/v1"
    with server(command, folder / "server.log", answers=f"{address}/models"):
        yield address


async def _bare(folder: Path, address: str, cases: int) -> float:
    """Ask with the client alone, at most `AT_ONCE` at a time; return the seconds."""
    pictures = []
    for number in range(PICTURES):
        path = folder / f"{number}.jpg"
        path.write_bytes(_picture(number))
        pictures.append(data_url(path, 1_024))
    places = asyncio.Semaphore(AT_ONCE)
    async with AsyncOpenAI(base_url=address, api_key="none", max_retries=0) as client:

        async def ask(number: int) -> None:
            text = teacher_question(CaseInput(str(number), "", f"The market square, {number}."))
            content = [
                {"type": "image_url", "image_url": {"url": pictures[number % PICTURES]}},
                {"type": "text", "text": text},
            ]
            async with places:
                await client.chat.completions.create(
                    model="steady",
                    messages=[{"role": "user", "content": content}],  # type: ignore[misc,list-item]
                    max_tokens=400,
                )

        began = time.monotonic()
        await asyncio.gather(*(ask(number) for number in range(cases)))
        return time.monotonic() - began


def _desk(folder: Path, address: str, cases: int) -> float:
    """Make a desk of so many cases and ask about them all; return the seconds of asking."""
    config = TeacherConfig("steady", "endpoint", "steady", base_url=address, concurrency=AT_ONCE)
    with open_desk(folder) as desk:
        images = []
        for number in range(PICTURES):
            image = admit(_picture(number), desk.images_dir)
            shown_copy(image.sha256, desk.images_dir)
            images.append(NewImage(image.sha256, image.format, image.width, image.height, image.byte_size))
        for first in range(0, cases, BATCH):
            numbers = range(first, min(first + BATCH, cases))
            some = [NewCase(str(n), f"The market square, {n}.", images[n % PICTURES]) for n in numbers]
            with write_session(desk.sessions) as session:
                add_cases(session, "made", some)
        began = time.monotonic()
        taught = teach_desk(
            desk, Asking(config), {}, None, watch=TeacherWatch(go_on=True), stop=threading.Event()
        )
        seconds = time.monotonic() - began
    if taught.ended.kept != cases:
        raise RuntimeError(f"{taught.ended.kept} of {cases} opinions were kept: {taught}")
    return seconds


def _picture(number: int) -> bytes:
    """Draw a picture that compresses as a photograph does."""
    noise = Image.effect_noise(EDGE, 30).convert("RGB")
    shade = Image.linear_gradient("L").resize(EDGE).rotate(18 * number).convert("RGB")
    written = BytesIO()
    Image.blend(noise, shade, 0.7).save(written, "JPEG", quality=85)
    return written.getvalue()


if __name__ == "__main__":
    main()
