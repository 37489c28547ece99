"""`merge`, `push` and `provenance`: what comes out of a run."""

import argparse
import json
import tempfile
from dataclasses import asdict
from pathlib import Path

from db.vocabulary import Stage
from ooc_app import runner
from ooc_app.commands.terminal import Add, tell
from ooc_app.desk import Desk
from training import provenance, publishing


def add_commands(add: Add) -> None:
    """Add `merge`, `push` and `provenance`."""
    merging = add("merge", merge_command)
    merging.add_argument("merged", metavar="RUN")
    merging.add_argument("target", metavar="DIR", type=Path, help="a folder that is not there yet")
    merging.add_argument("--stage", choices=[stage.value for stage in Stage], help="default: the last")
    pushing = add("push", push_command)
    pushing.add_argument("pushed", metavar="RUN")
    pushing.add_argument("repo_id", metavar="REPO_ID", type=_repo_id, help="owner/name on the hub")
    pushing.add_argument("--merged", action="store_true", help="the whole model instead of the adapter")
    pushing.add_argument("--public", action="store_true", help="for everybody to see (default: private)")
    pushing.add_argument("--dry-run", action="store_true", help="list what would go up, and stop")
    add("provenance", provenance_command).add_argument("traced", metavar="RUN")


def merge_command(desk: Desk, given: argparse.Namespace) -> int:
    """Write a run's student as a whole model that loads without an adapter."""
    from training.merging import merge

    stage = merge(
        runner.run_dir_of(desk, given.merged), given.target, Stage(given.stage) if given.stage else None
    )
    size = sum(path.stat().st_size for path in given.target.iterdir())
    tell(given, "merged", {"run": given.merged, "stage": stage.value, "bytes": size})
    return 0


def push_command(desk: Desk, given: argparse.Namespace) -> int:
    """Put a run's adapter, or its merged model, on the Hugging Face hub; HF_TOKEN must be set."""
    run_dir = runner.run_dir_of(desk, given.pushed)
    if not given.merged:
        return _push(given, publishing.adapter_files(run_dir))
    from training.merging import merge

    with tempfile.TemporaryDirectory(prefix="ooc-merged-") as folder:
        model_dir = Path(folder) / "model"
        merge(run_dir, model_dir)
        return _push(given, publishing.merged_files(model_dir, run_dir))


def provenance_command(desk: Desk, given: argparse.Namespace) -> int:
    """Say where a run's adapters come from, and whether every file is as it was."""
    run_dir = runner.run_dir_of(desk, given.traced)
    said, found = provenance.read_provenance(run_dir), provenance.verify(run_dir)
    if given.json:
        print(json.dumps({**said, "verified": {**asdict(found), "holds": found.holds}}))
    else:
        code = said["code"] or {"commit": "unknown", "differs": False}
        print(f"student   {said['student']}, seed {said['seed']}, prompts {said['prompt_version']}")
        print(f"snapshot  {said['snapshot']}")
        print(f"code      {code['commit']}{', with changes' if code['differs'] else ''}")
        print("packages  " + ", ".join(f"{name} {version}" for name, version in said["packages"].items()))
        for kind, lines in (
            ("changed", found.changed),
            ("missing", found.missing),
            ("note", found.differences),
        ):
            for line in lines:
                print(f"{kind:10}{line}")
        print(f"{found.files} files {'are as they were' if found.holds else 'looked at'}.")
    return 0 if found.holds else 1


def _push(given: argparse.Namespace, files: dict[str, Path]) -> int:
    sizes = {name: path.stat().st_size for name, path in files.items()}
    if given.dry_run:
        seen = "public" if given.public else "private"
        if given.json:
            print(json.dumps({"repo_id": given.repo_id, "visibility": seen, "files": sizes}))
        else:
            print(f"To {given.repo_id}, {seen}:")
            for name, size in sizes.items():
                print(f"  {size:>12,} {name}")
        return 0
    address = publishing.push(files, given.repo_id, public=given.public)
    tell(given, "pushed", {"files": len(files), "bytes": sum(sizes.values()), "address": address})
    return 0


def _repo_id(text: str) -> str:
    if not publishing.REPO_ID.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not owner/name, as the hub names repositories")
    return text
