from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor

from db.vocabulary import Stage, Verdict
from tests.training.conftest import MakeRun
from tests.training.tiny_families import build_family
from tests.training.tiny_video_families import BUILDERS
from training import dpo, sft
from training.answering import likelihoods, whole_answers
from training.config import load_config
from training.diffusion import weaken
from training.fast import SharedPrefixDpoTrainer
from training.pictures import load_pictures
from training.prompts import render_answer
from training.records import CaseInput, Preference, Target, read_records
from training.stage import StageInputs
from training.state import RunFolder
from training.student import Student

pytestmark = pytest.mark.usefixtures("one_thread")
CASES = [
    CaseInput("1", "", "A market."),
    CaseInput("2", "", "A market by the sea, in heavy snow, at dusk.", "1 May"),
]
ANSWERS = [
    (Verdict.IN_CONTEXT, "It fits."),
    (Verdict.OUT_OF_CONTEXT, "Place: the castle, not the lighthouse."),
]


def as_they_are(pixels: Tensor, case: CaseInput) -> Tensor:
    return pixels


@pytest.mark.parametrize("name", list(BUILDERS))
def test_a_batch_answers_and_weighs_as_its_cases_do_alone(name: str, tmp_path: Path) -> None:
    student = Student.load(str(build_family(BUILDERS[name], tmp_path)))
    pictures = [Image.new("RGB", size, colour) for size, colour in (((64, 64), "teal"), ((96, 64), "olive"))]
    student.model.generation_config.eos_token_id = list(range(len(student.processor.tokenizer)))
    altered: dict[str, Tensor] = {}

    def alter(pixels: Tensor, case: CaseInput) -> Tensor:
        altered[case.id] = pixels
        return weaken(pixels, 500, seed=int(case.id))

    together = whole_answers(student, pictures, CASES, alter=alter, max_new_tokens=4)
    alone = [
        whole_answers(student, [picture], [case], alter=alter, max_new_tokens=4)[0]
        for picture, case in zip(pictures, CASES, strict=True)
    ]
    assert together == alone
    assert None not in together, "every token ends an answer here, so that both have one"
    assert altered.keys() == {"1", "2"}
    weighed = likelihoods(student, pictures, CASES, ANSWERS)
    assert weighed == pytest.approx(
        [
            likelihoods(student, [picture], [case], [answer])[0]
            for picture, case, answer in zip(pictures, CASES, ANSWERS, strict=True)
        ],
        abs=1e-4,
    )


def test_drawn_words_are_equal_for_equal_seeds_and_taken_from_nobody(tiny_student: Path) -> None:
    student = Student.load(str(tiny_student))
    picture = Image.new("RGB", (64, 64), "teal")

    def said(seed: int) -> list[str | None]:
        return whole_answers(
            student, [picture], CASES[:1], alter=as_they_are, max_new_tokens=6, temperature=1.0, seed=seed
        )

    state = torch.get_rng_state()
    assert said(1) == said(1)
    assert torch.equal(torch.get_rng_state(), state)


def test_an_answer_that_is_cut_off_is_none(tiny_student: Path) -> None:
    student = Student.load(str(tiny_student))
    student.model.generation_config.eos_token_id = [-1]
    picture = Image.new("RGB", (64, 64), "teal")
    assert whole_answers(student, [picture], CASES[:1], alter=as_they_are, max_new_tokens=3) == [None]


def test_likelihoods_are_the_reference_s_of_stage_2(make_run: MakeRun) -> None:
    folder = RunFolder(make_run(max_steps=1))
    inputs = StageInputs(folder, load_config(folder.config_path), lambda: False)
    sft.run(inputs, read_records(folder.path / "sft.jsonl", Target))
    pairs = read_records(inputs.folder.path / "preferences.jsonl", Preference)
    trainer, _ = dpo.build_trainer(inputs, pairs)
    assert isinstance(trainer, SharedPrefixDpoTrainer)
    student = Student.load(str(inputs.folder.path), stage=Stage.SFT)
    shown = load_pictures(inputs.folder.path, [one.case.image for one in pairs], student.edge)
    found = likelihoods(
        student,
        [shown[one.case.image] for one in pairs],
        [one.case for one in pairs],
        [(one.verdict, one.chosen) for one in pairs],
    )
    tail = len(student.processor.tokenizer("<end_of_utterance>\n", add_special_tokens=False)["input_ids"])
    said = [render_answer(one.verdict, one.chosen) for one in pairs]
    lengths = [len(student.processor.tokenizer(f" {text}")["input_ids"]) + tail for text in said]
    sums = [mean * length for mean, length in zip(found, lengths, strict=True)]
    assert sums == pytest.approx(trainer.references[0].tolist(), abs=1e-3)
