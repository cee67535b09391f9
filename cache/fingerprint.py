"""What decides the numbers in a feature store, and nothing else."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ..errors import FingerprintMismatch


@dataclass(frozen=True)
class Fingerprint:
    """Two stores whose fingerprints agree hold the same numbers, up to rounding on other hardware.

    Batch size, decoder, torch and GPU are provenance and not part of it.
    """

    backbone: str  # "c3d.sports1m", or "import" for features that came from elsewhere
    layer: str  # "fc6"
    shape: tuple[int, ...]  # of one clip's feature
    weights: str  # sha256 of the weight file; "seed:0" for random weights; of the files for an import
    pixels: Mapping[str, Any]  # Pixels as a dict; {} for an import
    plan: str  # "10x16@103"
    short: str  # what is done with too short videos: edge, loop, zero, refuse
    precision: str  # fp32, bf16
    extractor: int  # raised by hand when the numbers change

    def to_json(self) -> dict[str, Any]:
        return json.loads(json.dumps(asdict(self)))

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> Fingerprint:
        return cls(**{**plain, "shape": tuple(plain["shape"])})

    @property
    def digest(self) -> str:
        """16 hex digits."""
        return hashlib.sha256(json.dumps(self.to_json(), sort_keys=True).encode()).hexdigest()[:16]

    def require(self, other: Fingerprint, where: str) -> None:
        """Raises FingerprintMismatch naming the first field in which `other`, found at `where`, differs from this."""
        mine, theirs = self.to_json(), other.to_json()
        for name, value in mine.items():
            if theirs[name] != value:
                raise FingerprintMismatch(
                    f"these features were made with {name} {theirs[name]!r}, not {value!r}", file=where, field=name
                )
