"""The model card of a run's student: what it learnt from, how well it does, what it is for and what not."""

import json
from typing import Any

from db.vocabulary import Stage
from training.config import DistilConfig, StageConfig, load_config, public_name
from training.report import in_cell, split_sentence, table_rows
from training.state import RunFolder

HUB_LICENCES = {"apache-2.0", "mit", "gemma", "llama2"}
"""What the hub knows by name, of the licences presets have; others are `other` with their name."""
NOTES = {Stage.SFT: "stage 1 (`sft`)", Stage.DPO: "stage 1 (`sft`) and stage 2 (`dpo`)"}


def adapter_card(folder: RunFolder, report: dict[str, Any], stage: Stage, *, merged: bool = False) -> str:
    """Write the card of the adapter of a stage, or of the model it is `merged` into."""
    config = load_config(folder.config_path)
    snapshot = json.loads(folder.snapshot_path.read_text(encoding="utf-8"))
    student = public_name(config.student)
    what = "The whole model: the adapter is merged into it." if merged else "A LoRA adapter."
    parts = [
        _front_matter(config, student, merged=merged),
        f"# {report['run']}: {student}, for out-of-context news pictures",
        f"{what} It reads a news picture with the caption it was found under and answers *In context* or "
        f"*Out of context*, then says why. Made by OOC Desk from `{student}` in {NOTES[stage]}: "
        "the opinions of several large teachers where they agree, people's rulings where they conflict.",
        _data(report, snapshot),
        _training(config, stage),
        _figures(report),
        USE,
        _licence(config, student),
        _loading(student, config, merged=merged),
    ]
    return "\n\n".join(parts) + "\n"


def _front_matter(config: DistilConfig, student: str, *, merged: bool) -> str:
    lines = [
        "---",
        f"library_name: {'transformers' if merged else 'peft'}",
        "pipeline_tag: image-text-to-text",
    ]
    if config.licence in HUB_LICENCES:
        lines.append(f"license: {config.licence}")
    elif config.licence:
        lines += ["license: other", f"license_name: {config.licence}"]
    if "/" in student and not student.startswith("assets/"):
        lines += [f"base_model: {student}", f"base_model_relation: {'merge' if merged else 'adapter'}"]
    return "\n".join([*lines, "tags: [out-of-context, misinformation, lora]", "---"])


def _data(report: dict[str, Any], snapshot: dict[str, Any]) -> str:
    counts = snapshot["counts"]
    rows = [
        ("training cases", report["training_cases"]),
        ("of them agreed, their verdict the teachers'", counts.get("agreed")),
        ("of them settled by people", counts.get("settled")),
        ("left out: conflicts nobody settled", counts.get("left_out")),
        ("rulings", f"{report['rulings']} ({report['rulings_share']:.1%} of the training cases)"),
        ("preferences from rulings", counts.get("preferences")),
        ("held-out cases", report["held_out_cases"]),
        ("snapshot", f"`{snapshot['hash']}`"),
    ]
    table = _table(("", ""), [(name, f"{value}") for name, value in rows if value is not None])
    split_by = snapshot.get("teachers")
    return f"## Data\n\n{table}" + (f"\n\n{in_cell(split_sentence(split_by))}" if split_by else "")


def _training(config: DistilConfig, stage: Stage) -> str:
    stages: list[tuple[str, StageConfig]] = [("sft", config.sft)]
    if stage is Stage.DPO:
        stages.append(("dpo", config.dpo))
    rows = [
        (name, f"{one.learning_rate:g}", f"{one.epochs:g}", f"{one.batch_size * one.accumulation}")
        for name, one in stages
    ]
    text = "## Training\n\n" + _table(("stage", "peak learning rate", "epochs", "rows a step"), rows)
    text += (
        f"\n\nLoRA of rank {config.lora.rank} and alpha {config.lora.alpha} on linear layers of the language "
        f"model alone; vision tower and connector are as they were. AdamW, cosine, seed {config.seed}, "
        f"{config.dtype}."
    )
    if stage is Stage.DPO:
        kinds = " and ".join(f"{kind}" for kind in config.negatives.kinds)
        text += (
            f" Stage 2 is DPO with beta {config.dpo.beta:g} plus {config.dpo.sft_weight:g} times the SFT "
            f"loss on the chosen rationale{', with ' + kinds + ' negatives besides' if kinds else ''}; "
            "its reference is the student after stage 1."
        )
    return text


def _figures(report: dict[str, Any]) -> str:
    rows = []
    for label, scored in table_rows(report):
        low, high = scored["interval"]
        sides = (scored["by_verdict"].get(side) for side in ("in_context", "out_of_context"))
        shares = tuple("none" if share is None else f"{share:.3f}" for share in sides)
        f1 = "" if scored.get("macro_f1") is None else f"{scored['macro_f1']:.3f}"
        rows.append((label, f"{scored['accuracy']:.3f}", f"{low:.3f} to {high:.3f}", f1, *shares))
    text = "## Figures\n\nAccuracy on held-out cases, with bootstrap intervals over groups.\n\n"
    text += _table(("", "accuracy", "95 % interval", "macro-F1", "in context", "out of context"), rows)
    fit = report["calibration"]
    if "ece" in fit:
        text += (
            f"\n\nDivide log-odds by the temperature {fit['temperature']:.2f}, fitted on validation cases: "
            f"the expected calibration error is then {fit['ece']:.3f}, the Brier score {fit['brier']:.3f}."
        )
    return text


USE = """## Intended use

A second look for people who check pictures: it sorts, points and gives reasons, a person decides. It is not
made to judge whether a picture is edited or generated, nor to label or block posts on its own.

## Limits

- The figures hold for cases like the held-out ones. On other sources, languages and years it may do worse,
  and its probabilities are calibrated for the same cases only.
- Teachers agree on mistakes too; what they agree on was learnt without a person looking.
- A rationale is what the student says, not a proof: it can be fluent and wrong.
- It may have learnt from captions alone what it should have seen. Look at the picture."""


def _licence(config: DistilConfig, student: str) -> str:
    known = (
        f"The base, `{student}`, is under `{config.licence}`, which binds what is made of it."
        if config.licence
        else f"The licence of the base, `{student}`, is not recorded here: look at where it comes from."
    )
    return f"## Licence\n\n{known} The data's own terms are not changed by this."


def _loading(student: str, config: DistilConfig, *, merged: bool) -> str:
    if merged:
        load = 'model = AutoModelForImageTextToText.from_pretrained("THIS")'
        serve = "vllm serve THIS"
    else:
        load = f'base = AutoModelForImageTextToText.from_pretrained("{student}")\n'
        load += 'model = PeftModel.from_pretrained(base, "THIS")'
        room = 1 << max(3, (config.lora.rank - 1).bit_length())  # vLLM takes powers of two from 8
        serve = f"vllm serve {student} --enable-lora --max-lora-rank {room} --lora-modules desk=THIS"
    return (
        f"## Loading\n\n```python\n{load}\n```\n\n```\n{serve}\n```\n\n"
        "The verdict's question must be asked as in training: `training/prompts.py` of OOC Desk, "
        f"with {config.images.tiles} tile{'' if config.images.tiles == 1 else 's'} a picture."
    )


def _table(head: tuple[str, ...], rows: list[Any]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def leave_cards(folder: RunFolder, report: dict[str, Any]) -> None:
    """Write the card of each stage into its adapter's folder, in place of PEFT's empty one."""
    for stage in Stage:
        if folder.adapter_dir(stage).is_dir():
            card = adapter_card(folder, report, stage)
            (folder.adapter_dir(stage) / "README.md").write_text(card, encoding="utf-8")
