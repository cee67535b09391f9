"""Backbones by name, their sizes, random weights, and that the docs list them all."""

from __future__ import annotations

import hashlib
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path

import pytest
import torch

from aqa.errors import BadParameter, MissingExtra, UnknownName, UsageError
from aqa.extract import backbones
from aqa.extract.backbones import BACKBONES, backbone, names, parse, resolve
from aqa.extract.backbones.matching import empty, random_network

DOCS = Path(__file__).resolve().parents[2] / "docs" / "backbones.md"


def parameters(spec: str, part: str = "") -> int:
    found, _, layer = parse(spec)
    return sum(p.numel() for name, p in empty(found, layer).named_parameters() if name.startswith(part))


@pytest.mark.parametrize(
    ("spec", "part", "count"),
    [
        ("c3d:fc8", "", 79_991_015),
        ("c3d:fc8", "conv", 27_655_936),
        ("c3d:pool5", "", 27_655_936),
        ("c3d:fc6", "fc6", 33_558_528),  # C3D-AVG's my_fc6 has the same
        ("i3d", "", 12_287_264),
        ("i3d:logits", "", 12_697_264),
        ("r3d_18:logits", "", 33_371_472),
        ("mc3_18:logits", "", 11_695_440),
        ("r2plus1d_18:logits", "", 31_505_325),
        ("s3d:logits", "", 8_320_048),
        ("mvit_v2_s:logits", "", 34_537_744),
        ("swin3d_t:logits", "", 28_158_070),
        ("swin3d_s:logits", "", 49_816_678),
        ("swin3d_b:logits", "", 88_048_984),
        ("resnet18:logits", "", 11_689_512),
        ("resnet34:logits", "", 21_797_672),
        ("resnet50:logits", "", 25_557_032),
        ("regnet_y_400mf:logits", "", 4_344_144),
        ("regnet_y_400mf", "", 4_344_144 - 441_000),
        ("regnet_y_400mf_gsm", "shifts", 28_336),  # 29 fold + 2 each, folds of 976 channels in 16 blocks
        ("regnet_y_400mf_gsm", "", 4_344_144 - 441_000 + 28_336),
        ("mscadc", "", 6_918_720),
        ("pose", "", 59_190_378),  # torchvision counts 59,137,258: those of its frozen batch-norms are no parameters
    ],
)
def test_parameters(spec: str, part: str, count: int) -> None:
    assert parameters(spec, part) == count


def test_parse() -> None:
    assert [(b.arch, tag, layer) for b, tag, layer in map(parse, ("c3d", "c3d.random", "c3d:pool5"))] == [
        ("c3d", None, "fc6"),
        ("c3d", "random", "fc6"),
        ("c3d", None, "pool5"),
    ]
    assert parse("i3d.rgb_imagenet_norm:mixed_5c")[1:] == ("rgb_imagenet_norm", "mixed_5c")


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("c3f", "unknown backbone 'c3f'. Did you mean c3d"),
        ("r3d18", "r3d_18"),
        ("c3d.sport1m", "unknown weights of c3d 'sport1m'. Did you mean sports1m"),
        ("c3d.", "weights of c3d"),
        ("c3d:fc66", "unknown layer of c3d 'fc66'. Did you mean fc6"),
        ("i3d.random:fc6", "layer of i3d"),
        ("", "backbone"),
    ],
)
def test_unknown_names_suggest(spec: str, said: str) -> None:
    with pytest.raises(UnknownName, match=said):
        resolve(spec)


def test_every_name_is_that_of_its_backbone() -> None:
    assert [backbone(arch).arch for arch in BACKBONES] == list(BACKBONES)


def test_backbones_of_other_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    points = EntryPoints(
        EntryPoint(name, f"aqa.extract.backbones.{value}", "aqa.backbones")
        for name, value in (("theirs", "c3d:BACKBONE"), ("wrong", "c3d:C3D"), ("i3d", "c3d:BACKBONE"))
    )
    monkeypatch.setattr(backbones, "entry_points", lambda **wanted: points.select(**wanted))
    assert backbone("theirs").arch == "c3d"
    assert backbone("i3d").arch == "i3d"  # ours are not replaced
    assert names().count("i3d") == 1
    assert "theirs" in names()
    with pytest.raises(UsageError, match="not a Backbone"):
        backbone("wrong")
    with pytest.raises(UnknownName, match="theirs"):
        backbone("their")


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    from aqa.extract.backbones import c3d

    monkeypatch.setattr(c3d, "BACKBONE", replace(c3d.BACKBONE, extra="no_such_package"))
    assert backbone("c3d").extra == "no_such_package", "what it is can be told without the package"
    with pytest.raises(MissingExtra, match="no_such_package"):
        resolve("c3d")


def state_digest(net: torch.nn.Module) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(net.state_dict().items()):
        digest.update(name.encode() + tensor.numpy().tobytes())
    return digest.hexdigest()[:16]


def test_random_weights_are_the_same_bytes_everywhere() -> None:
    found = backbone("i3d")
    assert state_digest(random_network(found, "avgpool", 0)) == "e4d97e5d9c4d318f"
    assert state_digest(random_network(found, "avgpool", 7)) == "f8d18113b8b33c8e"


@pytest.mark.parametrize("arch", ["i3d", "swin3d_t"])  # one is made without memory, one has tables of its own
def test_random_weights_leave_the_global_generator_alone(arch: str) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first = resolve(arch)
    assert torch.equal(torch.rand(3), expected)
    second = resolve(arch)  # another global state
    assert state_digest(first.net) == state_digest(second.net)


def test_random_weights_keep_signals_alive_through_the_depth() -> None:
    net = resolve("c3d:fc7").net
    spread: dict[str, float] = {}
    for name, module in net.named_children():
        module.register_forward_hook(lambda _m, _i, out, name=name: spread.update({name: float(out.std())}))
    with torch.inference_mode():
        net(torch.randn(1, 3, 16, 112, 112, generator=torch.Generator().manual_seed(0)))
    assert len(spread) == 10
    assert all(0.3 < std < 6 for std in spread.values()), spread


def test_random_says_what_it_is() -> None:
    resolved = resolve("i3d", seed=4)
    assert (resolved.name, resolved.sha256, resolved.layer) == ("i3d.random", "seed:4", "avgpool")
    assert len(resolved.warnings) == 1
    assert "untrained" in resolved.warnings[0]
    assert "--weights FILE" in resolved.warnings[0]
    assert resolved.extractor == backbone("i3d").extractor
    assert resolved.pixels is backbone("i3d").weights["random"].pixels


def test_random_takes_no_file(tmp_path: Path) -> None:
    with pytest.raises(BadParameter, match=r"i3d\.random takes no weight file"):
        resolve("i3d.random", tmp_path / "model_rgb.pth")


@pytest.mark.parametrize("arch", BACKBONES)
def test_the_docs_list_everything(arch: str) -> None:
    text = DOCS.read_text(encoding="utf-8")
    for tag, weights in backbone(arch).weights.items():
        if tag != "random":
            assert f"`{arch}.{tag}`" in text
            assert all(f"`{file}`" in text for file in weights.files), weights.files
