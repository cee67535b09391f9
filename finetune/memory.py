"""How many samples fit: what the gradient keeps of one is counted, on any device, and set against what is free."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

from ..errors import AqaError

RESERVE = 0.8  # share of the free memory that may be used: gradients of activations, and what libraries take
STATES = 4  # numbers per weight: itself, its gradient, two moments


def kept_bytes(forward: Callable[[], object]) -> int:
    """Bytes that a forward keeps for its gradient, weights not among them; each piece of memory once."""
    seen: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        if not isinstance(tensor, torch.nn.Parameter):
            storage = tensor.untyped_storage()
            seen[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = forward()
    del loss
    return sum(seen.values())


def free_bytes(device: torch.device) -> int | None:
    """Memory that is free on `device`; None where nobody says."""
    if device.type == "cuda":
        gc.collect()
        torch.cuda.empty_cache()  # what torch keeps for itself is free
        return torch.cuda.mem_get_info(device)[0]
    meminfo = Path("/proc/meminfo")
    if device.type != "cpu" or not meminfo.exists():
        return None
    lines = (line.split() for line in meminfo.read_text().splitlines())
    return next((1024 * int(words[1]) for words in lines if words[0] == "MemAvailable:"), None)


def samples_that_fit(per_sample: int, weights: int, free: int) -> int:
    """Samples whose activations (`per_sample` bytes each) fit beside the states of `weights` numbers; 0 for none."""
    return max(0, int((RESERVE * free - 4 * (STATES - 1) * weights) // max(1, per_sample)))


def out_of_memory(error: BaseException) -> bool:
    """Whether `error` is torch's way of saying so."""
    words = ("out of memory", "can't allocate memory", "not enough memory")
    return isinstance(error, torch.OutOfMemoryError | RuntimeError) and any(word in str(error) for word in words)


def too_much(samples: int, fits: int) -> AqaError:
    """What is said when `samples` at once were too many; `fits`: how many would do."""
    what = f"the memory of the device does not hold {samples} sample{'s' * (samples != 1)} at once"
    less = min(fits, samples - 1)
    if less >= 1:
        return AqaError(what, field="batch", hint=f"--batch {less} would fit; the result is the same mean over a batch")
    return AqaError(what, field="batch", hint="--recompute keeps no activations, --precision bf16 halves them")


@contextmanager
def room_for(what: str) -> Iterator[None]:
    """Turns torch's word that the memory is full into an AqaError."""
    try:
        yield
    except (torch.OutOfMemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        hint = "a smaller --batch, or --precision bf16; the same command goes on from the last checkpoint"
        raise AqaError(f"the memory of the device is full {what}", field="batch", hint=hint) from error
