"""Every benchmark that runs without a GPU, one after the other, each writing ``results/<name>-cpu.json``."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
BENCHMARKS = ("cli", "cache", "heads", "gcn", "leaderboard", "finetune", "extract")

if __name__ == "__main__":
    for name in BENCHMARKS:
        print(f"== {name}", flush=True)
        out = HERE / "results" / f"{name}-cpu.json"
        subprocess.run([sys.executable, HERE / f"{name}.py", "--out", out], check=True)
