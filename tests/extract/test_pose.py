"""Keypoint R-CNN: torchvision's own numbers and files, and real clips through it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from aqa.catalog.base import Media
from aqa.errors import WeightsError
from aqa.extract import Done, Job, extract, parse_plan
from aqa.extract.backbones import backbone, resolve
from aqa.extract.backbones.base import Pixels
from aqa.extract.backbones.keypoint_rcnn import PROPOSALS, Persons
from aqa.extract.backbones.matching import random_network
from aqa.extract.check import check_backbone
from aqa.extract.decode import read_frames
from aqa.extract.persons import JOINTS, PERSONS, finish


def test_the_network_is_torchvisions() -> None:
    """The same persons as by torchvision's own model, on the frame that is given to both as it is."""
    from torchvision.models.detection import keypointrcnn_resnet50_fpn

    found = backbone("pose")
    net = random_network(found, "tracked", 0)
    sizes = {"min_size": 96, "max_size": 160, "image_mean": [0.0] * 3, "image_std": [1.0] * 3}
    theirs = keypointrcnn_resnet50_fpn(
        weights=None,
        weights_backbone=None,
        box_detections_per_img=PERSONS,
        box_score_thresh=0.1,
        rpn_post_nms_top_n_test=PROPOSALS,
        **sizes,
    ).eval()
    for module in theirs.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = 0.0
    theirs.load_state_dict(net.state_dict())
    x = torch.randn(2, 3, 1, 96, 160, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        table, answer = net(x), theirs(list(x[:, :, 0]))
    for row, one in zip(table, answer, strict=True):
        n = len(one["boxes"])
        assert 1 <= n <= PERSONS
        torch.testing.assert_close(row[:n, :4], one["boxes"])
        torch.testing.assert_close(row[:n, 4], one["scores"])
        joints = row[:n, 5:].reshape(n, JOINTS, 3)
        torch.testing.assert_close(joints[..., :2], one["keypoints"][..., :2])
        torch.testing.assert_close(joints[..., 2].logit(), one["keypoints_scores"], rtol=1e-3, atol=1e-4)
        assert not row[n:].any()


def test_a_frame_without_anybody_is_a_row_of_zeros() -> None:
    net = Persons().eval()
    with torch.no_grad():
        net.roi_heads.box_predictor.cls_score.bias.copy_(torch.tensor([50.0, -50.0]))
    with torch.inference_mode():
        assert not net(torch.zeros(2, 3, 1, 64, 64)).any()


def test_published_weights_are_read_whole(tmp_path: Path) -> None:
    """torchvision's file has `backbone.`, `rpn.` and `roi_heads.`; elsewhere `backbone.` is a prefix to take off."""
    from torchvision.models import get_model_weights

    found = backbone("pose")
    [known] = [one for one in get_model_weights("keypointrcnn_resnet50_fpn") if one.name == "COCO_V1"]
    file = found.weights["coco"].files[0]
    assert known.url.endswith("/" + file)
    net = random_network(found, "tracked", 3)
    torch.save(net.state_dict(), tmp_path / file)
    resolved = resolve("pose", tmp_path / file)
    assert resolved.name == "pose.coco"
    assert "pose.coco_800" in resolved.warnings[0]
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), resolved.net.parameters(), strict=True))
    assert resolve("pose.coco_800:largest", tmp_path / file).pixels.crop == (800, 1344)
    alone = {name: tensor for name, tensor in net.state_dict().items() if name.startswith("backbone.")}
    torch.save(alone, tmp_path / "half.pth")
    with pytest.raises(WeightsError, match=r"do not fit pose:tracked.*missing: roi_heads|rpn"):
        resolve("pose.coco", tmp_path / "half.pth")


@pytest.mark.parametrize("how", ["largest", "central"])
def test_the_contract_holds_for_all_choices(how: str) -> None:
    from dataclasses import replace

    found = backbone("pose")
    check_backbone(replace(found, layers={how: found.layers[how]}), clip=(1, 64, 64))


def test_real_clips_go_through(shared_data: Path) -> None:
    """Random weights: plumbing alone. Two frames of each clip, all in shared batches."""
    resolved = resolve("pose.random")
    pixels = Pixels("fit", (64, 96), resolved.pixels.mean, resolved.pixels.std)
    job = Job("pose", resolved.net, pixels, parse_plan("dense:1:1"), finish=finish("tracked", pixels))
    samples = [(path.name, Media(path, 5, 7)) for path in sorted((shared_data / "clips").iterdir())]
    found = {event.id: event for event in extract(samples, [job], workers=0, threads=1, batch=4)}
    assert len(found) == len(samples) == 11
    for name, media in samples:
        done = found[name]
        assert isinstance(done, Done), done
        assert done.features.shape == (2, JOINTS, 3)
        assert np.isfinite(done.features).all()
        assert done.notes["pose"]["persons"] >= 1
        [chunk] = read_frames(media, np.arange(1))
        x, y, _ = done.features.reshape(-1, 3).T
        # up to the edges of the network's input, which is wider or higher than the frame
        larger = max(chunk.layout.height / 64, chunk.layout.width / 96) * 1.05
        assert min(x.min(), y.min()) >= 0
        assert x.max() <= 96 * larger
        assert y.max() <= 64 * larger
