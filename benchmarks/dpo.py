"""Optimizer steps per second of stage 2 on the fast path against TRL's own, and how far they part.

python benchmarks/dpo.py [--large | --only STUDENT] [--steps N] [--json]
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # a script finds its own folder only

from benchmarks.stages import main
from db.vocabulary import Stage

if __name__ == "__main__":
    main(Stage.DPO, __doc__.splitlines()[0])
