"""What each family is asked, how its answers end, and on which path it trains; said before any training."""

from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from PIL import Image
from transformers import (
    AutoConfig,
    Lfm2Config,
    Lfm2Model,
    Lfm2VlConfig,
    LlavaConfig,
    MistralConfig,
    set_seed,
)

from db.vocabulary import Verdict
from tests.training.tiny_families import build_family
from tests.training.tiny_video_families import BUILDERS
from training.base import StudentError, load_base
from training.config import DistilConfig, DpoConfig, LoraSettings, StageConfig
from training.conversations import answer_turn, question_turn
from training.families import FAMILIES, route
from training.fast import tokenized
from training.features import Pictures
from training.processors import load_processor
from training.records import CaseInput
from training.shared_prefix import visible
from training.student import Student

CASE = CaseInput("a", "picture.png", "A market by the sea.")
ASKED = (
    'Caption: "A market by the sea."\n'
    "Does the picture show what this caption says, in context or out of context?"
)
SAID = "Out of context. Place: the castle."


class Turns(NamedTuple):
    """What stands before the picture, between it and the question, between question and answer, and last."""

    system: str
    after_picture: str
    cue: str
    end: str


AROUND = "<fake_token_around_image>"
SMOLVLM = Turns(
    f"<|im_start|>User:{AROUND}<global-img>",
    AROUND,
    "<end_of_utterance>\nAssistant:",
    f" {SAID}<end_of_utterance>\n",
)
CHATML = ("<|im_end|>\n<|im_start|>assistant\n", SAID + "<|im_end|>\n")
TURNS: dict[str, Turns] = {
    "idefics3": SMOLVLM,
    "smolvlm": SMOLVLM,
    "llava": Turns("USER: ", "\n", " ASSISTANT:", f" {SAID} </s>"),
    "llava_onevision": Turns("<|im_start|>user\n", "\n", *CHATML),
    "internvl": Turns("<|im_start|>user\n<img>", "</img>\n", *CHATML),
    "gemma3": Turns(
        "<bos><start_of_turn>user\n\n\n<start_of_image>",
        "<end_of_image>\n\n",
        "<end_of_turn>\n<start_of_turn>model\n",
        f"{SAID}<end_of_turn>\n",
    ),
    "qwen2_5_vl": Turns(
        "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n<|vision_start|>",
        "<|vision_end|>",
        *CHATML,
    ),
    "qwen3_vl": Turns("<|im_start|>user\n<|vision_start|>", "<|vision_end|>", *CHATML),
}


@pytest.fixture(scope="module")
def folder_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Give a function that builds an untrained student of a family, once."""
    built: dict[str, Path] = {}

    def folder(name: str) -> Path:
        if name not in built:
            built[name] = build_family(BUILDERS[name], tmp_path_factory.mktemp(name))
        return built[name]

    return folder


def _config(**changes: Any) -> DistilConfig:
    stage: dict[str, Any] = {"learning_rate": 1e-3, "epochs": 1, "batch_size": 2}
    return DistilConfig(student="x", sft=StageConfig(**stage), dpo=DpoConfig(**stage), **changes)


def _row(folder: Path, model: Any, processor: Any) -> Any:
    """Return prompt and answer of the case as the fast path tokenizes them; it does so as TRL does."""
    pictures = Pictures(
        folder, model, processor, FAMILIES[model.config.model_type], folder=folder / "features", budget=10**9
    )
    example = {
        "images": [CASE.image],
        "prompt": question_turn(CASE),
        "completion": answer_turn(Verdict.OUT_OF_CONTEXT, "Place: the castle."),
    }
    return tokenized([example], ["completion"], pictures)[0]


@pytest.mark.parametrize("name", list(BUILDERS))
def test_serving_asks_what_training_asked_and_the_template_says_it(
    name: str, folder_of: Callable[[str], Path], tmp_path: Path
) -> None:
    model, processor = load_base(str(folder_of(name)), "float32")
    picture = Image.linear_gradient("L").resize((96, 64)).convert("RGB")
    picture.save(tmp_path / CASE.image)
    row = _row(tmp_path, model, processor)
    turns, image = TURNS[name], model.config.image_token_id
    prompt = list(row.prompt)
    first, tokens = prompt.index(image), prompt.count(image)
    assert prompt[first : first + tokens] == [image] * tokens, "the picture stands in one place"
    read = processor.tokenizer.decode
    assert read(prompt[:first]) == turns.system
    assert read(prompt[first + tokens :]) == turns.after_picture + ASKED + turns.cue
    assert read(row.answers[0]) == turns.end
    served = Student(model, processor, name=name).encoded([picture], [CASE])
    assert served["input_ids"][0].tolist() == prompt


@pytest.mark.parametrize("name", list(BUILDERS))
def test_a_verdict_does_not_depend_on_the_padding_beside_it(
    name: str, folder_of: Callable[[str], Path]
) -> None:
    student = Student.load(str(folder_of(name)))
    picture = Image.linear_gradient("L").resize((96, 64)).convert("RGB")
    pictures = [picture, picture.rotate(90, expand=True)]
    cases = [CASE, replace(CASE, caption="The fair. " * 20)]
    together = student.margins(pictures, cases)
    alone = [student.margins([one], [case])[0] for one, case in zip(pictures, cases, strict=True)]
    assert together == pytest.approx(alone, abs=1e-5)
    assert alone[0] != pytest.approx(alone[1], abs=1e-5)


@pytest.mark.parametrize("name", list(BUILDERS))
def test_every_family_known_here_takes_the_fast_path_and_says_so(
    name: str, folder_of: Callable[[str], Path]
) -> None:
    model, _ = load_base(str(folder_of(name)), "float32")
    taken = route(_config(), model)
    assert taken.family is FAMILIES[name]
    assert taken.why == f"fast: features are computed once, and answers share their prompt ({name})."


def test_the_table_names_exactly_the_families_that_are_tried() -> None:
    assert FAMILIES.keys() == BUILDERS.keys() == TURNS.keys()


class _Untrained:
    """A model as far as the choice of a path looks at it: a configuration, and no layers."""

    def __init__(self, config: Any) -> None:
        self.config = config
        config.get_text_config()._attn_implementation = "sdpa"

    def named_modules(self) -> list[tuple[str, Any]]:
        return [("model.vision_tower.layers.0.q_proj", None)]


@pytest.mark.parametrize(
    ("config", "changes", "why"),
    [
        (Lfm2VlConfig(), {}, "stock: lfm2_vl's short convolutions would carry one answer into the next."),
        (AutoConfig.for_model("llava_next"), {}, "stock: what llava_next takes from a picture is not known"),
        (LlavaConfig(text_config=MistralConfig(sliding_window=64)), {}, "sliding window"),
        (LlavaConfig(), {"path": "stock"}, "stock: the configuration asks for it."),
        (LlavaConfig(), {"lora": LoraSettings(targets="all-linear")}, "stock: LoRA adapts all linear layers"),
        (LlavaConfig(), {"lora": LoraSettings(targets=".*q_proj")}, "stock: LoRA adapts model.vision_tower"),
    ],
)  # fmt: skip
def test_what_cannot_be_shared_takes_the_stock_path_and_says_why(
    config: Any, changes: dict[str, Any], why: str
) -> None:
    taken = route(_config(**changes), _Untrained(config))
    assert taken.family is None
    assert why in taken.why


def test_a_short_convolution_carries_one_answer_into_the_next_whatever_the_mask() -> None:
    """Why LFM2-VL is not on the fast path: its layers, run on a prompt of two tokens and two answers."""
    set_seed(0)
    shape: dict[str, Any] = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
    }
    config = Lfm2Config(vocab_size=64, num_hidden_layers=1, layer_types=["conv"], **shape)
    model = Lfm2Model(config).eval()
    sees = visible(torch.tensor([[0, 0, 1, 1, 2, 2]]))
    mask = torch.zeros(sees.shape).masked_fill(~sees, torch.finfo(torch.float32).min)[:, None]
    with torch.no_grad():
        one, other = (
            model(
                torch.tensor([[3, 4, *answer, 7, 8]]), attention_mask=mask, use_cache=False
            ).last_hidden_state
            for answer in ((5, 6), (9, 10))
        )
    assert not torch.allclose(one[:, 4:], other[:, 4:], rtol=0, atol=1e-5)


@pytest.mark.skipif(find_spec("torchvision") is not None, reason="its processor runs where this is")
def test_a_processor_that_needs_torchvision_is_refused_with_the_way_out(tmp_path: Path) -> None:
    folder = build_family(BUILDERS["llava"], tmp_path)
    Lfm2VlConfig().save_pretrained(folder)
    (folder / "processor_config.json").write_text(
        '{"processor_class": "Lfm2VlProcessor", "image_processor": '
        '{"image_processor_type": "Lfm2VlImageProcessorFast"}}'
    )
    with pytest.raises(StudentError, match="Take torchvision from the index that torch came from"):
        load_base(str(folder), "float32")


def test_a_processor_saved_in_files_of_its_own_parts_is_read(folder_of: Callable[[str], Path]) -> None:
    """The hub's older layout: no processor_config.json, image processors by the names they had."""
    folder = folder_of("qwen3_vl")
    whole = load_processor(str(folder))
    older = folder.parent / "older"
    older.mkdir()
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        (older / name).write_bytes((folder / name).read_bytes())
    whole.image_processor.save_pretrained(older)
    settings = (older / "preprocessor_config.json").read_text(encoding="utf-8")
    (older / "preprocessor_config.json").write_text(settings.replace("ProcessorPil", "ProcessorFast"))
    (older / "video_preprocessor_config.json").write_text('{"video_processor_type": "Qwen3VLVideoProcessor"}')
    again = load_processor(str(older))
    assert again.chat_template == whole.chat_template
    assert again.image_processor.to_dict() == whole.image_processor.to_dict()


def test_a_processor_is_saved_under_the_name_of_its_family(folder_of: Callable[[str], Path]) -> None:
    for name, kind in {"smolvlm": "SmolVLMProcessor", "internvl": "InternVLProcessor"}.items():
        saved = (folder_of(name) / "processor_config.json").read_text(encoding="utf-8")
        assert f'"processor_class": "{kind}"' in saved
        assert "video_processor" not in saved
