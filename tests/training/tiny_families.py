"""Untrained students of every family the fast path feeds, built offline and loaded like any other.

Each has its family's own processor class, chat template and special tokens, as the model named beside it
publishes them, so that a prompt that works here works there. Those whose processors take videos too are
in `tiny_video_families`.
"""

import random
from collections.abc import Callable
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from torch.nn.init import normal_
from transformers import (
    Gemma3Config,
    Gemma3ForConditionalGeneration,
    Gemma3ImageProcessorPil,
    Gemma3Processor,
    Gemma3TextConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
    SiglipImageProcessorPil,
    SiglipVisionConfig,
    set_seed,
)

from training import curriculum
from training.tiny import IMAGE_SIZE, SPECIAL_TOKENS, TinyShape, build_model, build_processor

PATCHES = 16
VISION: dict[str, Any] = {
    "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2,
    "image_size": IMAGE_SIZE, "patch_size": IMAGE_SIZE // 4,
}  # fmt: skip
TEXT: dict[str, Any] = {
    "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 2048, "bos_token_id": None,
    "tie_word_embeddings": True,
}  # fmt: skip
SQUARE = {"height": IMAGE_SIZE, "width": IMAGE_SIZE}
LLAVA_TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] != 'system' %}{{ message['role'].upper() + ': '}}{% endif %}"
    "{# Render all images first #}"
    "{% for content in message['content'] | selectattr('type', 'equalto', 'image') %}"
    "{{ '<image>\n' }}{% endfor %}"
    "{# Render all text next #}{% if message['role'] != 'assistant' %}"
    "{% for content in message['content'] | selectattr('type', 'equalto', 'text') %}"
    "{{ content['text'] + ' '}}{% endfor %}{% else %}"
    "{% for content in message['content'] | selectattr('type', 'equalto', 'text') %}"
    "{% generation %}{{ content['text'] + ' '}}{% endgeneration %}{% endfor %}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"
)

Built = tuple[Any, Any]


def published_template(name: str) -> str:
    """Return a chat template as its model publishes it; TRL carries these, word for word."""
    return (files("trl") / "chat_templates" / f"{name}.jinja").read_text(encoding="utf-8")


@cache
def _words() -> str:
    """Learn a byte-level BPE from the world's prose, as JSON."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=600, show_progress=False, initial_alphabet=alphabet)
    tokenizer.train_from_iterator(curriculum.corpus(random.Random(0), 300), trainer)
    return tokenizer.to_str()


def tokenizer_of(
    special: tuple[str, ...], *, bos: str | None = None, **named: Any
) -> PreTrainedTokenizerFast:
    """Return a tokenizer that knows the special tokens: the first of them pads, the second ends a turn.

    Where there is a `bos`, the tokenizer puts it before every text that it is not told to leave as it is.
    """
    tokenizer = Tokenizer.from_str(_words())
    tokenizer.add_special_tokens(list(special))
    if bos is not None:
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{bos} $A", special_tokens=[(bos, tokenizer.token_to_id(bos))]
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=special[0],
        eos_token=special[1],
        bos_token=bos,
        additional_special_tokens=None if named else list(special[2:]),
        model_max_length=2048,
        **named,
    )


def text_of(tokenizer: PreTrainedTokenizerFast) -> dict[str, Any]:
    """Return the settings of a small language model for the tokenizer."""
    ids = {"pad_token_id": tokenizer.pad_token_id, "eos_token_id": tokenizer.eos_token_id}
    return {**TEXT, **ids, "vocab_size": len(tokenizer)}


def idefics3() -> Built:
    """Build the shipped student's family, with the turns of HuggingFaceTB/SmolVLM-256M-Instruct."""
    tokenizer = tokenizer_of((SPECIAL_TOKENS[0], SPECIAL_TOKENS[2], SPECIAL_TOKENS[1], *SPECIAL_TOKENS[3:]))
    processor = build_processor(tokenizer)
    processor.chat_template = published_template("smolvlm")
    return build_model(tokenizer, TinyShape(32, 64, 2, 2, 32, 64, 2, 2)), processor


def llava() -> Built:
    """Build a LLaVA with a SigLIP tower, and the turns of llava-hf/llava-1.5-7b-hf."""
    tokenizer = tokenizer_of(("<pad>", "</s>", "<image>", "<s>"), bos="<s>")
    config = LlavaConfig(
        vision_config=SiglipVisionConfig(vision_use_head=False, **VISION),
        text_config=LlamaConfig(**text_of(tokenizer)),
        image_token_index=tokenizer.get_vocab()["<image>"],
        vision_feature_layer=-1,
        vision_feature_select_strategy="full",
        image_seq_length=PATCHES,
        tie_word_embeddings=True,
    )
    processor = LlavaProcessor(
        image_processor=SiglipImageProcessorPil(size=SQUARE),
        tokenizer=tokenizer,
        patch_size=IMAGE_SIZE // 4,
        vision_feature_select_strategy="full",
        num_additional_image_tokens=0,
        chat_template=LLAVA_TEMPLATE,
        image_token="<image>",
    )
    return LlavaForConditionalGeneration(config), processor


def gemma3() -> Built:
    """Build a Gemma 3 whose window is shorter than its prompts, with the turns of google/gemma-3-4b-it."""
    images = {
        "boi_token": "<start_of_image>",
        "eoi_token": "<end_of_image>",
        "image_token": "<image_soft_token>",
    }
    special = ("<pad>", "<eos>", "<bos>", "<start_of_turn>", "<end_of_turn>", *images.values())
    tokenizer = tokenizer_of(special, bos="<bos>", extra_special_tokens=images)
    config = Gemma3Config(
        vision_config=SiglipVisionConfig(vision_use_head=False, **VISION),
        text_config=Gemma3TextConfig(
            layer_types=["sliding_attention", "full_attention"],
            head_dim=8,
            sliding_window=48,
            **text_of(tokenizer),
        ),
        mm_tokens_per_image=PATCHES,
        boi_token_index=tokenizer.get_vocab()["<start_of_image>"],
        eoi_token_index=tokenizer.get_vocab()["<end_of_image>"],
        image_token_index=tokenizer.get_vocab()["<image_soft_token>"],
        tie_word_embeddings=True,
    )
    processor = Gemma3Processor(
        image_processor=Gemma3ImageProcessorPil(size=SQUARE),
        tokenizer=tokenizer,
        image_seq_length=PATCHES,
        chat_template=published_template("gemma3"),
    )
    model = Gemma3ForConditionalGeneration(config)
    normal_(model.model.multi_modal_projector.mm_input_projection_weight, std=0.1)  # zeros would see nothing
    return model, processor


def build_family(build: Callable[[], Built], directory: Path) -> Path:
    """Build an untrained student into the directory."""
    set_seed(0)
    model, processor = build()
    model.save_pretrained(directory)
    processor.save_pretrained(directory)
    return directory
