"""Load a family's own processor for still pictures, and see to it that its template closes an answer.

transformers builds the video part of a processor with torchvision alone, which is not needed for anything
else here and must come from the index torch came from, or it breaks on import. A case has one picture, so
the video part is left out on every machine, and pictures are encoded as the family's processor does it.
"""

import sys
from collections.abc import Sequence
from typing import Any

from transformers import AutoConfig, AutoProcessor
from transformers.models.auto.processing_auto import PROCESSOR_MAPPING
from transformers.processing_utils import ProcessorMixin

VIDEO = "video_processor"
CLOSING = "{% if messages and messages[-1]['role'] == 'assistant' %}{{ eos_token }}{% endif %}"


def load_processor(source: str) -> Any:
    """Load the processor from a folder or by hub id; raises ImportError where it needs what is not there."""
    family: Any = PROCESSOR_MAPPING.get(type(AutoConfig.from_pretrained(source)), None)
    if family is None or VIDEO not in family.get_attributes():
        processor: Any = AutoProcessor.from_pretrained(source)
    else:
        processor = without_video(family).from_pretrained(source)
    _close_answers(processor)
    return processor


class _WithoutVideo(ProcessorMixin):
    """What a processor class is mixed with that is to be built from image processor and tokenizer alone.

    The class takes None for its third part, the video processor, and neither loads nor saves it.
    """

    @classmethod
    def get_attributes(cls) -> list[str]:
        """Return the parts that are loaded and saved, in the order the class takes them."""
        names: list[str] = super().get_attributes()  # type: ignore[no-untyped-call]
        return [name for name in names if name != VIDEO]

    @classmethod
    def from_args_and_dict(cls, args: Sequence[Any], processor_dict: dict[str, Any], **settings: Any) -> Any:
        """Build the processor from its two parts and what is saved of its settings."""
        saved = {name: value for name, value in processor_dict.items() if name != VIDEO}
        return super().from_args_and_dict([*args, None], saved, **settings)

    def apply_chat_template(self, *given: Any, **settings: Any) -> Any:
        """Render turns as every processor does; SmolVLM's own asks its video processor how to cut frames."""
        return ProcessorMixin.apply_chat_template(self, *given, **settings)


def without_video(family: Any) -> Any:
    """Return the processor class without its video part, by the name under which it is saved."""
    module = sys.modules[family.__module__]
    if getattr(module, "num2words", _frames_in_words) is None:
        module.num2words = _frames_in_words  # type: ignore[attr-defined]  # SmolVLM's does not start without
    return type(family.__name__, (_WithoutVideo, family), {"__module__": __name__})


def _frames_in_words(frames: int) -> str:
    """Stand in for num2words, which spells the number of a video's frames; there are no videos."""
    return str(frames)


def _close_answers(processor: Any) -> None:
    """Have the template end an answer with the end-of-sequence token where it ends it with none.

    LLaVA 1.5's published template leaves answers open: a student trained on it would not learn to stop.
    """
    if not isinstance(processor.chat_template, str):
        return
    turns = [
        {"role": role, "content": [{"type": "text", "text": said}]}
        for role, said in (("user", "question"), ("assistant", "answer"))
    ]
    said = processor.apply_chat_template(turns)
    behind = processor.tokenizer(said[said.rindex("answer") :], add_special_tokens=False)["input_ids"]
    added = processor.tokenizer.added_tokens_decoder
    if not any(added[token].special for token in behind if token in added):
        processor.chat_template += CLOSING
