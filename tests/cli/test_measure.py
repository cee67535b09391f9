"""`aqa measure`: poses from files, caches and videos; references; pictures; what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from aqa.catalog.demo import render
from aqa.heads.measures import MEASURES
from aqa.pipelines.cli import app

BONE = 40.0
GREEN = (20, 160, 60)
TILE = (90, 320)  # row and column of a pixel near a corner of the first picture


def somersault(frames: int = 40, hip: float = 60.0) -> np.ndarray:
    """[T, 16, 2]: somebody with straight legs who turns by 540 degrees, the hips at `hip` degrees, in 400 pixels."""
    found = []
    for lean in np.radians(np.linspace(0, 540, frames)):
        up = np.array([np.sin(lean), -np.cos(lean)])
        leg = np.array([np.sin(lean + np.radians(hip)), -np.cos(lean + np.radians(hip))])
        joints = np.zeros((16, 2))
        for ankle, knee, hips in ((0, 1, 2), (5, 4, 3)):
            joints[hips], joints[knee], joints[ankle] = 0, BONE * leg, 2 * BONE * leg
        joints[7], joints[8], joints[9] = BONE * up, 1.2 * BONE * up, 1.7 * BONE * up
        joints[[12, 13]], joints[[11, 14]], joints[[10, 15]] = BONE * up, 1.6 * BONE * up, 2.2 * BONE * up
        found.append(joints + 200)
    return np.stack(found)


def write_json(file: Path, places: np.ndarray, seen: np.ndarray | None = None) -> Path:
    """As FineDiving-Pose is annotated."""
    seen = np.ones(places.shape[:2]) if seen is None else seen
    rows = [
        {"joints": xy.tolist(), "joints_vis": vis.tolist(), "image": f"finediv{n:05d}.jpg"}
        for n, (xy, vis) in enumerate(zip(places, seen, strict=True))
    ]
    file.write_text(json.dumps(rows))
    return file


def write_film(file: Path, frames: int) -> Path:
    picture = np.full((400, 400, 3), GREEN, np.uint8)
    with av.open(str(file), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 400, 400, "yuv420p"
        for _ in range(frames):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    return file


def picture(file: str) -> np.ndarray:
    """[H, W, 3]."""
    with Image.open(file, formats=["PNG"]) as image:
        return np.asarray(image).astype(int)


def by_name(said: dict) -> dict[str, dict]:
    return {row["name"]: row for row in said["measures"]}


@pytest.fixture(scope="module")
def poses_of_demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A cache with the poses of `demo`, and the reference of its train dives."""
    folder = tmp_path_factory.mktemp("demo poses")
    render.write_poses(folder / "poses.npz")
    cache, reference = folder / "cache", folder / "made here" / "reference.json"
    words = ["cache", "import", "demo", folder, "--as", "pose", "--cache", cache, "-q"]
    assert CliRunner().invoke(app, [str(word) for word in words]).exit_code == 0
    words = ["measure", "demo", "--output", reference, "--cache", cache]
    assert CliRunner().invoke(app, [str(word) for word in words]).exit_code == 0
    return cache, reference


# --- One dive


def test_a_cached_dive_against_a_reference(aqa, value, poses_of_demo):
    cache, reference = poses_of_demo
    said = value(aqa("measure", "demo:demo-053", "--cache", cache, "--against", reference, "--json"))
    assert [row["name"] for row in said["measures"]] == list(MEASURES)
    assert (said["name"], said["kind"], said["position"], said["frames"]) == ("demo:demo-053", "626C", "tuck", 32)
    assert said["phases"]["flight"] == {"first": 5, "last": 24, "from": "labels", "reason": None}
    assert said["phases"]["twists"]["reason"] == "this dive has no twists"
    hips = by_name(said)["somersault_hip"]
    assert (hips["unit"], hips["phases"], hips["group"], hips["of"]) == ("degrees", "labels", "tuck", 72)
    assert hips["percentile"] > 85  # an open tuck
    assert all(5 <= frame <= 24 for frame in hips["frames"])
    height = by_name(said)["height"]
    assert height["value"] is height["percentile"] is None
    assert height["reason"] == "how many frames there are in a second is not known"
    assert said["against"]["dataset_digest"] == "a60afe55ff6a29e6"
    assert said["against"]["fingerprint"].startswith(said["against"]["features"].partition("@")[2])


def test_the_table(aqa, poses_of_demo):
    cache, reference = poses_of_demo
    done = aqa("measure", "demo:demo-053", "--cache", cache, "--against", reference, "--fps", "25")
    assert done.exit_code == 0
    assert "phases from frame labels; against 144 dives (train) of demo, pose@" in done.stdout
    assert "degrees  larger than" in done.stdout
    assert "of 72 tuck dives" in done.stdout
    assert "the body does not fall freely in the picture" in done.stdout
    alone = aqa("measure", "demo:demo-053", "--cache", cache)
    assert "larger than" not in alone.stdout  # no percentile without a reference


def test_a_pose_in_a_file(aqa, value, tmp_path: Path):
    write_json(tmp_path / "dive.json", somersault(hip=75))
    said = value(aqa("measure", "dive.json", "--kind", "407B", "--json"))
    found = by_name(said)
    assert found["somersault_hip"]["value"] == pytest.approx(75, abs=0.01)
    assert found["knee_bend"]["value"] == pytest.approx(0, abs=0.01)
    assert found["somersault_hip"]["phases"] == "pose"
    assert found["entry_tilt"]["reason"] == "where the entry begins is not known"
    assert said["against"] is said["drawing"] is None
    given = value(aqa("measure", "dive.json", "--take-off", "4", "--entry", "36", "--json"))
    assert given["phases"]["flight"] == {"first": 4, "last": 35, "from": "given", "reason": None}
    assert by_name(given)["entry_tilt"]["frames"] == [36]


def test_frames_keep_their_numbers_when_a_part_is_measured(aqa, value, tmp_path: Path):
    places = np.concatenate([somersault(20)[::-1], somersault(40)])
    write_json(tmp_path / "two.json", places)
    said = by_name(value(aqa("measure", "two.json", "--start", "20", "--entry", "58", "--json")))
    assert min(said["somersault_hip"]["frames"]) > 20
    assert said["entry_tilt"]["frames"] == [58]
    for words in (("--start", "60"), ("--start", "5", "--end", "5"), ("--end", "61")):
        done = aqa("measure", "two.json", *words)
        assert done.exit_code == 2
        assert "--end is at most 60" in done.stderr
    assert aqa("measure", "two.json", "--start", "20", "--entry", "10").exit_code == 2


def test_nobody_in_any_frame(aqa, value, tmp_path: Path):
    write_json(tmp_path / "nobody.json", somersault(), np.zeros((40, 16)))
    said = value(aqa("measure", "nobody.json", "--draw", "nobody.png", "--json"))
    assert {row["reason"] for row in said["measures"]} == {"no joint is seen in any frame"}
    assert said["torso"] is None
    assert len(picture("nobody.png")) < 400  # words alone


def test_parts_of_the_picture_need_its_size(aqa, value, tmp_path: Path):
    np.savez(tmp_path / "parts.npz", pred=somersault(hip=75) / [800, 400])
    done = aqa("measure", "parts.npz")
    assert done.exit_code == 2
    assert "x and y are parts of the picture" in done.stderr
    assert "--size WIDTHxHEIGHT" in done.stderr
    said = by_name(value(aqa("measure", "parts.npz", "--size", "800x400", "--json")))
    assert said["somersault_hip"]["value"] == pytest.approx(75, abs=0.1)
    assert aqa("measure", "parts.npz", "--size", "800").exit_code == 2


# --- Pictures


def test_the_picture_is_drawn_on_the_frames_of_the_video(aqa, value, tmp_path: Path):
    write_json(tmp_path / "dive.json", somersault())
    write_film(tmp_path / "dive.mp4", 40)
    said = value(aqa("measure", "dive.json", "--kind", "407B", "--draw", "out/blank.png", "--json"))
    assert said["drawing"] == "out/blank.png"
    value(aqa("measure", "dive.json", "--kind", "407B", "--video", "dive.mp4", "--draw", "film.png", "--json"))
    blank, film = picture("out/blank.png"), picture("film.png")
    assert blank.shape == film.shape
    assert blank[TILE].tolist() == [236, 238, 241]
    assert np.abs(film[TILE] - GREEN).max() < 12
    assert [p.name for p in Path("out").iterdir()] == ["blank.png"]


def test_rate_and_size_come_from_the_video(aqa, value, tmp_path: Path):
    write_film(tmp_path / "dive.mp4", 40)
    np.savez(tmp_path / "parts.npz", pred=somersault(hip=75) / 400)
    said = by_name(value(aqa("measure", "parts.npz", "--video", "dive.mp4", "--entry", "38", "--json")))
    assert said["somersault_hip"]["value"] == pytest.approx(75, abs=0.1)
    assert "frames in a second" not in said["height"]["reason"]


def test_a_video_of_another_length_is_not_drawn_on(aqa, tmp_path: Path):
    write_json(tmp_path / "dive.json", somersault())
    np.savez(tmp_path / "dive.npz", pred=somersault())
    write_film(tmp_path / "short.mp4", 30)
    write_film(tmp_path / "long.mp4", 50)
    for pose, film in (("dive.json", "short.mp4"), ("dive.npz", "short.mp4"), ("dive.npz", "long.mp4")):
        done = aqa("measure", pose, "--video", film, "--draw", "x.png")
        assert done.exit_code == 2
        assert "which row is which frame is not known" in done.stderr
        assert not Path("x.png").exists()
    assert aqa("measure", "dive.json", "--video", "long.mp4", "--draw", "x.png").exit_code == 0


# --- References


def test_a_reference_is_the_same_every_time_and_says_what_it_is_of(aqa, value, poses_of_demo, tmp_path: Path):
    cache, reference = poses_of_demo
    said = value(aqa("measure", "demo", "--output", "again.json", "--cache", cache, "--json"))
    assert Path("again.json").read_bytes() == reference.read_bytes()
    assert (said["dataset"], said["part"], said["protocol"], said["dives"]) == ("demo", "train", "official", 144)
    assert said["measured"]["entry_tilt"] == 144
    assert said["measured"]["twist_bend"] == 36
    assert said["measured"]["height"] == 0  # the camera follows
    plain = json.loads(reference.read_text())
    assert set(plain["values"]["entry_tilt"]) == {"", "pike", "tuck"}
    assert len(plain["values"]["entry_tilt"]["pike"]) == 72


def test_a_reference_of_few_or_of_no_poses_is_not_written(aqa, extracted, own_videos: Path, tmp_path: Path):
    cache, _ = extracted
    done = aqa("measure", "csv", "--features", "c3d", "--output", "r.json", "--cache", cache)
    assert done.exit_code == 2
    assert "the stream 'c3d' of csv is [T, 4096], and a pose [T, joints, 3]" in done.stderr
    (tmp_path / "poses").mkdir()
    for k in range(16):
        write_json(tmp_path / f"poses/v{k:02d}.json", somersault(30))
    done = aqa("cache", "import", "csv", tmp_path / "poses", "--root", own_videos, "--as", "pose", "--cache", "few")
    assert done.exit_code == 0, done.stderr
    done = aqa("measure", "csv", "--output", "r.json", "--cache", "few")
    assert done.exit_code == 3
    assert "too few for a reference: 10 dives, and 20 with the same measure are needed" in done.stderr
    assert not Path("r.json").exists()


# --- Refused


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("nowhere.json",), 2, "nowhere.json is no file. Name a file of poses, a video, DATASET:ID"),
        (("demo",), 2, "demo is no file"),
        (("demo:demo-999",), 2, "unknown sample of demo 'demo-999'"),
        (("demo:demo-001", "--features", "posse"), 3, "no features 'posse' of demo"),
        (("demo:demo-001", "--draw", "x.jpg"), 2, "x.jpg is no .png"),
        (("demo:demo-001", "--against", "nowhere.json"), 3, "nowhere.json"),
        (("demo:demo-001", "--video", "nowhere.mp4"), 3, "no such file or folder"),
        (("demo:demo-001", "--person", "largest"), 2, "demo:demo-001 is no video (field --person)"),
        (("demo:demo-001", "--output", "r.json"), 2, "demo:demo-001 is one dive"),
        (("demo:demo-001", "--entry", "99"), 2, "the entry at frame 99"),
        (("demo", "--output", "r.json", "--protocol", "offical"), 2, "Did you mean official"),
        (("dmeo", "--output", "r.json"), 3, "no features 'pose' of dmeo"),
    ],
)
def test_wrong_words(aqa, poses_of_demo, words: tuple[str, ...], code: int, said: str):
    done = aqa("measure", *words, "--cache", poses_of_demo[0])
    assert (done.exit_code, done.stdout) == (code, "")
    assert said in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "not a whole JSON file"),
        ("[]", "not a reference of measures"),
        ('{"values": 1, "measures": 99}', "this version has"),
    ],
)
def test_damaged_references(aqa, tmp_path: Path, content: str, said: str):
    write_json(tmp_path / "dive.json", somersault())
    (tmp_path / "r.json").write_text(content)
    done = aqa("measure", "dive.json", "--against", "r.json")
    assert (done.exit_code, done.stdout) == (3, "")
    assert said in done.stderr
    assert "aqa measure DATASET --output FILE" in done.stderr


# --- Real poses


def test_a_real_annotated_dive(aqa, value, shared_data: Path):
    file = shared_data / "finediving-pose" / "annotations_examples.json"
    said = value(aqa("measure", file, "--json"))
    assert all(row["value"] is None for row in said["measures"])
    assert "after frame 33: a cut" in by_name(said)["somersault_hip"]["reason"]  # it is made of three pieces
    said = value(aqa("measure", file, "--start", "34", "--end", "69", "--kind", "307B", "--draw", "x.png", "--json"))
    assert 35 < by_name(said)["somersault_hip"]["value"] < 50
    assert by_name(said)["knee_bend"]["value"] < 15
    assert picture("x.png").shape[1] > 1000
