"""A student's whole answers: what it says of pictures, and how likely it finds what others say.

A likelihood is the mean log-probability of an answer's tokens, not their sum: answers that are compared
differ in length, and a sum would call the shorter one likelier whatever it says.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from db.vocabulary import Verdict
from training.conversations import answer_turn, question_turn, with_image
from training.records import CaseInput
from training.student import TOKEN_INPUTS, Student

Alter = Callable[[Tensor, CaseInput], Tensor]
"""Takes one case's preprocessed pixels and returns others of the same shape."""


@torch.inference_mode()
def whole_answers(
    student: Student,
    pictures: Sequence[Image.Image],
    cases: Sequence[CaseInput],
    *,
    alter: Alter,
    max_new_tokens: int,
    temperature: float = 0.0,
    seed: int = 0,
) -> list[str | None]:
    """Return what the student says of each case when it sees altered pixels; None where it was cut off.

    At temperature 0 these are its likeliest words, else they are drawn with `seed`.
    """
    inputs = student.encoded(pictures, cases)
    rows = _rows_of_pictures(inputs, len(cases))
    parts = zip(inputs["pixel_values"].split(rows), cases, strict=True)
    inputs["pixel_values"] = torch.cat([alter(pixels, case) for pixels, case in parts])
    inputs = inputs.to(student.model.device, student.model.dtype)
    drawing: dict[str, Any] = {"do_sample": temperature > 0}
    if temperature > 0:
        drawing |= {"temperature": temperature, "top_k": 0, "top_p": 1.0}
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        said = student.model.generate(**inputs, max_new_tokens=max_new_tokens, **drawing)
    said = said[:, inputs["input_ids"].shape[1] :]
    texts = student.processor.batch_decode(said, skip_special_tokens=True)
    return [text.strip() if ended else None for text, ended in zip(texts, _ended(student, said), strict=True)]


@torch.inference_mode()
def likelihoods(
    student: Student,
    pictures: Sequence[Image.Image],
    cases: Sequence[CaseInput],
    answers: Sequence[tuple[Verdict, str]],
) -> list[float]:
    """Return the mean log-probability, in nats, of each answer's tokens, end of turn included.

    Answers are verdict and rationale, written as they are trained on. The pictures are seen as they are.
    """
    inputs = student.encoded(pictures, cases)
    tokens = [torch.tensor(_answer_tokens(student, *answer)) for answer in answers]
    lengths = torch.tensor([len(one) for one in tokens])
    tail = pad_sequence(tokens, batch_first=True)
    present = (torch.arange(tail.shape[1]) < lengths[:, None]).long()
    appended = {"input_ids": tail, "attention_mask": present}
    for name in TOKEN_INPUTS & inputs.keys():
        more = appended.get(name, torch.zeros_like(tail))
        inputs[name] = torch.cat([inputs[name], more.to(inputs[name])], dim=1)
    inputs = inputs.to(student.model.device, student.model.dtype)
    logits: Tensor = student.model(**inputs, logits_to_keep=tail.shape[1] + 1).logits
    return [_mean_log_probability(row[: len(one)], one) for row, one in zip(logits, tokens, strict=True)]


def _mean_log_probability(logits: Tensor, tokens: Tensor) -> float:
    """Score one answer's tokens, (T,), by the logits before each, (T, V); one row in float32 at a time."""
    scores = logits.float()
    told = scores.gather(1, tokens.to(scores.device)[:, None])[:, 0] - scores.logsumexp(-1)
    return float(told.mean())


def _answer_tokens(student: Student, verdict: Verdict, rationale: str) -> list[int]:
    """Return an answer's tokens as the chat template writes them after the assistant's cue."""
    question = with_image(question_turn(CaseInput("", "", "")))
    answer = answer_turn(verdict, rationale)[0]
    said = {"role": answer["role"], "content": [{"type": "text", "text": answer["content"]}]}
    cue = student.processor.apply_chat_template([question], add_generation_prompt=True)[0]
    whole = student.processor.apply_chat_template([[*question, said]])[0]
    ids: list[int] = student.processor.tokenizer(whole[len(cue) :], add_special_tokens=False)["input_ids"]
    return ids


def _rows_of_pictures(inputs: Any, cases: int) -> list[int]:
    """Return how many rows of `pixel_values` each case has: tiles of its picture, or patches of it."""
    grid = inputs.get("image_grid_thw")
    if grid is not None:
        return [int(patches) for patches in grid.prod(-1)]
    rows = len(inputs["pixel_values"])
    if rows % cases:
        raise ValueError(
            f"{rows} rows of pixels cannot be those of {cases} pictures with as many tiles each."
        )
    return [rows // cases] * cases


def _ended(student: Student, said: Tensor) -> list[bool]:
    """Say of each row of tokens, (B, T), whether it came to its end."""
    ends = student.model.generation_config.eos_token_id
    ends = ends if isinstance(ends, list) else [ends]
    return [bool(row) for row in torch.isin(said, torch.tensor(ends, device=said.device)).any(dim=1)]
