"""RTMPose through rtmlib: with rtmlib and onnxruntime on tiny files where they are installed, else through stand-ins
with the signatures that rtmlib documents."""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType, SimpleNamespace

import av
import numpy as np
import pytest
import torch

from aqa.catalog.base import Media
from aqa.errors import MissingExtra, WeightsError
from aqa.extract import Done, Job, extract, parse_plan
from aqa.extract.backbones import backbone, resolve
from aqa.extract.backbones.rtmpose import GREY, Persons
from aqa.extract.persons import COLUMNS, JOINTS, PERSONS
from aqa.extract.precision import prepare

from . import onnx_files

installed = pytest.mark.skipif(find_spec("rtmlib") is None, reason="the extra `pose` is not installed")


@pytest.fixture
def files(tmp_path: Path):
    """Makes the two files in a folder; gives the pose file. `boxes` of the detector on 640 x 640 pixels."""

    def make(boxes=((0, 0, 640, 640, 0.9),), joints: int = JOINTS, detector: str = "yolox_tiny.onnx") -> Path:
        onnx_files.write_detector(tmp_path / detector, 640, boxes)
        return onnx_files.write_pose(tmp_path / "rtmpose-s.onnx", 256, 192, joints)

    return make


def write_dots(path: Path, dots: list[tuple[int, int] | None]) -> Path:
    """A lossless video of 80 x 80 pixels with a soft dot, brightest at (column, row); None for a black frame."""
    columns, rows = np.meshgrid(np.arange(80), np.arange(80))
    with av.open(str(path), "w") as file:
        stream = file.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 80, 80, "bgr0"
        for dot in dots:
            image = np.zeros((80, 80, 3), np.uint8)
            if dot is not None:
                away = (columns - dot[0]) ** 2 + (rows - dot[1]) ** 2
                image[:] = (255 * np.exp(-away / 4.5))[..., None].astype(np.uint8)
            file.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        file.mux(stream.encode(None))
    return path


@installed
def test_joints_come_back_through_rtmlib_and_onnxruntime(files, tmp_path: Path, capsys) -> None:
    resolved = resolve("rtmpose", files())
    assert resolved.name == "rtmpose.coco17"
    assert resolved.sha256.count("+") == 1
    assert resolved.kept(1, 640, 640) == (JOINTS, 3)
    job = Job("pose", resolved.net, resolved.pixels, parse_plan("dense:1:1"), finish=resolved.finish)
    dots = [(40, 30), (42, 33), None, (46, 39)]
    [done] = extract([("x", Media(write_dots(tmp_path / "a.mkv", dots)))], [job], workers=0, batch=3)
    assert isinstance(done, Done)
    assert done.features[:, 0, 2].tolist() == [1, 1, 0, 1]
    truth = np.array([[40, 30], [42, 33], [44, 36], [46, 39]]) + 0.5
    assert np.abs(done.features[:, :, :2] - truth[:, None]).max() < 0.6
    assert done.notes["pose"]["without"] == 1
    assert capsys.readouterr().out == "", "standard output belongs to --json"


@installed
def test_files_that_are_no_rtmpose_are_refused(files, tmp_path: Path) -> None:
    pose = files(joints=26)
    with pytest.raises(WeightsError, match=r"no RTMPose of 17 joints: it gives simcc_x \[1, 26, 384\]"):
        resolve("rtmpose", pose)
    pose.write_bytes(b"something else")
    with pytest.raises(WeightsError, match="onnxruntime cannot open it"):
        resolve("rtmpose", pose)


class Pose:
    """A stand-in for rtmlib.RTMPose: all joints at the middle of the box, confidence by their number."""

    outputs = (SimpleNamespace(name="simcc_x", shape=["batch", 17, 384]),) * 2
    seen: list[np.ndarray] = []  # noqa: RUF012

    def __init__(self, onnx_model: str, model_input_size: tuple = (192, 256), mean=None, std=None, to_openpose=False,
                 backend: str = "onnxruntime", device: str = "cpu") -> None:  # fmt: skip
        assert Path(onnx_model).exists()
        shape = ["batch", 3, 256, 192]
        self.model_input_size = model_input_size
        self.session = SimpleNamespace(
            get_inputs=lambda: [SimpleNamespace(shape=shape)], get_outputs=lambda: self.outputs
        )

    def __call__(self, image: np.ndarray, bboxes: list | np.ndarray = ()):
        assert len(bboxes), "rtmlib would take the whole image"
        assert image.dtype == np.uint8
        self.seen.append(image)
        middle = np.array([[(x1 + x2) / 2 - 0.5, (y1 + y2) / 2 - 0.5] for x1, y1, x2, y2 in bboxes])
        return np.repeat(middle[:, None], JOINTS, 1), np.tile(np.linspace(-0.1, 1.2, JOINTS), (len(bboxes), 1))


class Detector(Pose):
    boxes: np.ndarray = np.zeros((0, 4))

    def __call__(self, image: np.ndarray):  # pyright: ignore
        return self.boxes


@pytest.fixture
def stand_ins(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, contents in {
        "rtmlib": {"RTMPose": Pose, "YOLOX": Detector, "RTMDet": Detector},
        "onnxruntime": {"get_available_providers": lambda: ["CPUExecutionProvider"]},
    }.items():
        module = ModuleType(name)
        module.__dict__.update(contents, __spec__=ModuleSpec(name, None))
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(Pose, "seen", [])


def test_tables_hold_the_largest_persons(files, stand_ins, monkeypatch: pytest.MonkeyPatch) -> None:
    resolved = resolve("rtmpose.coco17:largest", files(detector="rtmdet_nano.onnx"))
    net = prepare(resolved.net, "fp32", "cpu")
    grey = torch.full((2, 3, 1, 64, 96), 20.0 - GREY)
    grey[1] = 300.0
    many = np.array([[k, 0, k + 3 + k % 5, 10] for k in range(7)], float)
    monkeypatch.setattr(Detector, "boxes", many)
    table = net(grey)
    assert table.shape == (2, PERSONS, COLUMNS)
    assert table.dtype == torch.float32
    largest = many[[4, 3, 2, 1, 6]]
    assert table[0, :, :4].tolist() == largest.tolist()
    assert table[0, :, 4].tolist() == [1] * PERSONS
    joints = table[0, :, 5:].reshape(PERSONS, JOINTS, 3).numpy()
    assert np.allclose(joints[:, 3, :2], (largest[:, :2] + largest[:, 2:]) / 2)
    assert (joints[0, 0, 2], joints[0, -1, 2]) == (0, 1), "confidences lie in 0..1"
    assert [int(image.max()) for image in Pose.seen] == [20, 255]
    monkeypatch.setattr(Detector, "boxes", np.array([]))
    assert not net(grey).any()


def test_which_files_belong_together(files, stand_ins, tmp_path: Path) -> None:
    pose = files()
    net = resolve("rtmpose", pose).net
    assert isinstance(net, Persons)
    assert net.detector.name == "yolox_tiny.onnx"
    with pytest.raises(WeightsError, match="this is a detector"):
        resolve("rtmpose", tmp_path / "yolox_tiny.onnx")
    (tmp_path / "yolox_m.onnx").touch()
    with pytest.raises(WeightsError, match=r"2 detectors lie beside it.*yolox\*\.onnx or rtmdet\*\.onnx"):
        resolve("rtmpose", pose)
    with pytest.raises(WeightsError, match="no such weight file"):
        resolve("rtmpose", tmp_path / "rtmpose-x.onnx")
    with pytest.raises(WeightsError, match=r"rtmpose\.coco17 needs a weight file.*rtmpose-\*\.onnx"):
        resolve("rtmpose")


def test_it_says_what_it_takes_without_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    found = backbone("rtmpose")
    assert found.allowed(1, 640, 640) is None
    assert "nearest 1x640x640" in (found.allowed(16, 640, 640) or "")
    assert found.weights["coco17"].licence.startswith("Apache-2.0")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match="rtmlib"):
        resolve("rtmpose", "rtmpose-s.onnx")
