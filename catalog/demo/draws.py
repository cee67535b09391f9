"""Numbers drawn from the frozen seed that are the same for every NumPy, processor and operating system.

Only the raw 64-bit stream of PCG64 is used, which NumPy promises to keep (its distributions may change), and only
operations that IEEE 754 defines to the last bit.
"""

from __future__ import annotations

import numpy as np


class Draws:
    """An endless stream of draws for one `key`."""

    def __init__(self, *key: int) -> None:
        self.bits = np.random.PCG64(np.random.SeedSequence(list(key)))

    def uniform(self, low: float = 0.0, high: float = 1.0) -> float:
        """From `low` (included) to `high` (excluded)."""
        return low + (high - low) * ((int(self.bits.random_raw()) >> 11) * 2.0**-53)

    def normal(self) -> float:
        """Mean 0, standard deviation 1, within -6 and 6: the sum of twelve uniform draws."""
        return sum(self.uniform() for _ in range(12)) - 6.0

    def integer(self, low: int, high: int) -> int:
        """From `low` to `high`, both included."""
        return low + int(self.uniform() * (high - low + 1))

    def shuffled(self, items: list[str]) -> list[str]:
        """A copy of `items` in random order."""
        items = list(items)
        for i in range(len(items) - 1, 0, -1):
            j = self.integer(0, i)
            items[i], items[j] = items[j], items[i]
        return items
