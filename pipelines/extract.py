"""``aqa extract``: video to clip features, once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from .catalog import ReaderOptions, ReleasedFrames
from .console import Console, counted
from .settings import place
from .verb import Cache, DatasetName, Device, Json, Quiet, Root


def extract(
    dataset: DatasetName = None,
    *,
    backbone: Annotated[list[str], typer.Option("--backbone", help="ARCH[.TAG][:LAYER]; may be given several times.")],
    weights: Annotated[
        list[str] | None,
        typer.Option("--weights", help="File, `torchvision` to download or `random`, one after each --backbone."),
    ] = None,
    root: Root = None,
    plan: Annotated[
        list[str] | None, typer.Option("--plan", help="Clip plan, such as 10x16@103 or dense:16:8; or BACKBONE=PLAN.")
    ] = None,
    person: Annotated[
        Literal["tracked", "largest", "central"] | None,
        typer.Option("--person", help="Whose pose, where there are several persons.", show_default="tracked"),
    ] = None,
    short: Annotated[
        Literal["edge", "loop", "zero", "refuse"],
        typer.Option(
            "--short",
            help="Videos with fewer frames than the plan: repeat the last, begin again, zeros, or list as failed.",
        ),
    ] = "edge",
    precision: Annotated[
        Literal["auto", "fp32", "bf16"],
        typer.Option("--precision", help="auto: bf16 where the hardware is fast in it."),
    ] = "auto",
    overwrite: Annotated[
        Literal["never", "stale", "always"], typer.Option("--overwrite", help="stale: those whose media changed.")
    ] = "never",
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Only the first N samples.")] = None,
    shard: Annotated[str | None, typer.Option("--shard", metavar="I/N", help="Every N-th sample, from I.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")] = False,
    released_frames: ReleasedFrames = False,
    option: ReaderOptions = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of random weights.")] = 0,
    workers: Annotated[int | None, typer.Option("--workers", min=0, help="Decoding processes; 0: none.")] = None,
    batch: Annotated[int | None, typer.Option("--batch", min=1, help="Clips per batch.")] = None,
    timeout: Annotated[float, typer.Option("--timeout", help="Seconds that a video may hang.")] = 300.0,
    pack: Annotated[bool, typer.Option("--pack/--no-pack", help="Pack at the end.")] = True,
    device: Device = "auto",
    cache: Cache = None,
    json: Json = False,
    quiet: Quiet = False,
) -> list[Path]:
    """Run backbones over the videos of a data set and keep the features of clips, of frames, or poses in HDF5.

    The same command goes on where it stopped. A video that cannot be read is listed and stops nothing; the exit code
    is then 1.

    Example: aqa extract mtl-aqa --root /data/MTL-AQA --backbone i3d --weights model_rgb.pth
    """
    from ..errors import SomeFailed
    from .extraction import extract_or_fall_back

    console = Console(json=json, quiet=quiet)
    summary: dict[str, Any] = extract_or_fall_back(
        place(dataset, root=root, cache=cache),
        backbones=backbone,
        weights=weights or [],
        plan=plan or [],
        person=person,
        short=short,
        precision=precision,
        device=device,
        seed=seed,
        workers=workers,
        batch=batch,
        timeout=timeout,
        overwrite=overwrite,
        limit=limit,
        shard=shard,
        released_frames=released_frames,
        options=option,
        dry_run=dry_run,
        pack=pack,
        console=console,
    )
    if dry_run:
        console.result(summary, "nothing was done (--dry-run)")
        return []
    failed = summary["failed"]
    lines = [
        f"{row['stream']}: {row['done']} done, {row['skipped']} there already, {row['clips']} clips in {row['store']}"
        for row in summary["stores"]
    ]
    lines += [
        f"{row['stream']}: nobody in {pose['without']} of {pose['frames']} frames ({len(pose['nobody'])} samples have "
        f"nobody at all); {pose['restarts']} times another person was taken"
        for row in summary["stores"]
        if (pose := row.get("pose"))
    ]
    decoded = counted(summary["frames_decoded"], "frame")
    lines.append(f"{decoded} decoded ({summary['frames_used']} used) in {summary['seconds']:.1f} s")
    console.result(summary, "\n".join(lines))
    if failed:
        names = ", ".join(row["id"] for row in failed[:5]) + ("..." if len(failed) > 5 else "")
        raise SomeFailed(
            f"{counted(len(failed), 'video')} failed: {names}", hint="the rest is done; run again to retry these"
        )
    return [Path(row["store"]) for row in summary["stores"]]
