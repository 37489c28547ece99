"""A teacher on this machine: a vision-language model by hub id or folder, on whatever device there is.

Questions asked at the same time are answered in one batch, by one pass of generation on a thread of its own,
so that the event loop goes on. It says what is likeliest, so equal questions have equal answers.
"""

import asyncio
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from training.base import StudentError, load_base, precision
from training.config import ConfigError
from training.pictures import load_picture
from training.teachers import Asked, CaseFailedError, Reply, TeacherConfig, TeacherError, Turn

GATHER_S = 0.02  # how long a batch waits for the questions of workers that have just been answered


@dataclass(frozen=True, slots=True)
class _Question:
    asked: Asked
    turns: tuple[Turn, ...]
    reply: "asyncio.Future[Reply]"


class LocalTeacher:
    """Answers with a model of its own; `takes` is the size of its batch."""

    def __init__(self, config: TeacherConfig) -> None:
        self.takes = config.concurrency
        self._config = config
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        try:
            model, self._processor = load_base(config.model, precision("auto"))
        except (StudentError, ConfigError) as error:
            raise TeacherError(str(error).replace("student", "teacher")) from error
        self._model = model.to(self._device).eval()
        self._processor.tokenizer.padding_side = "left"
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="teacher")
        self._waiting: list[_Question] = []
        self._answering: asyncio.Task[None] | None = None

    async def ask(self, asked: Asked, turns: Sequence[Turn]) -> Reply:
        """Reply with the rest of the batch, as soon as it is this question's turn."""
        question = _Question(asked, tuple(turns), asyncio.get_running_loop().create_future())
        self._waiting.append(question)
        if self._answering is None or self._answering.done():
            self._answering = asyncio.create_task(self._answer_all())
        return await question.reply

    async def close(self) -> None:
        """End the thread, after the batch it is at, and free the model."""
        if self._answering is not None:
            self._answering.cancel()
        await asyncio.to_thread(self._thread.shutdown)
        self._model = self._processor = None

    async def _answer_all(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(GATHER_S)
            if not self._waiting:
                return
            batch, self._waiting = self._waiting[: self.takes], self._waiting[self.takes :]
            outcomes: Sequence[Reply | Exception]
            try:
                outcomes = await loop.run_in_executor(self._thread, self._outcomes, batch)
            except Exception as error:  # whatever it is, those who wait get to know
                outcomes = [error] * len(batch)
            for question, outcome in zip(batch, outcomes, strict=True):
                if question.reply.done():  # whoever asked has gone
                    continue
                if isinstance(outcome, Exception):
                    question.reply.set_exception(outcome)
                else:
                    question.reply.set_result(outcome)

    def _outcomes(self, batch: Sequence[_Question]) -> list[Reply | Exception]:
        """Answer a batch; a question whose picture cannot be read fails alone."""
        if self._config.text_only:
            return self._replies(batch, [])
        shown = [self._picture(question.asked) for question in batch]
        seen = [(question, p) for question, p in zip(batch, shown, strict=True) if isinstance(p, Image.Image)]
        replies = iter(self._replies([question for question, _ in seen], [picture for _, picture in seen]))
        return [next(replies) if isinstance(one, Image.Image) else one for one in shown]

    def _picture(self, asked: Asked) -> Image.Image | CaseFailedError:
        if asked.picture is None:
            return CaseFailedError("no picture")
        try:
            return load_picture(asked.picture, self._config.image_edge)
        except (OSError, Image.DecompressionBombError) as error:
            return CaseFailedError("picture cannot be read", type(error).__name__)

    def _replies(
        self, questions: Sequence[_Question], pictures: Sequence[Image.Image]
    ) -> list[Reply | Exception]:
        """Answer questions, each with its picture or all without; where memory ends, in halves."""
        if not questions:
            return []
        try:
            return self._generated(questions, pictures)
        except torch.OutOfMemoryError:
            if len(questions) == 1:
                return [CaseFailedError("out of memory")]
        except (RuntimeError, ValueError, IndexError) as error:  # what models and processors raise
            return [CaseFailedError("the model failed", str(error).split("\n")[0])] * len(questions)
        half = len(questions) // 2
        first = self._replies(questions[:half], pictures[:half])
        return first + self._replies(questions[half:], pictures[half:])

    @torch.inference_mode()
    def _generated(
        self, questions: Sequence[_Question], pictures: Sequence[Image.Image]
    ) -> list[Reply | Exception]:
        started = time.monotonic()
        turns = [_parts(question.turns, bool(pictures)) for question in questions]
        inputs = self._processor(
            text=list(self._processor.apply_chat_template(turns, add_generation_prompt=True)),
            images=[[picture] for picture in pictures] or None,
            padding=True,
            return_tensors="pt",
            add_special_tokens=False,  # the template has written them
        ).to(self._device, self._model.dtype)
        said: Tensor = self._model.generate(**inputs, max_new_tokens=self._config.max_tokens, do_sample=False)
        said = said[:, inputs["input_ids"].shape[1] :].cpu()
        seconds = time.monotonic() - started
        replies: list[Reply | Exception] = []
        for row, present in zip(said, inputs["attention_mask"], strict=True):
            length = _length(row, self._ends())
            text = self._processor.decode(row, skip_special_tokens=True).strip()
            replies.append(
                Reply(
                    text,
                    self._config.model,
                    tokens_in=int(present.sum()),
                    tokens_out=length or len(row),
                    seconds=seconds,
                    finish="stop" if length else "length",
                )
            )
        return replies

    def _ends(self) -> Tensor:
        ends = self._model.generation_config.eos_token_id
        return torch.tensor(ends if isinstance(ends, list) else [ends])


def _length(row: Tensor, ends: Tensor) -> int:
    """Return how many tokens of an answer, (T,), come up to its end, that included; 0 where it has none."""
    found = torch.isin(row, ends).nonzero()
    return int(found[0]) + 1 if len(found) else 0


def _parts(turns: Sequence[Turn], shown: bool) -> list[dict[str, Any]]:
    """Return turns as chat templates take them, with the picture's place before the first text."""
    parts = [[{"type": "text", "text": turn.text}] for turn in turns]
    if shown:
        parts[0].insert(0, {"type": "image"})
    return [{"role": turn.role, "content": part} for turn, part in zip(turns, parts, strict=True)]
