"""The networks of torchvision: as published, features before the classifier, weights fetched only when asked."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from aqa.errors import BadParameter, WeightsError
from aqa.extract.backbones import BACKBONES, backbone, resolve
from aqa.extract.backbones.matching import random_network


@pytest.mark.parametrize("arch", [arch for arch, where in BACKBONES.items() if where.startswith("torchvision")])
def test_torchvision_as_published(arch: str) -> None:
    from torchvision.models import get_model_weights

    found = backbone(arch)
    published = {known.name.lower().removesuffix("_v1"): known for known in get_model_weights(arch)}
    square = arch.startswith(("res", "reg"))  # image networks state one side
    assert list(found.weights) == [*published, "random"]
    for tag, known in published.items():
        mine, theirs = found.weights[tag], known.transforms()
        resize = (mine.pixels.resize,) if isinstance(mine.pixels.resize, int) else mine.pixels.resize
        assert list(resize) == theirs.resize_size
        assert [list(mine.pixels.crop), list(mine.pixels.mean)] == [theirs.crop_size * (1 + square), theirs.mean]
        assert [list(mine.pixels.std), mine.pixels.scale, mine.pixels.channels] == [theirs.std, 1.0, "rgb"]
        assert known.url.endswith("/" + mine.files[0])
        assert mine.sha256 in mine.files[0]
        assert len(mine.sha256 or "") == 8


@pytest.mark.parametrize("arch", ["r3d_18", "swin3d_t"])
def test_torchvision_features_come_before_the_classifier(arch: str) -> None:
    from torchvision.models import get_model

    found = backbone(arch)
    full = random_network(found, "logits", 0)
    theirs = get_model(arch, weights=None).eval()
    theirs.load_state_dict(full.state_dict())
    state = {name: tensor for name, tensor in full.state_dict().items() if name.partition(".")[0] not in ("fc", "head")}
    net = found.build("penultimate").eval()
    net.load_state_dict(state)
    x = torch.randn(1, 3, 8, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        classifier = theirs.fc if arch == "r3d_18" else theirs.head
        torch.testing.assert_close(classifier(net(x)), theirs(x))
        torch.testing.assert_close(full(x), theirs(x))


@pytest.mark.parametrize("arch", ["resnet18", "regnet_y_400mf"])
def test_image_networks_are_torchvisions(arch: str) -> None:
    """Logits are its own, the pooled feature comes before the classifier, the map before the pooling."""
    from torchvision.models import get_model

    found = backbone(arch)
    full = random_network(found, "logits", 0)
    theirs = get_model(arch, weights=None).eval()
    theirs.load_state_dict(full.state_dict())
    nets = {layer: found.build(layer).eval() for layer in ("penultimate", "map")}
    for net in nets.values():
        net.load_state_dict({name: full.state_dict()[name] for name in net.state_dict()})
    x = torch.randn(2, 3, 1, 70, 100, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        torch.testing.assert_close(full(x), theirs(x[:, :, 0]))
        torch.testing.assert_close(theirs.fc(nets["penultimate"](x)), theirs(x[:, :, 0]))
        maps = nets["map"](x)
        assert tuple(maps.shape[1:]) == tuple(found.layers["map"](1, 70, 100))
        torch.testing.assert_close(maps.mean((2, 3)), nets["penultimate"](x))


def test_torchvision_clip_limits() -> None:
    assert "1x64x224" in (backbone("resnet18").allowed(16, 64, 224) or "")
    assert "96x1of96" in (backbone("regnet_y_400mf").allowed(8, 224, 224) or "")
    assert "1x320x576" in (backbone("pose").allowed(1, 325, 570) or "")
    assert "14x224x224" in (backbone("s3d").allowed(8, 112, 224) or "")
    assert "16x224x224" in (backbone("mvit_v2_s").allowed(32, 224, 224) or "")
    assert backbone("mvit_v2_s").allowed(16, 224, 224) is None
    assert backbone("swin3d_t").allowed(32, 224, 224) is None


class FakeHub:
    """Stands for torch.hub: a cache folder and a network that answers or does not."""

    def __init__(self, folder: Path, answer: Exception | None) -> None:
        self.folder, self.answer, self.asked = folder, answer, list[str]()

    def get_dir(self) -> str:
        return str(self.folder)

    def download_url_to_file(self, url: str, dst: str, hash_prefix: str | None = None, progress: bool = True) -> None:
        self.asked.append(url)
        if self.answer is not None:
            raise self.answer
        torch.save(random_network(backbone("mc3_18"), "logits", 3).state_dict(), dst)


def use_hub(monkeypatch: pytest.MonkeyPatch, hub: FakeHub) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", hub.get_dir)
    monkeypatch.setattr(torch.hub, "download_url_to_file", hub.download_url_to_file)


def test_torchvision_weights_are_fetched_once_and_only_when_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = FakeHub(tmp_path, None)
    use_hub(monkeypatch, hub)
    assert resolve("mc3_18").name == "mc3_18.random"
    with pytest.raises(WeightsError, match=r"mc3_18-a90a0ba3\.pth with --weights FILE, or --weights torchvision"):
        resolve("mc3_18.kinetics400")
    assert hub.asked == []
    resolved = resolve("mc3_18", "torchvision")
    assert (resolved.name, resolved.licence.startswith("BSD")) == ("mc3_18.kinetics400", True)
    assert "not the file as published" in " ".join(resolved.warnings)  # what the fake sent
    again = resolve("mc3_18.kinetics400")
    assert again.sha256 == resolved.sha256
    assert len(hub.asked) == 1
    assert hub.asked[0].endswith("/mc3_18-a90a0ba3.pth")


def test_no_network_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from urllib.error import URLError

    use_hub(monkeypatch, FakeHub(tmp_path, URLError("no route to host")))
    with pytest.raises(WeightsError, match=r"no route to host.*give it with --weights FILE"):
        resolve("mc3_18", "torchvision")
    with pytest.raises(BadParameter, match=r"torchvision does not publish c3d\.sports1m"):
        resolve("c3d", "torchvision")
