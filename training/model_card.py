"""The model card of the tiny student, written from the figures of its pretraining."""

from typing import Any

SKILLS = {
    "describe": "describe the picture (share of answer tokens; several wordings are right)",
    "ask_fact": "name one fact (share of answer tokens; several wordings are right)",
    "judge_fact": "is this fact true?",
    "check_facts": "which facts of this caption are true? (share of answer tokens)",
    "judge_caption": "is this whole caption true?",
    "ask_claim": "tell what the caption says of one fact (share of tokens; several wordings are right)",
    "compare": "one fact in picture and caption (share of answer tokens; several wordings are right)",
}


def model_card(report: dict[str, Any]) -> str:
    """Write the card: what the model is, what it knows, how it was made and how well it does."""
    config, held_out = report["config"], report["held_out"]
    skills = "\n".join(f"| {text} | {held_out[name]:.3f} |" for name, text in SKILLS.items())
    facts = ", ".join(f"{name} {value:.4f}" for name, value in report["held_out_facts"].items())
    return f"""---
library_name: transformers
pipeline_tag: image-text-to-text
license: apache-2.0
tags: [idefics3, out-of-context, demo]
---

# The tiny student of OOC Desk

An Idefics3 (the class that also loads SmolVLM-256M/500M-Instruct) with
{report["parameters"] / 1e6:.2f} million parameters. It knows **only the drawn pictures of the demo
world** and is of no use on photographs: its answer to one is a guess, however firm it sounds.
`domain.json` holds the feature distance beyond which OOC Desk says so before it answers.

It has never seen the verdict prompt, a verdict as an answer, or a rationale. Stage 1 and stage 2 of a
distillation teach it those.

## Data

{config["pictures"]:,} drawn news scenes of five facts (event, landmark, time of day, weather, crowd)
at 64 x 64 pixels, and exercises made anew for every batch: descriptions, questions about facts, and
whether facts and whole captions are true of the picture, in twelve wordings and four pairs of answer
words. Nothing was downloaded; every picture and sentence is made by the project, whose licence is
Apache-2.0.

## Training

{config["vision_steps"]} steps of {config["vision_batch"]} pictures for the vision tower (tell the five
facts), then {config["steps"]:,} steps of {config["batch"]} exercises for the language model, then
{config["both_sides_steps"]:,} that also ask what the caption says; AdamW, peak learning rate
{config["learning_rate"]} and {config["both_sides_learning_rate"]}, cosine;
{report["seconds"] // 60} minutes on {config["threads"]} CPU cores.
`make student` does it again; the shipped weights were made in these phases one after another, the
later ones from the 16-bit weights of the earlier.

## Held out

On {report["held_out_pictures"]:,} pictures whose seeds were never drawn in training, questions made anew:

| skill | accuracy |
| --- | --- |
{skills}

Facts told by linear heads on the frozen image features: {facts}.
"""
