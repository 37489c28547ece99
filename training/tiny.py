"""The tiny student before it has learnt anything: tokenizer, processor and model, built offline.

An Idefics3, the class that also loads SmolVLM-256M/500M-Instruct, with the same turns in its chat
template: a picture of 64 x 64 pixels becomes 64 patches and, after pixel shuffle, 16 image tokens.
"""

import random
from dataclasses import dataclass

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    Idefics3Config,
    Idefics3ForConditionalGeneration,
    Idefics3ImageProcessorPil,
    Idefics3Processor,
    LlamaConfig,
    PreTrainedTokenizerFast,
)
from transformers.models.idefics3.configuration_idefics3 import Idefics3VisionConfig

from training import curriculum

IMAGE_SIZE, PATCH_SIZE, PIXEL_SHUFFLE = 64, 8, 2
IMAGE_TOKENS = (IMAGE_SIZE // PATCH_SIZE // PIXEL_SHUFFLE) ** 2
SPECIAL_TOKENS = (
    "<pad>", "<|im_start|>", "<end_of_utterance>", "<image>", "<fake_token_around_image>", "<global-img>",
)  # fmt: skip
CHAT_TEMPLATE = (
    "<|im_start|>{% for message in messages %}{{ message['role'] | capitalize }}:"
    "{% if message['content'] is string %}{{ ' ' + message['content'] }}{% else %}"
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}<image>"
    "{% else %}{{ ' ' + part['text'] }}{% endif %}{% endfor %}{% endif %}<end_of_utterance>\n"
    "{% endfor %}{% if add_generation_prompt %}Assistant:{% endif %}"
)


@dataclass(frozen=True, slots=True)
class TinyShape:
    """Widths, depths and heads of the two towers; the default is the shipped student's."""

    text_size: int = 160
    text_mlp: int = 432
    text_layers: int = 6
    text_heads: int = 5
    vision_size: int = 160
    vision_mlp: int = 480
    vision_layers: int = 4
    vision_heads: int = 4


def build_tokenizer(rng: random.Random, *, texts: int = 6_000) -> PreTrainedTokenizerFast:
    """Train a byte-level BPE on the world's prose; any other text falls back to bytes."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=1024,
        special_tokens=list(SPECIAL_TOKENS),
        show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    tokenizer.train_from_iterator(curriculum.corpus(rng, texts), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        eos_token="<end_of_utterance>",
        additional_special_tokens=[t for t in SPECIAL_TOKENS if t not in {"<pad>", "<end_of_utterance>"}],
        model_max_length=1024,
    )


def build_processor(tokenizer: PreTrainedTokenizerFast) -> Idefics3Processor:
    """Pair the tokenizer with an image processor that squares a 3:2 picture without losing rows."""
    image_processor = Idefics3ImageProcessorPil(
        size={"longest_edge": IMAGE_SIZE * 3 // 2},
        max_image_size={"longest_edge": IMAGE_SIZE},
        do_image_splitting=False,
        image_mean=[0.5] * 3,
        image_std=[0.5] * 3,
    )
    return Idefics3Processor(
        image_processor=image_processor,
        tokenizer=tokenizer,
        image_seq_len=IMAGE_TOKENS,
        chat_template=CHAT_TEMPLATE,
    )


def build_model(
    tokenizer: PreTrainedTokenizerFast, shape: TinyShape | None = None
) -> Idefics3ForConditionalGeneration:
    """Build an untrained student; with the shape by default, 3.2 million parameters."""
    shape = shape or TinyShape()
    ids: dict[str, int] = tokenizer.get_vocab()
    text = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=shape.text_size,
        intermediate_size=shape.text_mlp,
        num_hidden_layers=shape.text_layers,
        num_attention_heads=shape.text_heads,
        num_key_value_heads=shape.text_heads,
        max_position_embeddings=1024,
        pad_token_id=ids["<pad>"],
        bos_token_id=ids["<|im_start|>"],
        eos_token_id=ids["<end_of_utterance>"],
        tie_word_embeddings=True,
    )
    vision = Idefics3VisionConfig(
        hidden_size=shape.vision_size,
        intermediate_size=shape.vision_mlp,
        num_hidden_layers=shape.vision_layers,
        num_attention_heads=shape.vision_heads,
        image_size=IMAGE_SIZE,
        patch_size=PATCH_SIZE,
    )
    config = Idefics3Config(
        vision_config=vision,
        text_config=text,
        image_token_id=ids["<image>"],
        scale_factor=PIXEL_SHUFFLE,
        tie_word_embeddings=True,
    )
    model = Idefics3ForConditionalGeneration(config)
    model.generation_config.eos_token_id = ids["<end_of_utterance>"]
    model.generation_config.pad_token_id = ids["<pad>"]
    return model
