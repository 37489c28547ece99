"""`python -m training RUN_DIR`: run or resume a run folder."""

import argparse
import logging
import os
import sys
from pathlib import Path

from training.config import ConfigError
from training.faults import reason
from training.records import RecordError
from training.state import RunFolder, RunFolderError, StageStopped


def main(arguments: list[str] | None = None) -> int:
    """Run the folder named; exit status 0 when complete or stopped on request, 1 with one line when not."""
    parser = argparse.ArgumentParser(prog="python -m training", description=__doc__)
    parser.add_argument("run_dir", type=Path, metavar="RUN_DIR")
    parser.add_argument("--debug", action="store_true", help="show a traceback on failure")
    asked = parser.parse_args(arguments)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(name)s %(message)s")
    try:
        return _run(RunFolder(asked.run_dir.resolve()))
    except (RunFolderError, ConfigError, RecordError) as error:
        if asked.debug:
            raise
        print(error, file=sys.stderr)
    except Exception as error:
        if asked.debug:
            raise
        print(f"The run failed. {reason(error)}", file=sys.stderr)
        logging.getLogger(__name__).debug("traceback", exc_info=True)
    return 1


def _run(folder: RunFolder) -> int:
    folder.check()
    from training import distil, report

    try:
        made = distil.run(folder)
    except StageStopped:
        print(f"Stopped and saved. `python -m training {folder.path}` goes on from here.")
        return 0
    if made:  # the main process's; the others return nothing
        print(report.as_markdown(made))
    return 0


if __name__ == "__main__":
    sys.exit(main())
