"""MTL-AQA's real annotations with generated frames and videos in every layout: which pictures come out of the decoder.

Every picture shows its own number (from 0, modulo 256), so this holds names, order, counting and seeking together.
ERRATA of the specification: whole videos give the 103 frames that end at the annotated end; folders of one dive give
[3:106], the mean of the training jitter, or [0:103] as the released test code.
"""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest
from typer.testing import CliRunner

from aqa import catalog
from aqa.catalog.base import Sample
from aqa.extract import parse_plan
from aqa.extract.decode import Wanted, read_clips
from aqa.extract.frames import Chunk
from aqa.pipelines.cli import app

DIVE, END = "14_01", 1210  # the real dive that ends first of all
SIZE = (64, 48)
TEMPLATES = (
    "frames/{video:02d}_{dive:02d}",
    "new/new_total_frames_256s/{video:02d}",
    "new_total_frames_256s/{video:02d}",
    "new/{video:02d}",
    "frames_long/{video:02d}_{dive:02d}",
    "whole_videos_frames/{video:02d}",
    "whole_videos/{video:02d}",
    "{video:02d}_{dive:02d}",
    "{video:02d}",
)


@pytest.fixture(scope="module")
def real(request: pytest.FixtureRequest) -> Path:
    return request.getfixturevalue("shared_data") / "mtl-aqa"


def read(real: Path, media: Path, released: bool = False) -> Sample:
    return catalog.read("mtl-aqa", real, media=media, released_frames=released).by_id[DIVE]


def decoded(sample: Sample, shown, plan: str = "10x16@103") -> list[int]:
    assert sample.media is not None
    events = read_clips(sample.media, {"c3d": Wanted(parse_plan(plan))})
    return shown([event for event in events if isinstance(event, Chunk)])


@pytest.fixture(scope="module")
def media_of(tmp_path_factory: pytest.TempPathFactory):
    """One frame folder and one video of a whole competition, and of one dive; each layout links to them."""
    made: dict[tuple[bool, str], Path] = {}

    def make(movie, image, picture, whole: bool, kind: str) -> Path:
        if (whole, kind) not in made:
            base, count = tmp_path_factory.mktemp("media"), 1300 if whole else 109
            if kind == "video":
                made[whole, kind] = movie(base / "all.mp4", count, SIZE)
            else:
                for n in range(count):
                    image(base / f"{n + 1:08d}.jpg", picture(n, *SIZE))
                made[whole, kind] = base
        return made[whole, kind]

    return make


@pytest.mark.parametrize("kind", ["folder", "video"])
@pytest.mark.parametrize("template", TEMPLATES)
def test_the_pictures_that_are_decoded(
    real: Path, tmp_path: Path, media_of, movie, image, picture, shown, template: str, kind: str
):
    whole = "{dive" not in template
    suffix = ".mp4" if kind == "video" else ""
    place = tmp_path / (template.format(video=14, dive=1) + suffix)
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(media_of(movie, image, picture, whole, kind))
    for released in (False, True):
        first = END - 103 if whole else (0 if released else 3)
        expected = [n % 256 for n in range(first, first + 103)]
        assert decoded(read(real, tmp_path, released), shown) == expected


def test_the_published_plans_take_these_frames(real: Path, tmp_path: Path, media_of, movie, image, picture, shown):
    """CoRe's and MUSDL's ten clips, C3D-AVG's six and MSCADC's sixteen frames: each frame is decoded once."""
    (tmp_path / "new").mkdir()
    (tmp_path / "new/14").symlink_to(media_of(movie, image, picture, True, "folder"))
    sample = read(real, tmp_path)
    begin = END - 103
    sparse = [0, 6, 13, 19, 26, 32, 39, 45, 52, 58, 65, 71, 78, 84, 91, 97]
    for plan, frames in (
        ("10x16@103", range(103)),
        ("10x16@103-86", range(102)),
        ("6x16@103", range(96)),
        ("16of103", sparse),
    ):
        assert decoded(sample, shown, plan) == [(begin + n) % 256 for n in frames], plan


def test_extract_and_check_on_the_command_line(real: Path, tmp_path: Path, media_of, movie, image, picture):
    (tmp_path / "media/whole_videos").mkdir(parents=True)
    (tmp_path / "media/whole_videos/14.mp4").symlink_to(media_of(movie, image, picture, True, "video"))
    words = ["mtl-aqa", "--root", str(real), "--option", f"media={tmp_path / 'media'}", "--json"]
    checked = json.loads(CliRunner().invoke(app, ["catalog", "check", *words]).stdout)
    assert checked["example"]["sample"] == DIVE
    assert checked["example"]["first"] == f"frame {END - 102} of the video (index {END - 103})"
    assert checked["example"]["last"] == f"frame {END} of the video (index {END - 1})"
    lists = {"train_split_0.pkl": [(14, 1)], "test_split_0.pkl": [(14, 2)]}
    root = tmp_path / "small"
    root.mkdir()
    for name, keys in lists.items():
        (root / name).write_bytes(pickle.dumps(keys, protocol=3))
    rows = pickle.loads((real / "info" / "final_annotations_dict.pkl").read_bytes())
    (root / "final_annotations_dict.pkl").write_bytes(pickle.dumps({k: rows[k] for k in ((14, 1), (14, 2))}))
    words = ["mtl-aqa", "--root", str(root), "--option", f"media={tmp_path / 'media'}", "--json"]
    cache = ["--cache", str(tmp_path / "cache"), "--backbone", "c3d", "--workers", "0", "--plan", "6x16@103"]
    done = CliRunner().invoke(app, ["extract", *words, *cache, "--limit", "1"])
    assert done.exit_code == 0, done.stderr
    said = json.loads(done.stdout)
    assert (said["done"], said["clips"], said["frames_used"]) == (1, 6, 96)
