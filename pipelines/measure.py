"""``aqa measure``: what a pose says by simple rules, and where a dive stands among others."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ..errors import UsageError
from .console import Console
from .settings import place
from .verb import Cache, Device, Json, ProtocolName, Quiet

if TYPE_CHECKING:
    from .measuring import Said
    from .tracks import Track

What = Annotated[
    str,
    typer.Argument(
        metavar="POSE|DATASET:ID|VIDEO|DATASET",
        help="File of poses (.json, .npz, .txt), sample of a cached pose stream, video; or a data set, with --output.",
    ),
]


def measure(
    what: What,
    *,
    against: Annotated[Path | None, typer.Option("--against", help="Reference for percentiles.")] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write the reference of a data set's train samples here.")
    ] = None,
    draw: Annotated[
        Path | None, typer.Option("--draw", help="Write a picture (PNG) of the frames that decided.")
    ] = None,
    video: Annotated[
        Path | None, typer.Option("--video", help="The video (or frames) of the pose, to draw on.")
    ] = None,
    features: Annotated[str, typer.Option("--features", help="Cached pose stream.")] = "pose",
    start: Annotated[int, typer.Option("--start", min=0, help="First frame, from 0.")] = 0,
    end: Annotated[int | None, typer.Option("--end", min=1, help="One more than the last frame.")] = None,
    take_off: Annotated[int | None, typer.Option("--take-off", min=0, help="First frame of the flight.")] = None,
    entry: Annotated[int | None, typer.Option("--entry", min=0, help="First frame of the entry.")] = None,
    kind: Annotated[str, typer.Option("--kind", help="Dive number, such as 407C.")] = "",
    fps: Annotated[float | None, typer.Option("--fps", min=1.0, help="Rows of the pose in a second.")] = None,
    size: Annotated[
        str | None, typer.Option("--size", metavar="WxH", help="Of the picture, where x and y are parts of it.")
    ] = None,
    confidence: Annotated[
        float, typer.Option("--confidence", min=0.0, max=1.0, help="Below it a joint is not seen.")
    ] = 0.3,
    backbone: Annotated[
        str | None, typer.Option("--backbone", help="Who finds the poses of a VIDEO.", show_default="pose")
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(
            "--weights",
            help="Its weight file; `torchvision` to download, `random` for none.",
            show_default="from torch's cache",
        ),
    ] = None,
    person: Annotated[
        Literal["tracked", "largest", "central"] | None,
        typer.Option("--person", help="Whose pose, where a VIDEO has several persons.", show_default="tracked"),
    ] = None,
    device: Device = "auto",
    protocol: ProtocolName = None,
    cache: Cache = None,
    json: Json = False,
    quiet: Quiet = False,
) -> dict[str, Any]:
    """Measure a dive by its pose: somersault, knees, twists, entry, feet, height, distance; or say why not.

    With a data set and --output: the measures of its train samples, for --against.

    Example: aqa measure dive.json --kind 407C --against reference.json --draw dive.png
    """
    from .measuring import Said

    console = Console(json=json, quiet=quiet)
    said = Said(take_off, entry, kind, fps, _size(size), confidence)
    if output is not None:
        return _reference(what, output, features, protocol, cache, said, console)
    if draw is not None and draw.suffix.lower() != ".png":
        raise UsageError(f"{draw} is no .png", field="--draw", hint="pictures are written as PNG")
    from . import measuring, tracks

    path = Path(what)
    if path.exists() and not tracks.is_pose_file(path):
        track = tracks.track_of_video(
            path,
            console,
            start=start,
            stop=end,
            backbone=backbone or tracks.POSE,
            weights=weights,
            person=person,
            device=device,
        )
        track, said = measuring.with_video(track, video or path, said)
        return _one(track, said, against, draw, video or path, console)
    for name, value in (("--backbone", backbone), ("--weights", weights), ("--person", person)):
        if value is not None:
            raise UsageError(f"{what} is no video", field=name, hint="it says how poses are found in a VIDEO")
    track = tracks.track_of_file(path) if path.exists() else _cached(what, features, cache)
    if video is not None:
        track, said = measuring.with_video(track, video, said)
    return _one(track.part(start, end), said, against, draw, video, console)


def _cached(what: str, features: str, cache: Path | None) -> Track:
    from ..cache.stores import select_store
    from .tracks import track_of_sample

    dataset, colon, sample = what.partition(":")
    if not colon:
        hint = "name a file of poses, a video, DATASET:ID of a cached pose stream, or a data set with --output"
        raise UsageError(f"{what} is no file", hint=hint)
    return track_of_sample(select_store(place(dataset, cache=cache).cache, dataset, features), sample)


def _one(
    track: Track, said: Said, against: Path | None, draw: Path | None, video: Path | None, console: Console
) -> dict[str, Any]:
    from . import measuring

    reference = None if against is None else measuring.read_reference(against)
    dive, measured = measuring.measured_dive(track, said)
    kind = said.kind or track.kind
    standings = {
        one.name: reference.standing(one, kind, dive.phases.position) if reference is not None else None
        for one in measured
    }
    result = {
        "name": track.name,
        "frames": len(track.pose),
        "without": track.without,
        "found": dict(track.found) or None,
        "kind": kind or None,
        "position": dive.phases.position or None,
        "phases": measuring.phases_in_words(dive, track.first),
        "torso": dive.torso if dive.torso == dive.torso else None,
        "measures": [measuring.row_of(one, standings[one.name], track.first) for one in measured],
        "against": None if reference is None else dict(reference.about),
        "drawing": None if draw is None else str(draw),
    }
    words = {one.name: measuring.in_words(one, standings[one.name]) for one in measured}
    title = measuring.title_of(track, dive, kind, reference)
    if draw is not None:
        measuring.write_picture(dive, measured, words, title, track, video, draw)
        console.say(f"wrote {draw}")
    console.result(result, _table(result, title))
    return result


def _table(result: dict[str, Any], title: list[str]) -> Any:
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text("\n".join(title)), title_justify="left", box=None, show_edge=False)
    table.add_column("measure")
    table.add_column("value", justify="right")
    table.add_column("")
    table.add_column("frames, or why it is not measured", overflow="fold")
    for row in result["measures"]:
        if row["value"] is None:
            table.add_row(row["title"], "-", "", row["reason"], style="dim")
            continue
        digits = 1 if row["unit"] == "degrees" else 2
        stands = ""
        if row["of"] is not None:
            stands = f"larger than {row['percentile']:.0f}% of {row['of']} {row['group']}".rstrip() + " dives"
        frames = " ".join(map(str, row["frames"]))
        table.add_row(row["title"], f"{row['value']:.{digits}f} {row['unit']}", stands, frames)
    return table


def _reference(
    what: str, output: Path, features: str, protocol: str | None, cache: Path | None, said: Said, console: Console
) -> dict[str, Any]:
    from ..cache.stores import select_store
    from . import measuring

    if ":" in what or Path(what).is_file():
        raise UsageError(f"{what} is one dive", field="--output", hint="a reference is made of a whole data set")
    where = place(what, cache=cache, protocol=protocol)
    reference = measuring.build_reference(select_store(where.cache, what, features), where.protocol, said, console)
    measuring.write_reference(reference, output)
    counts = {name: len(groups.get("", ())) for name, groups in reference.values.items()}
    result = {"file": str(output), **reference.about, "measured": counts}
    lines = [f"{name:16} {count:5} of {reference.about['dives']} dives" for name, count in counts.items()]
    console.result(result, "\n".join([f"wrote {output}", *lines]))
    return result


def _size(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    width, _, height = text.lower().partition("x")
    if not (width.isdecimal() and height.isdecimal() and int(width) and int(height)):
        raise UsageError(f"'{text}' is no size", field="--size", hint="give width and height, such as 1280x720")
    return int(width), int(height)
