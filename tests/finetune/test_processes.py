"""What two processes agree on: `two_processes.py`, as torchrun starts it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def test_two_processes_agree(tmp_path: Path):
    case = Path(__file__).with_name("two_processes.py")
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone"]
    words = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", str(case)]
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    env |= {"OMP_NUM_THREADS": "1", "TMPDIR": str(tmp_path), "PYTEST_DEBUG_TEMPROOT": str(tmp_path)}
    done = subprocess.run([*launch, *words], env=env, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("3 passed") == 2
