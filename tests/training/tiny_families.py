"""Untrained students of every family the fast path feeds, built offline; chat templates as published.

SmolVLM2's own processor needs torchvision and num2words, which are not installed: its model is paired
with the Idefics3 processor, whose layout of a prompt it shares.
"""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, decoders, models, pre_tokenizers
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
    SmolVLMConfig,
    SmolVLMForConditionalGeneration,
    set_seed,
)
from transformers.models.smolvlm.configuration_smolvlm import SmolVLMVisionConfig

from training.tiny import IMAGE_SIZE, TinyShape, build_model, build_processor, build_tokenizer

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
LLAVA_TEMPLATE = (  # llava-hf/llava-1.5-7b-hf
    "{% for message in messages %}{{ message['role'].upper() + ': ' }}"
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}{{ '<image>\n' }}{% endif %}"
    "{% endfor %}{% for part in message['content'] %}"
    "{% if part['type'] == 'text' %}{{ part['text'] + ' ' }}{% endif %}"
    "{% endfor %}{% endfor %}{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"
)
GEMMA3_TEMPLATE = (  # google/gemma-3-4b-it
    "{{ '<bos>' }}{% for message in messages %}"
    "{{ '<start_of_turn>' + ('model' if message['role'] == 'assistant' else message['role']) + '\n' }}"
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}{{ '<start_of_image>' }}"
    "{% else %}{{ part['text'] | trim }}{% endif %}{% endfor %}{{ '<end_of_turn>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
)


def tokenizer_of_bytes(special: list[str], **named: Any) -> PreTrainedTokenizerFast:
    """Return a tokenizer of single bytes and the special tokens, the first of which pads, the second ends."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: number for number, token in enumerate([*special, *alphabet])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=special[0],
        eos_token=special[1],
        additional_special_tokens=None if named else special[2:],
        model_max_length=2048,
        **named,
    )


def idefics3() -> tuple[Any, Any]:
    """Build the shipped student's family."""
    tokenizer = build_tokenizer(random.Random(0), texts=300)
    return build_model(tokenizer, TinyShape(32, 64, 2, 2, 32, 64, 2, 2)), build_processor(tokenizer)


def smolvlm() -> tuple[Any, Any]:
    """Build a SmolVLM2."""
    tokenizer = build_tokenizer(random.Random(0), texts=300)
    processor = build_processor(tokenizer)
    processor.image_seq_len = PATCHES // 4
    config = SmolVLMConfig(
        vision_config=SmolVLMVisionConfig(**VISION),
        text_config=LlamaConfig(vocab_size=len(tokenizer), pad_token_id=tokenizer.pad_token_id, **TEXT),
        image_token_id=tokenizer.get_vocab()["<image>"],
        scale_factor=2,
        tie_word_embeddings=True,
    )
    return SmolVLMForConditionalGeneration(config), processor


def llava() -> tuple[Any, Any]:
    """Build a LLaVA with a SigLIP tower."""
    tokenizer = tokenizer_of_bytes(["<pad>", "</s>", "<image>"])
    config = LlavaConfig(
        vision_config=SiglipVisionConfig(vision_use_head=False, **VISION),
        text_config=LlamaConfig(vocab_size=len(tokenizer), pad_token_id=0, **TEXT),
        image_token_index=2,
        vision_feature_layer=-1,
        vision_feature_select_strategy="full",
        image_seq_length=PATCHES,
        tie_word_embeddings=True,
    )
    processor = LlavaProcessor(
        image_processor=SiglipImageProcessorPil(size={"height": IMAGE_SIZE, "width": IMAGE_SIZE}),
        tokenizer=tokenizer,
        patch_size=IMAGE_SIZE // 4,
        vision_feature_select_strategy="full",
        num_additional_image_tokens=0,
        chat_template=LLAVA_TEMPLATE,
        image_token="<image>",
    )
    return LlavaForConditionalGeneration(config), processor


def gemma3() -> tuple[Any, Any]:
    """Build a Gemma 3 whose window of 96 tokens is shorter than its prompts."""
    images = {
        "boi_token": "<start_of_image>",
        "eoi_token": "<end_of_image>",
        "image_token": "<image_soft_token>",
    }
    special = ["<pad>", "<eos>", "<bos>", "<start_of_turn>", "<end_of_turn>", *images.values()]
    tokenizer = tokenizer_of_bytes(special, extra_special_tokens=images)
    text = {**TEXT, "num_hidden_layers": 3, "head_dim": 8, "sliding_window": 96}
    config = Gemma3Config(
        vision_config=SiglipVisionConfig(vision_use_head=False, **VISION),
        text_config=Gemma3TextConfig(
            vocab_size=len(tokenizer),
            pad_token_id=0,
            layer_types=["sliding_attention", "full_attention", "sliding_attention"],
            **text,
        ),
        mm_tokens_per_image=PATCHES,
        boi_token_index=special.index("<start_of_image>"),
        eoi_token_index=special.index("<end_of_image>"),
        image_token_index=special.index("<image_soft_token>"),
        tie_word_embeddings=True,
    )
    processor = Gemma3Processor(
        image_processor=Gemma3ImageProcessorPil(size={"height": IMAGE_SIZE, "width": IMAGE_SIZE}),
        tokenizer=tokenizer,
        image_seq_length=PATCHES,
        chat_template=GEMMA3_TEMPLATE,
    )
    return Gemma3ForConditionalGeneration(config), processor


BUILDERS: dict[str, Callable[[], tuple[Any, Any]]] = {
    "idefics3": idefics3,
    "smolvlm": smolvlm,
    "llava": llava,
    "gemma3": gemma3,
}


def build_family(name: str, directory: Path) -> Path:
    """Build an untrained student of the family into the directory."""
    set_seed(0)
    model, processor = BUILDERS[name]()
    model.save_pretrained(directory)
    processor.save_pretrained(directory)
    return directory
