"""The real app as a process, and the small desk it runs on."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterable
from io import BytesIO
from pathlib import Path
from typing import Self

from PIL import Image, ImageDraw

from db import people
from db.cases import NewCase, NewEvidence, NewImage, NewOpinion, add_cases
from db.engine import write_session
from db.passwords import hash_password
from db.vocabulary import Answer, Element, EvidenceKind, Role
from db.worth import Order, change_order
from ooc_app.auth import now
from ooc_app.desk import Desk
from ooc_app.intake.images import admit

PROJECT_DIR = Path(__file__).resolve().parents[2]
SECONDS_TO_START = 60
PICTURES = 40  # different ones; making one takes longer than all else of a case
PASSWORD = "flood tower quay"
HOSTILE = "<img src=x onerror=\"document.title='broken'\"> of Halden & {{value}} ${value}"


class RunningApp:
    """`python app.py` on one data folder and one port; it can be killed and started again."""

    def __init__(self, data_dir: Path, mode: str = "desk") -> None:
        self.data_dir = data_dir
        self.mode = mode
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self.url = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.kill()

    def start(self) -> None:
        """Start the app and wait until the page answers."""
        command = [
            sys.executable,
            "app.py",
            "--data",
            str(self.data_dir),
            "--port",
            str(self.port),
            "--empty",
            "--mode",
            self.mode,
        ]
        log = (self.data_dir.parent / "app.log").open("ab")
        with log:
            self.process = subprocess.Popen(command, cwd=PROJECT_DIR, stdout=log, stderr=log, env=os.environ)
        until = time.monotonic() + SECONDS_TO_START
        while time.monotonic() < until:
            if self.process.poll() is not None:
                break
            try:
                urllib.request.urlopen(self.url, timeout=5).close()
                return
            except urllib.error.URLError:
                time.sleep(0.1)
        raise RuntimeError((self.data_dir.parent / "app.log").read_text(errors="replace"))

    def kill(self) -> None:
        """Kill the app as a power cut would."""
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait(30)
            self.process = None


def drawn_picture(number: int) -> bytes:
    """A small picture with its number on it."""
    picture = Image.new("RGB", (480, 320), (40 + number * 31 % 180, 110, 160))
    ImageDraw.Draw(picture).rectangle((60, 220, 60 + 7 * number, 300), fill=(230, 220, 190))
    file = BytesIO()
    picture.save(file, "JPEG")
    return file.getvalue()


def stored_picture(desk: Desk, number: int) -> NewImage:
    """Put a picture into the desk's data folder."""
    image = admit(drawn_picture(number), desk.images_dir)
    return NewImage(image.sha256, image.format, image.width, image.height, image.byte_size)


def add_conflicts(desk: Desk, count: int) -> None:
    """Put conflicts on the desk, all of them hostile; case 1 is about Town 1, and they come in order."""
    pictures = [stored_picture(desk, number) for number in range(min(count, PICTURES))]
    records = []
    for number in range(1, count + 1):
        town = f"Town {number}"
        records.append(
            NewCase(
                f"case-{number}",
                f"Flood water covers the market square of {town}. {HOSTILE}",
                pictures[number % len(pictures)],
                date="12 March 2021",
                place=town,
                evidence=(NewEvidence(EvidenceKind.IMAGE, "A report", text=HOSTILE),),
                opinions=(
                    NewOpinion("Teacher One", Answer.OUT_OF_CONTEXT, f"Not {town}: {HOSTILE}", 0.82),
                    NewOpinion("Teacher Two", Answer.IN_CONTEXT, f"All of it fits {town}.", 0.64),
                    NewOpinion("Teacher Three", Answer.OUT_OF_CONTEXT, f"Another year than in {town}."),
                ),
            )
        )
    with write_session(desk.sessions) as session:
        add_cases(session, "test", records)


def add_odd_cases(
    desk: Desk, captions: Iterable[str], rationale: str, evidence: str, dataset: str = "plain"
) -> None:
    """Put a conflict of four teachers on the desk for each caption, in this order."""
    picture = stored_picture(desk, 5)
    found = (
        NewEvidence(
            EvidenceKind.IMAGE, evidence, "javascript:document.title='broken'", "2019-04-15", evidence
        ),
        NewEvidence(EvidenceKind.CAPTION, "A report", "https://wire.example/report", None, "As it was."),
    )
    said = (Answer.OUT_OF_CONTEXT, Answer.IN_CONTEXT, Answer.OUT_OF_CONTEXT, Answer.IN_CONTEXT)
    teachers = ("Teacher One", "Teacher Two", "Teacher Three", "Teacher Four")
    opinions = tuple(
        NewOpinion(name, verdict, rationale, 0.7, (Element.PLACE, Element.TIME))
        for name, verdict in zip(teachers, said, strict=True)
    )
    records = [
        NewCase(f"odd-{n}", caption, picture, date="2021-03-12", place="\u202eHalden", source="wire.example",
                evidence=found, opinions=opinions)
        for n, caption in enumerate(captions)
    ]  # fmt: skip
    with write_session(desk.sessions) as session:
        add_cases(session, dataset, records)


def add_people(desk: Desk, second_opinions: float, **roles: Role) -> None:
    """Let people sign in with PASSWORD, and say how many of the cases added from now on two rule on."""
    kept = hash_password(PASSWORD)
    with write_session(desk.sessions) as session:
        change_order(session, Order(second_opinions=second_opinions), None, now())
        for name, role in roles.items():
            people.add_person(session, None, name, role, kept, now())
