"""A picture seen once and a prompt read once give what the whole model gives, in every family."""

from pathlib import Path

import pytest
import torch
from PIL import Image
from transformers import Lfm2Config, Lfm2ForCausalLM

from db.vocabulary import Verdict
from tests.training.test_student import cases, pictures
from tests.training.tiny_families import build_family
from tests.training.tiny_video_families import BUILDERS
from training.pictures import shrink
from training.prefill import row_of
from training.records import CaseInput
from training.sight import TOKEN_INPUTS, SightError
from training.student import Student

TOKENS = 6


def generated(student: Student, picture: Image.Image, case: CaseInput, verdict: Verdict) -> str:
    """Write a rationale as transformers does, from a prompt that ends in the verdict."""
    inputs = student.encoded([picture], [case])
    tail = torch.tensor([student.tokens(student.answer_start(verdict))])
    more = {"input_ids": tail, "attention_mask": torch.ones_like(tail)}
    for name in TOKEN_INPUTS & inputs.keys():
        inputs[name] = torch.cat([inputs[name], more.get(name, torch.zeros_like(tail))], dim=1)
    said = student.model.generate(**inputs, max_new_tokens=TOKENS, do_sample=False)
    text: str = student.processor.tokenizer.decode(
        said[0][inputs["input_ids"].shape[1] :], skip_special_tokens=True
    )
    return text


@pytest.mark.parametrize("name", BUILDERS)
def test_a_prompt_read_from_what_was_seen_is_the_whole_models(
    name: str, tmp_path: Path, one_thread: None
) -> None:
    student = Student.load(str(build_family(BUILDERS[name], tmp_path)))
    shown = [shrink(picture, student.edge) for picture in pictures(3)]
    asked = cases(3)
    begun = student.read(student.see(shown), asked)
    assert [one.margin for one in begun] == pytest.approx(student.margins(shown, asked), abs=1e-5)
    first = "".join(student.write(begun[1], Verdict.IN_CONTEXT, max_tokens=TOKENS))
    other = "".join(student.write(begun[0], Verdict.OUT_OF_CONTEXT, max_tokens=TOKENS))
    assert first == generated(student, shown[1], asked[1], Verdict.IN_CONTEXT)
    assert other == generated(student, shown[0], asked[0], Verdict.OUT_OF_CONTEXT)
    assert "".join(student.write(begun[1], Verdict.IN_CONTEXT, max_tokens=TOKENS)) == first


def test_a_row_of_a_model_with_convolutions_goes_on_as_it_would_alone(one_thread: None) -> None:
    torch.manual_seed(0)
    config = Lfm2Config(
        vocab_size=50, hidden_size=32, intermediate_size=64, num_hidden_layers=4, num_attention_heads=4,
        num_key_value_heads=2, full_attn_idxs=[1, 3], pad_token_id=0,
    )  # fmt: skip
    model = Lfm2ForCausalLM(config).eval()
    ids = torch.randint(1, 50, (2, 12))
    with torch.inference_mode():
        kept = model(input_ids=ids, use_cache=True).past_key_values
        for row in (0, 1, 1):
            own = row_of(kept, row, torch.device("cpu"))
            for end, tokens in ((14, [7, 9]), (15, [3])):
                given = model(
                    input_ids=torch.tensor([tokens]),
                    attention_mask=torch.ones(1, end, dtype=torch.long),
                    past_key_values=own,
                )
            whole = model(input_ids=torch.cat([ids[row], torch.tensor([7, 9, 3])])[None])
            assert torch.allclose(given.logits[0, -1], whole.logits[0, -1], atol=1e-5)


@pytest.fixture(scope="module")
def shipped() -> Student:
    return Student.load("assets/demo-run")


def test_rationales_in_turns_are_the_ones_written_alone(shipped: Student, one_thread: None) -> None:
    shown = [shrink(picture, shipped.edge) for picture in pictures(2)]
    asked = cases(2)
    begun = shipped.read(shipped.see(shown), asked)
    writers = [shipped.write(one, Verdict.OUT_OF_CONTEXT) for one in begun]
    said = ["", ""]
    for pieces in zip(*writers, strict=False):
        said = [text + piece for text, piece in zip(said, pieces, strict=True)]
    for text, picture, case in zip(said, shown, asked, strict=True):
        alone = "".join(shipped.rationale(picture, case, Verdict.OUT_OF_CONTEXT))
        assert alone.startswith(text)
        assert len(text) > 20


def test_one_sight_serves_many_captions(shipped: Student, one_thread: None) -> None:
    picture = shrink(pictures(1)[0], shipped.edge)
    asked = cases(4)
    [sight] = shipped.see([picture])
    margins = [one.margin for one in shipped.read([sight] * 4, asked)]
    assert margins == pytest.approx(shipped.margins([picture] * 4, asked), abs=1e-4)
    assert 0 < sight.bytes < 100_000
    assert shipped.strangeness(sight) is False


def test_a_prompt_that_begins_otherwise_is_refused(shipped: Student, one_thread: None) -> None:
    sights = shipped.see(pictures(1))
    template = shipped.processor.chat_template
    shipped.processor.chat_template = "Look: " + template
    try:
        with pytest.raises(SightError, match="does not begin"):
            shipped.read(sights, cases(1))
    finally:
        shipped.processor.chat_template = template
