"""Untrained students of the families whose processors take videos too, and the table of all families."""

from collections.abc import Callable
from typing import Any

from transformers import (
    GotOcr2ImageProcessorPil,
    InternVLConfig,
    InternVLForConditionalGeneration,
    InternVLProcessor,
    InternVLVisionConfig,
    LlamaConfig,
    LlavaOnevisionConfig,
    LlavaOnevisionForConditionalGeneration,
    LlavaOnevisionImageProcessorPil,
    LlavaOnevisionProcessor,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2_5_VLProcessor,
    Qwen2Config,
    Qwen2VLImageProcessorPil,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
    Qwen3VLProcessor,
    SiglipVisionConfig,
    SmolVLMConfig,
    SmolVLMForConditionalGeneration,
    SmolVLMImageProcessorPil,
    SmolVLMProcessor,
)
from transformers.models.smolvlm.configuration_smolvlm import SmolVLMVisionConfig

from tests.training.tiny_families import (
    PATCHES,
    SQUARE,
    VISION,
    Built,
    gemma3,
    idefics3,
    llava,
    published_template,
    text_of,
    tokenizer_of,
)
from training.processors import without_video
from training.tiny import IMAGE_SIZE

QWEN_TOKENS = ("<|endoftext|>", "<|im_end|>", "<|im_start|>")
QWEN_VISION = ("<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")
LLAVA_ONEVISION_TEMPLATE = (
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n'}}"
    "{# Render all images first #}"
    "{% for content in message['content'] | selectattr('type', 'equalto', 'image') %}"
    "{{ '<image>\n' }}{% endfor %}"
    "{# Render all text next #}{% if message['role'] != 'assistant' %}"
    "{% for content in message['content'] | selectattr('type', 'equalto', 'text') %}"
    "{{ content['text'] }}{% endfor %}{% else %}"
    "{% for content in message['content'] | selectattr('type', 'equalto', 'text') %}"
    "{% generation %}{{ content['text'] }}{% endgeneration %}{% endfor %}{% endif %}"
    "{{'<|im_end|>' + '\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
INTERNVL_TEMPLATE = (
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n'}}"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for content in message['content'] %}"
    "{% if content['type'] == 'image' %}{{ '<IMG_CONTEXT>\n' }}"
    "{% elif content['type'] == 'text' %}{{ content['text'] }}{% endif %}"
    "{% endfor %}{% endif %}{{'<|im_end|>\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{'<|im_start|>assistant\n' }}{% endif %}"
)


def smolvlm() -> Built:
    """Build a SmolVLM2, with the turns of HuggingFaceTB/SmolVLM2-500M-Video-Instruct."""
    special = (
        "<|im_end|>", "<end_of_utterance>", "<|im_start|>", "<image>", "<fake_token_around_image>",
        "<global-img>",
    )  # fmt: skip
    tokenizer = tokenizer_of(special)
    config = SmolVLMConfig(
        vision_config=SmolVLMVisionConfig(**VISION),
        text_config=LlamaConfig(**text_of(tokenizer)),
        image_token_id=tokenizer.get_vocab()["<image>"],
        scale_factor=2,
        tie_word_embeddings=True,
    )
    processor = without_video(SmolVLMProcessor)(
        SmolVLMImageProcessorPil(
            size={"longest_edge": IMAGE_SIZE * 3 // 2},
            max_image_size={"longest_edge": IMAGE_SIZE},
            do_image_splitting=False,
        ),
        tokenizer,
        None,
        image_seq_len=PATCHES // 4,
        chat_template=published_template("smolvlm"),
    )
    return SmolVLMForConditionalGeneration(config), processor


def llava_onevision() -> Built:
    """Build a LLaVA-OneVision, with the turns of llava-hf/llava-onevision-qwen2-0.5b-ov-hf."""
    tokenizer = tokenizer_of((*QWEN_TOKENS, "<image>", "<video>"))
    grids = [[IMAGE_SIZE, IMAGE_SIZE], [IMAGE_SIZE, 2 * IMAGE_SIZE]]
    config = LlavaOnevisionConfig(
        vision_config=SiglipVisionConfig(vision_use_head=False, **VISION),
        text_config=Qwen2Config(**text_of(tokenizer)),
        image_token_index=tokenizer.get_vocab()["<image>"],
        video_token_index=tokenizer.get_vocab()["<video>"],
        image_grid_pinpoints=grids,
        tie_word_embeddings=True,
    )
    processor = without_video(LlavaOnevisionProcessor)(
        LlavaOnevisionImageProcessorPil(size=SQUARE, image_grid_pinpoints=grids),
        tokenizer,
        None,
        num_image_tokens=PATCHES,
        vision_feature_select_strategy="full",
        chat_template=LLAVA_ONEVISION_TEMPLATE,
    )
    return LlavaOnevisionForConditionalGeneration(config), processor


def internvl() -> Built:
    """Build an InternVL, with the turns of OpenGVLab/InternVL3-1B-hf."""
    named = {
        "start_image_token": "<img>", "end_image_token": "</img>", "context_image_token": "<IMG_CONTEXT>",
        "video_token": "<video>",
    }  # fmt: skip
    tokenizer = tokenizer_of((*QWEN_TOKENS, *named.values()), extra_special_tokens=named)
    vision = {**VISION, "image_size": [IMAGE_SIZE] * 2, "patch_size": [IMAGE_SIZE // 4] * 2}
    config = InternVLConfig(
        vision_config=InternVLVisionConfig(**vision),
        text_config=Qwen2Config(**text_of(tokenizer)),
        image_token_id=tokenizer.get_vocab()["<IMG_CONTEXT>"],
        image_seq_length=PATCHES // 4,
        tie_word_embeddings=True,
    )
    processor = without_video(InternVLProcessor)(
        GotOcr2ImageProcessorPil(size=SQUARE),
        tokenizer,
        None,
        image_seq_length=PATCHES // 4,
        chat_template=INTERNVL_TEMPLATE,
    )
    return InternVLForConditionalGeneration(config), processor


def qwen2_5_vl() -> Built:
    """Build a Qwen2.5-VL, with the turns of Qwen/Qwen2.5-VL-3B-Instruct."""
    tokenizer, text, ids = _qwen()
    rope = {"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 1e6}
    config = Qwen2_5_VLConfig(
        vision_config={
            "depth": 2, "hidden_size": 32, "intermediate_size": 64, "num_heads": 2, "patch_size": 8,
            "window_size": 32, "out_hidden_size": 32, "fullatt_block_indexes": [1],
        },
        text_config={**text, "use_sliding_window": False, "sliding_window": 32768, "rope_parameters": rope},
        **ids,
    )  # fmt: skip
    processor = without_video(Qwen2_5_VLProcessor)(
        _qwen_pictures(8), tokenizer, None, chat_template=published_template("qwen2_5_vl")
    )
    return Qwen2_5_VLForConditionalGeneration(config), processor


def qwen3_vl() -> Built:
    """Build a Qwen3-VL whose first layer gets features too, with the turns of Qwen/Qwen3-VL-2B-Instruct."""
    tokenizer, text, ids = _qwen()
    rope = {"rope_type": "default", "mrope_section": [2, 1, 1], "mrope_interleaved": True, "rope_theta": 5e6}
    config = Qwen3VLConfig(
        vision_config={
            "depth": 2, "hidden_size": 32, "intermediate_size": 64, "num_heads": 2, "patch_size": 8,
            "out_hidden_size": 32, "num_position_embeddings": 16, "deepstack_visual_indexes": [0],
        },
        text_config={**text, "head_dim": 8, "rope_parameters": rope},
        **ids,
    )  # fmt: skip
    processor = without_video(Qwen3VLProcessor)(
        _qwen_pictures(8), tokenizer, None, chat_template=published_template("qwen3_vl")
    )
    return Qwen3VLForConditionalGeneration(config), processor


def _qwen() -> tuple[Any, dict[str, Any], dict[str, Any]]:
    """Return the tokenizer of both Qwens, their language model's settings, and the ids of special tokens."""
    tokenizer = tokenizer_of((*QWEN_TOKENS, *QWEN_VISION))
    names = ("vision_start_token_id", "vision_end_token_id", "image_token_id", "video_token_id")
    vocabulary = tokenizer.get_vocab()
    ids = {name: vocabulary[token] for name, token in zip(names, QWEN_VISION, strict=True)}
    return tokenizer, text_of(tokenizer), {**ids, "tie_word_embeddings": True}


def _qwen_pictures(patch: int) -> Qwen2VLImageProcessorPil:
    """Return a processor of at most sixteen image tokens, whose pictures keep their proportions."""
    token = (2 * patch) ** 2
    return Qwen2VLImageProcessorPil(
        patch_size=patch, merge_size=2, size={"shortest_edge": 4 * token, "longest_edge": 16 * token}
    )


BUILDERS: dict[str, Callable[[], Built]] = {
    "idefics3": idefics3,
    "smolvlm": smolvlm,
    "llava": llava,
    "llava_onevision": llava_onevision,
    "internvl": internvl,
    "gemma3": gemma3,
    "qwen2_5_vl": qwen2_5_vl,
    "qwen3_vl": qwen3_vl,
}
"""By `model_type`."""
