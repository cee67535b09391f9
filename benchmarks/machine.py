"""What a result file says about where it was measured."""

from __future__ import annotations

import json
import platform
import sys
from pathlib import Path
from typing import Any

from aqa.pipelines.versions import versions


def write(result: dict[str, Any], out: Path | None) -> None:
    """Print `result` with the machine it was measured on; write it to `out`, whole or not at all."""
    full = {"machine": {"processor": _processor(), **versions()}, **result}
    text = json.dumps(full, indent=1) + "\n"
    print(text, end="")
    if out is not None:
        temporary = out.with_suffix(".tmp")
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(out)
        print(f"wrote {out}", file=sys.stderr)


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
