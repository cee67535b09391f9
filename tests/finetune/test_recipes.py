"""The recipes of papers: all of them can be had, they are what was read, and what is wrong in a file is said."""

from __future__ import annotations

import json
import tomllib
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from aqa.errors import AqaError, BadParameter, UnknownName, UsageError
from aqa.extract.backbones import names, parse, resolve
from aqa.extract.plan import parse_plan
from aqa.finetune.live import live, seen_at
from aqa.finetune.recipe import FOLDER, Recipe, read_recipe, recipe_for, recipe_names, recipe_of
from aqa.heads import head_class, head_names, make_head
from aqa.heads.torch_head import TorchHead
from aqa.pipelines.tuned_recipe import asked_recipe

FILES = {path.stem: path.read_text(encoding="utf-8") for path in sorted(FOLDER.glob("*.toml"))}
OURS = [name for name, text in FILES.items() if not ('"mscadc"' in text and "mscadc" not in {*names(), *head_names()})]


def sets_of(name: str) -> list[str]:
    """The data sets for which a file has something of its own, and any other."""
    return ["", *tomllib.loads(FILES[name]).get("for", {})]


def test_there_is_one_for_every_system():
    assert recipe_names() == sorted(FILES)
    systems = ("c3d-avg-stl", "c3d-avg-mtl", "mscadc-stl", "mscadc", "usdl", "musdl", "dae", "dae-mt", "core")
    assert {*systems, "s4aqa", "tsa", "mcore", "hpmcore", "tpt"} == set(FILES)


@pytest.mark.parametrize("name", OURS)
def test_it_can_be_trained(name: str):
    for dataset in sets_of(name):
        recipe = read_recipe(name, dataset)
        head: Any = make_head(recipe.head, recipe.texts)
        assert isinstance(head, TorchHead)
        assert head.select != "test"
        assert recipe.paper
        assert recipe.differs.strip()
        for k, spec in enumerate(recipe.backbones):
            found, tag, layer = parse(spec)
            weights = found.weights[tag] if tag else next(iter(found.weights.values()))
            size = recipe.size or weights.pixels.crop
            if recipe.plans:
                plan = parse_plan(recipe.plans[k])
                assert plan.window is not None, "clips are stacked, so their number is fixed"
                assert found.allowed(plan.length, *size) is None
                assert found.layers[layer](plan.length, *size)


@pytest.mark.parametrize("name", OURS)
def test_its_networks_find_it(name: str):
    recipe = read_recipe(name)
    if name == "mscadc-stl":  # the same networks: that with all tasks is taken
        assert recipe_for(recipe.backbones, recipe.head) == read_recipe("mscadc")
        return
    for dataset in sets_of(name):
        assert recipe_for(recipe.backbones, recipe.head, dataset) == read_recipe(name, dataset)
    plain = tuple(":".join([spec.split(":")[0].split(".")[0], parse(spec)[2]]) for spec in recipe.backbones)
    assert recipe_for(plain, recipe.head) == recipe


def test_two_of_the_same_networks_are_not_taken_by_chance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for name in ("one", "two"):
        (tmp_path / f"{name}.toml").write_text(FILES["dae"])
    monkeypatch.setattr("aqa.finetune.recipe.FOLDER", tmp_path)
    with pytest.raises(UsageError, match="one and two are of these networks"):
        recipe_for(("i3d",), "dae")
    (tmp_path / "dae.toml").write_text(FILES["dae"].replace("batch = 8", "batch = 9"))
    found = recipe_for(("i3d",), "dae")
    assert found is not None
    assert found.settings["batch"] == 9
    assert recipe_for(("i3d:map",), "dae") is None
    assert recipe_for(("i3d", "c3d"), "dae") is None
    assert recipe_for(("i3d",), "dae-mt") is None


def test_numbers_of_the_papers():
    stl = read_recipe("c3d-avg-stl", "mtl-aqa")
    head: Any = make_head(stl.head, stl.texts)
    assert (head.lr, head.batch, head.epochs, head.weight_decay, head.divisor) == (1e-4, 3, 100, 0.0, 17.0)
    assert (stl.flip, stl.shifts, stl.crop, stl.rates, stl.plans) == (0.5, (-3, 3), "centre", (1e-4,), ("6x16@103",))
    assert parse_plan(stl.plans[0]).starts == (0, 16, 32, 48, 64, 80)
    mtl: Any = make_head("mtl", read_recipe("c3d-avg-mtl", "mtl-aqa").texts)
    assert (mtl.alpha, mtl.beta, mtl.gamma, mtl.classes[3]) == (1.0, 1.0, 0.01, "somersaults:10")
    usdl, jigsaws = read_recipe("usdl"), read_recipe("usdl", "jigsaws")
    assert (usdl.norms, usdl.settings["batch"], usdl.settings["epochs"], usdl.settings["bins"]) == (
        "train",
        4,
        100,
        101,
    )
    assert (jigsaws.plans, jigsaws.flip, jigsaws.shifts) == (("10x16of160",), 0.0, (0, 0))
    assert (jigsaws.settings["bins"], jigsaws.settings["sigma"], jigsaws.settings["lr"]) == (25, 1.0, 1e-4)
    assert (usdl.settings["weight_decay"], read_recipe("musdl").settings["weight_decay"]) == (0.0, 1e-5)
    assert parse_plan(read_recipe("dae", "mtl-aqa").plans[0]).starts[-1] == 87
    assert (read_recipe("dae-mt").norms, read_recipe("dae-mt").settings["batch"]) == ("frozen", 8)
    core = read_recipe("core", "mtl-aqa")
    assert (core.rates, core.settings["lr"], core.settings["epochs"], core.crop) == ((1e-4,), 1e-3, 200, "random")
    assert parse_plan(core.plans[0]).starts[-1] == 86
    assert (core.settings["batch"], core.settings["theta"]) == (2, 30.0)
    assert (read_recipe("core", "aqa-7").shifts, read_recipe("core", "aqa-7").settings["batch"]) == ((0, 0), 4)
    hp = read_recipe("hpmcore", "finediving")
    assert (hp.rates, hp.settings["schedule"], hp.settings["epochs"]) == ((5e-4, 5e-5), "cosine", 201)
    assert (hp.features, hp.size, hp.settings["by"]) == (("pose",), (112, 112), "kind")
    mcore = read_recipe("mcore", "finediving")
    assert (mcore.rates, mcore.settings["lr"], mcore.settings["schedule"]) == ((1e-4,), 1e-3, "constant")
    assert (mcore.settings["epochs"], mcore.settings["batch"], mcore.settings["by"]) == (200, 8, "kind")
    assert mcore.plans == (hp.plans[1],) == ("1x96of96",)
    tpt = read_recipe("tpt", "mtl-aqa")
    starts = parse_plan(tpt.plans[0]).starts
    assert {b - a for a, b in pairwise(starts)} == {5}
    assert (len(starts), starts[-1], tpt.settings["comparing_lr"], tpt.settings["batch"]) == (20, 95, 1e-3, 24)
    assert (read_recipe("tsa").rates, read_recipe("tsa").settings["lr"]) == ((1e-4,), 1e-3)


def test_paper_protocol_and_recipe_agree():
    """What `--protocol paper` sets for cached features is what the recipe has, wherever both say something."""
    for name in OURS:
        for dataset in sets_of(name):
            recipe = read_recipe(name, dataset)
            told = head_class(recipe.head).published
            both: dict[str, Any] = {**told.get("", {}), **told.get(dataset, {})}
            head: Any = make_head(recipe.head, recipe.texts)
            said = {key: getattr(head, key) for key in recipe.settings}
            apart = {key for key in both.keys() & said.keys() if both[key] != said[key]}
            assert not apart, (name, dataset, apart)


PLAIN = 'head = "mlp"\nbackbones = ["c3d_small"]\n'


@pytest.mark.parametrize(
    ("text", "kind", "says"),
    [
        (PLAIN + 'plnas = ["2x8@16"]', UnknownName, ["plnas", "plans"]),
        (PLAIN + "flip = true", UsageError, ["True", "flip"]),
        (PLAIN + 'flip = "half"', UsageError, ["half", "flip"]),
        (PLAIN + "flip = 1.5", BadParameter, ["1.5", "flip", "probability"]),
        (PLAIN + "shifts = [-1, 0, 1]", UsageError, ["shifts"]),
        (PLAIN + "shifts = [1, 3]", BadParameter, ["shifts"]),
        (PLAIN + 'norms = "batch"', UsageError, ["batch", "norms"]),
        (PLAIN + "rates = [1e-4, 1e-4]", BadParameter, ["rates"]),
        (PLAIN + "rates = [-1.0]", BadParameter, ["rates"]),
        (PLAIN + 'plans = ["6 of 16"]', BadParameter, ["6 of 16"]),
        (PLAIN + "size = [112, 112]", BadParameter, ["size", "resize"]),
        (PLAIN + "resize = [112, 200]\nsize = [112, 224]", BadParameter, ["size"]),
        (PLAIN + "ema = 1.0", BadParameter, ["ema"]),
        (PLAIN + "[settings]\nepohcs = 3", BadParameter, ["epohcs", "epochs"]),
        (PLAIN + '[settings]\nbatch = "many"', BadParameter, ["many", "batch"]),
        (PLAIN + "settings = 3", UsageError, ["settings"]),
        (PLAIN + 'features = ["pose"]\nshifts = [-3, 3]', BadParameter, ["shifts", "cached"]),
        (PLAIN.replace("mlp", "mpl"), UnknownName, ["mpl", "mlp"]),
        (PLAIN.replace("c3d_small", "c3d_smal"), UnknownName, ["c3d_smal", "c3d_small"]),
        ('head = "mlp"', UsageError, ["backbones"]),
        (PLAIN.replace('["c3d_small"]', "[]"), BadParameter, ["backbones"]),
        (PLAIN + "flip = ", UsageError, ["not a recipe"]),
        (PLAIN + "for = 3", UsageError, ["for"]),
        (PLAIN + "[for.mtlaqa]\nflip = 0.5", UnknownName, ["mtlaqa", "mtl-aqa"]),
        (PLAIN + '[for.mtl-aqa]\nhead = "dae"', UsageError, ["for.mtl-aqa"]),
        (PLAIN + "[for.mtl-aqa]\nflpi = 0.5", UnknownName, ["flpi", "flip", "for.mtl-aqa"]),
        (PLAIN + "[for.mtl-aqa]\nflip = 2.0", BadParameter, ["for.mtl-aqa.flip"]),
        (PLAIN + "[for.mtl-aqa.settings]\nepohcs = 3", BadParameter, ["epohcs", "epochs", "for.mtl-aqa"]),
        (PLAIN + "[for.mtl-aqa]\nsettings = 3", UsageError, ["for.mtl-aqa.settings"]),
    ],
)
def test_what_is_wrong_is_said(text: str, kind: type[AqaError], says: list[str], tmp_path: Path):
    path = tmp_path / "mine.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(kind) as caught:
        read_recipe(path)
    assert all(word in str(caught.value) for word in [*says, str(path)]), str(caught.value)
    assert caught.value.exit_code == 2


def test_a_name_that_there_is_not():
    with pytest.raises(UnknownName, match="Did you mean core"):
        read_recipe("cor")


def test_what_is_written_is_read_back():
    recipe = read_recipe("hpmcore", "finediving")
    text = json.dumps({**recipe.to_json(), "paper": recipe.paper, "differs": recipe.differs})
    assert recipe_of(json.loads(text), "run.json") == recipe


def test_frames_of_another_size_go_with_the_weights():
    small = seen_at(resolve("c3d_small.random"), (40, 60), (32, 48))
    assert (small.pixels.resize, small.pixels.crop) == ((40, 60), (32, 48))
    stream = live(small, parse_plan("2x8@16"))
    assert (stream.spec.pixels.crop, stream.shape) == ((32, 48), (64,))
    plain = resolve("c3d_small.random")
    assert seen_at(plain, (), ()) is plain
    assert (small.sha256, small.pixels.mean) == (plain.sha256, plain.pixels.mean)


def asked(name: str | None = None, backbones: tuple[str, ...] = (), **options: Any) -> Any:
    head, settings = options.pop("head", None), options.pop("settings", ())
    return asked_recipe(name, backbones, head, settings, options.pop("plans", ()), options.pop("said", {}), **options)


def test_what_is_said_wins_over_the_recipe():
    found = asked("core", settings=["lr=2e-3"], said={"flip": 0.0, "crop": None}, plans=["4x16@64"], dataset="mtl-aqa")
    assert (found.recipe.flip, found.recipe.crop, found.recipe.plans) == (0.0, "random", ("4x16@64",))
    assert (found.recipe.texts["lr"], found.recipe.texts["theta"]) == ("2e-3", "30.0")
    other = asked("core", head="dae").recipe
    assert (other.head, dict(other.settings), other.paper, other.flip) == ("dae", {}, "", 0.5)
    plain = asked(backbones=("c3d_small",), head="dae").recipe
    assert plain == Recipe("dae", ("c3d_small",))


def test_weights_from_a_file_get_the_pixels_of_the_paper():
    """I3D's files do not say which pixels they want, and the papers feed it others than it was trained on."""
    file = {"weights": ["model_rgb.pth"]}
    assert asked(backbones=("i3d",), head="core", **file).recipe.backbones == ("i3d.rgb_imagenet_norm",)
    assert asked(backbones=("i3d:map",), head="tsa", **file).recipe.backbones == ("i3d.rgb_imagenet_norm:map",)
    assert asked(backbones=("i3d.rgb_kinetics",), head="core", **file).recipe.backbones == ("i3d.rgb_kinetics",)
    assert asked(backbones=("i3d",), head="core").recipe.backbones == ("i3d",)  # random weights, as everywhere
    assert asked("core").recipe.backbones == ("i3d.rgb_imagenet_norm",)  # asks for a file
    assert asked("core", weights=["random"]).recipe.backbones == ("i3d.random",)
    assert asked("tsa", weights=["random"]).recipe.backbones == ("i3d.random:map",)
    two = asked("hpmcore", weights=["model_rgb.pth", "torchvision"])
    assert two.recipe.backbones == ("i3d.rgb_imagenet_norm", "regnet_y_400mf_gsm")
    assert two.weights == ("model_rgb.pth", "torchvision")
