"""A run against a server that others wrote: `transformers serve` with the shipped student, over loopback."""

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from db.vocabulary import Answer
from tests.training.student_server import student_server
from training import drawing, world
from training.config import PROJECT_DIR
from training.records import CaseInput
from training.teacher_watch import TeacherWatch
from training.teachers import Asked, TeacherConfig, open_teacher
from training.teaching import Ended, Limits, Opined, Why, teach

STUDENT = PROJECT_DIR / "assets" / "student"
WORDS = 40  # tokens; what a student that was never asked for JSON says instead is short


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Give the address of the served student."""
    with student_server(STUDENT, tmp_path_factory.mktemp("served") / "log.txt") as url:
        yield url


def cases(folder: Path, count: int) -> list[Asked]:
    """Give cases of the demo world with their pictures."""
    asked = []
    for case in world.build_cases(0, train=count, validation=0, test=0):
        path = folder / f"{case.group}.jpg"
        drawing.draw(case.scene, case.picture_seed, height=96, supersample=1).save(path, "JPEG")
        told = CaseInput(case.id, "", case.caption, case.dateline.date, case.dateline.town)
        asked.append(Asked(told, path))
    return asked


def said(config: TeacherConfig, asked: list[Asked]) -> tuple[Ended, dict[str, Opined]]:
    """Teach, and return what was kept by case."""
    kept: dict[str, Opined] = {}

    async def run() -> Ended:
        teacher = open_teacher(config, {})
        try:
            return await teach(
                teacher, config, asked, lambda opined: kept.update({opined.case_id: opined}),
                limits=Limits(), watch=TeacherWatch(go_on=True), stop=threading.Event(),
            )  # fmt: skip
        finally:
            await teacher.close()

    return asyncio.run(run()), kept


def agree(address: str, folder: Path, count: int) -> None:
    """Ask the served student and the same one in this process, which should say the same."""
    asked = cases(folder, count)
    served = TeacherConfig("Served", "endpoint", str(STUDENT), base_url=address, max_tokens=WORDS)
    local = TeacherConfig("Local", "local", str(STUDENT), max_tokens=WORDS, concurrency=1)
    ended, over_http = said(served, asked)
    assert (ended.why, ended.asked, ended.kept, ended.failed) == (Why.ALL, count, count, {})
    _, here = said(local, asked)
    assert {name: opined.raw.strip() for name, opined in over_http.items()} == {
        name: opined.raw for name, opined in here.items()
    }
    for name, opined in over_http.items():
        assert (opined.opinion.verdict is Answer.UNSURE) is not opined.parsed
        assert (opined.tokens_in, opined.tries) == (here[name].tokens_in, here[name].tries)


def test_a_served_model_is_asked_as_it_is_in_this_process(address: str, tmp_path: Path) -> None:
    agree(address, tmp_path, 12)


@pytest.mark.soak
def test_a_served_model_is_asked_about_200_cases(address: str, tmp_path: Path) -> None:
    agree(address, tmp_path, 200)
