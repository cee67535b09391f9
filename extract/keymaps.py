"""Under which names and in which layout published weight files hold a network: tables, and the two ways through them.

Our own names are those of DavideA's `c3d.pickle` and piergiaj's `rgb_imagenet.pt`, so for these (and for torchvision)
the map is "own", the identity. Sources of the rest: section 5 of the specification, read in the repositories named.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class KeyMap:
    """`names`: theirs -> ours; several of theirs may mean one of ours (spellings of one format).

    `kernel_axes`: permutation that brings their 5-D kernels to [out, in, T, H, W]; `flipped` then lists the axes along
    which the kernel is stored reversed. `matrix_axes`: likewise for [out, in]. `prefixes` are dropped from the front of
    their names. `ones`: endings of our names that the format leaves out because they are 1 (batch-norm without scale).
    `companion`: text in the file's name and its replacement, which give the file with the rest of the network.
    """

    title: str
    names: Mapping[str, str]
    kernel_axes: tuple[int, ...] = (0, 1, 2, 3, 4)
    flipped: tuple[int, ...] = ()
    matrix_axes: tuple[int, int] = (0, 1)
    prefixes: tuple[str, ...] = ()
    ones: tuple[str, ...] = ()
    companion: tuple[str, str] | None = None

    def ours(self, name: str) -> str | None:
        """Our name for theirs, or None. ":0", which TensorFlow appends, is ignored."""
        name = name.removesuffix(":0")
        for prefix in self.prefixes:
            name = name.removeprefix(prefix)
        return self.names.get(name)

    def to_ours(self, tensor: torch.Tensor) -> torch.Tensor:
        """A view in our layout; vectors and scalars stay as they are."""
        if tensor.ndim == 5:
            return tensor.permute(self.kernel_axes).flip(self.flipped)
        return tensor.permute(self.matrix_axes) if tensor.ndim == 2 else tensor

    def to_theirs(self, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """The inverse for tensors under our names: what such a file would hold, under its first spelling."""
        theirs: dict[str, str] = {}
        for name, our in self.names.items():
            theirs.setdefault(our, name)
        prefix = self.prefixes[0] if self.prefixes else ""
        return {
            prefix + theirs[name]: self._layout_of_theirs(tensor)
            for name, tensor in tensors.items()
            if not name.endswith(self.ones or ("\0",))
        }

    def _layout_of_theirs(self, tensor: torch.Tensor) -> torch.Tensor:
        if tensor.ndim == 5:
            back = sorted(range(5), key=self.kernel_axes.__getitem__)
            return tensor.flip(self.flipped).permute(back).contiguous()
        return tensor.permute(self.matrix_axes).contiguous() if tensor.ndim == 2 else tensor


C3D_LAYERS = ("conv1", "conv2", "conv3a", "conv3b", "conv4a", "conv4b", "conv5a", "conv5b", "fc6", "fc7", "fc8")


def _pairs(their_layers: Mapping[str, str], weight: str = ".weight", bias: str = ".bias") -> dict[str, str]:
    """`their_layers`: ours -> theirs. Two names a layer."""
    return {
        theirs + ending: f"{ours}.{kind}"
        for ours, theirs in their_layers.items()
        for ending, kind in ((weight, "weight"), (bias, "bias"))
    }


def _c3d(*theirs: str) -> dict[str, str]:
    return dict(zip(C3D_LAYERS, theirs, strict=False))


def _c3d_tf() -> dict[str, str]:
    stems = _c3d("c1", "c2", "c3a", "c3b", "c4a", "c4b", "c5a", "c5b", "d1", "d2", "out")
    names = {f"{kind[0]}{stem}": f"{ours}.{kind}" for ours, stem in stems.items() for kind in ("weight", "bias")}
    return {**names, "out": "fc8.weight"}


def _c3d_keras() -> dict[str, str]:
    """Groups by position (Keras 0.3) or by name (Keras 1)."""
    positions = (0, 2, 4, 5, 7, 8, 10, 11, 15, 17, 19)
    by_position = _pairs(_c3d(*(f"layer_{i}/param" for i in positions)), "_0", "_1")
    return {**by_position, **_pairs(_c3d(*(f"{layer}/{layer}" for layer in C3D_LAYERS)), "_W", "_b")}


# unit of an Inception block: ours -> (hassony2's, TensorFlow's)
INCEPTION = {
    "b0": ("branch_0", "Branch_0/Conv3d_0a_1x1"),
    "b1a": ("branch_1.0", "Branch_1/Conv3d_0a_1x1"),
    "b1b": ("branch_1.1", "Branch_1/Conv3d_0b_3x3"),
    "b2a": ("branch_2.0", "Branch_2/Conv3d_0a_1x1"),
    "b2b": ("branch_2.1", "Branch_2/Conv3d_0b_3x3"),
    "b3b": ("branch_3.1", "Branch_3/Conv3d_0b_1x1"),
}
BLOCKS = ("3b", "3c", "4b", "4c", "4d", "4e", "4f", "5b", "5c")


def i3d_units() -> Iterator[tuple[str, str, str]]:
    """The 57 units of I3D in order, as (ours, hassony2's, TensorFlow's)."""
    for stem in ("Conv3d_1a_7x7", "Conv3d_2b_1x1", "Conv3d_2c_3x3"):
        yield stem, stem.lower(), stem
    for block in BLOCKS:
        for unit, (hassony2, tf) in INCEPTION.items():
            if (block, unit) == ("5b", "b2b"):  # misspelt when DeepMind's network was trained, and kept
                tf = "Branch_2/Conv3d_0a_3x3"
            yield f"Mixed_{block}.{unit}", f"mixed_{block}.{hassony2}", f"Mixed_{block}/{tf}"


def _i3d_hassony2() -> dict[str, str]:
    names = {"conv3d_0c_1x1.conv3d.weight": "logits.conv3d.weight", "conv3d_0c_1x1.conv3d.bias": "logits.conv3d.bias"}
    for ours, theirs, _ in i3d_units():
        names[f"{theirs}.conv3d.weight"] = f"{ours}.conv3d.weight"
        for part in ("weight", "bias", "running_mean", "running_var"):
            names[f"{theirs}.batch3d.{part}"] = f"{ours}.bn.{part}"
    return names


def _i3d_tf() -> dict[str, str]:
    logits = "Logits/Conv3d_0c_1x1/conv_3d"
    names = {f"{logits}/w": "logits.conv3d.weight", f"{logits}/b": "logits.conv3d.bias"}
    for ours, _, theirs in i3d_units():
        names[f"{theirs}/conv_3d/w"] = f"{ours}.conv3d.weight"
        for tf, part in (("beta", "bias"), ("moving_mean", "running_mean"), ("moving_variance", "running_var")):
            names[f"{theirs}/batch_norm/{tf}"] = f"{ours}.bn.{part}"
    return names


FEATURES = tuple(f"features.{i}" for i in (0, 3, 6, 8, 11, 13, 16, 18))
CAFFE = ("conv1a", "conv2a", *C3D_LAYERS[2:8])

KEYMAPS: dict[str, KeyMap] = {
    "c3d-mtl-aqa": KeyMap(
        "MTL-AQA's model_CNN and model_my_fc6",
        {**_pairs(_c3d(*C3D_LAYERS[:8])), **_pairs({"fc6": "fc"})},
        companion=("model_CNN", "model_my_fc6"),
    ),
    "c3d-jfzhang95": KeyMap("jfzhang95", _pairs(_c3d(*FEATURES, "classifier.0", "classifier.3"))),
    "c3d-mmaction2": KeyMap(
        "mmaction2",
        _pairs({**_c3d(*(f"{name}.conv" for name in CAFFE), "fc6", "fc7"), "fc8": "cls_head.fc_cls"}),
    ),
    "c3d-caffe": KeyMap(
        "Caffe", _pairs(_c3d(*CAFFE, "fc6-1", "fc7-1", "fc8-1")) | _pairs({fc: fc for fc in C3D_LAYERS[8:]})
    ),
    # That code moves pool5 from (T, H, W, C) to (T, C, H, W) before fc6, which with T = 1 is our order: fc6 as it is.
    "c3d-tf": KeyMap(
        "TensorFlow (hx173149)",
        _c3d_tf(),
        kernel_axes=(4, 3, 0, 1, 2),
        matrix_axes=(1, 0),
        prefixes=("var_name/",),
    ),
    # Theano convolves where Caffe correlates; the conversion turned each plane by 180 degrees and left time alone.
    "c3d-keras": KeyMap("Keras with Theano's order", _c3d_keras(), flipped=(3, 4), matrix_axes=(1, 0)),
    "i3d-hassony2": KeyMap("hassony2", _i3d_hassony2()),
    "i3d-tf": KeyMap(
        "TensorFlow (DeepMind)",
        _i3d_tf(),
        kernel_axes=(4, 3, 0, 1, 2),
        prefixes=("RGB/inception_i3d/", "Flow/inception_i3d/"),
        ones=(".bn.weight",),
    ),
}
