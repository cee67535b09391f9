"""``aqa finetune``: a backbone and a head trained together, from video."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from .catalog import ReaderOptions, ReleasedFrames
from .console import Console
from .settings import place
from .verb import Cache, ConfigFile, DatasetName, Device, Json, Labelled, ProtocolName, Quiet, Root, Runs


def finetune(
    dataset: DatasetName = None,
    *,
    root: Root = None,
    backbone: Annotated[
        list[str] | None,
        typer.Option("--backbone", help="ARCH[.TAG][:LAYER] to be trained; may be given several times."),
    ] = None,
    weights: Annotated[
        list[str] | None, typer.Option("--weights", help="Weights to begin with, one after each --backbone; `random`.")
    ] = None,
    head: Annotated[str | None, typer.Option("--head", help="Gradient head, trained with it.")] = None,
    recipe: Annotated[
        str | None, typer.Option("--recipe", help="Recipe, by name or file; else that of the paper of these networks.")
    ] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="Parameter of the head: epochs, batch, lr.")
    ] = None,
    plan: Annotated[
        list[str] | None, typer.Option("--plan", help="Clip plan, such as 6x16@103; or BACKBONE=PLAN.")
    ] = None,
    features: Annotated[
        list[str] | None, typer.Option("--features", help="Cached stream beside them, such as pose.")
    ] = None,
    backbone_lr: Annotated[
        list[float] | None, typer.Option("--backbone-lr", min=0, help="Learning rate of each backbone [the head's].")
    ] = None,
    freeze: Annotated[
        list[str] | None, typer.Option("--freeze", help="Layers that stay, by the beginning of their names; or all.")
    ] = None,
    norms: Annotated[
        Literal["frozen", "train"] | None, typer.Option("--norms", help="Batch normalisation of the backbones.")
    ] = None,
    flip: Annotated[float | None, typer.Option("--flip", help="Probability of the mirror image.")] = None,
    crop: Annotated[Literal["centre", "random"] | None, typer.Option("--crop", help="Where frames are cut.")] = None,
    shift: Annotated[
        tuple[int, int] | None, typer.Option("--shift", help="A sample is moved by so many frames, from and to.")
    ] = None,
    ema: Annotated[float | None, typer.Option("--ema", help="Running mean of the weights, such as .999.")] = None,
    short: Annotated[
        Literal["edge", "loop", "zero", "refuse"] | None,
        typer.Option("--short", help="Samples with fewer frames than the plan: repeat the last frame... [edge]."),
    ] = None,
    seed: Annotated[list[int] | None, typer.Option("--seed", min=0, help="May be given several times.")] = None,
    target: Annotated[str | None, typer.Option("--target", help="Target, where the set has several.")] = None,
    protocol: ProtocolName = None,
    group: Annotated[str | None, typer.Option("--group", help="Only this group.")] = None,
    fold: Annotated[str | None, typer.Option("--fold", help="Only this fold.")] = None,
    held_out: Annotated[
        float | None, typer.Option("--held-out", min=0.0, max=0.5, help="Part of train that selects the epoch [.15].")
    ] = None,
    labelled: Labelled = None,
    batch: Annotated[
        str | None,
        typer.Option("--batch", help="Samples at once on a device: a number, `all` of an update [all], or `auto`."),
    ] = None,
    precision: Annotated[
        Literal["auto", "fp32", "bf16", "fp16"] | None, typer.Option("--precision", help="[auto]")
    ] = None,
    recompute: Annotated[
        bool, typer.Option("--recompute", help="Keep no activations: slower, far less memory.")
    ] = False,
    compile_: Annotated[bool, typer.Option("--compile", help="Compile the backbones (torch.compile).")] = False,
    clip_cache: Annotated[
        float, typer.Option("--clip-cache", min=0, help="GB of decoded frames kept beside the features; 0: none.")
    ] = 0.0,
    keep: Annotated[int, typer.Option("--keep", min=0, help="Keep the checkpoint of every so many epochs.")] = 0,
    tensorboard: Annotated[bool, typer.Option("--tensorboard", help="Event files too, in the run's folder.")] = False,
    workers: Annotated[int | None, typer.Option("--workers", min=0, help="Decoding processes; 0: none.")] = None,
    released_frames: ReleasedFrames = False,
    option: ReaderOptions = None,
    config: ConfigFile = None,
    device: Device = "auto",
    cache: Cache = None,
    runs: Runs = None,
    json: Json = False,
    quiet: Quiet = False,
) -> list[Path]:
    """Train a backbone together with a head, from video, and leave a run and weights that `aqa extract` takes.

    The same command goes on where it stopped, also in the middle of an epoch. With `torchrun --nproc-per-node N -m aqa
    finetune ...` on several GPUs.

    Example: aqa finetune mtl-aqa --root /data/MTL-AQA --backbone c3d:pool5 --weights c3d.pickle --head mtl
    """
    from ..errors import SomeFailed, UsageError
    from .repeat import once_more, read_config, same_start, tuned_config
    from .tuned_jobs import plan_tuned_jobs
    from .tuned_recipe import asked_recipe
    from .tuned_work import on_machine, tune_all

    run = None if config is None else read_config(config, tuned=True)
    ours, had = (None, {}) if run is None or config is None else tuned_config(run, config)
    said = {"dataset": dataset, "protocol": protocol, "target": target, "group": group, "fold": fold}
    known = once_more(run, {**said, "held_out": held_out, "labelled": labelled, "seeds": seed}, [0])
    where = place(known.pop("dataset"), root=root, cache=cache, runs=runs, protocol=known.pop("protocol"))
    as_then = run is not None and not (weights or backbone or recipe)
    asked = asked_recipe(
        recipe,
        backbone or [],
        head,
        set_ or [],
        plan or [],
        {
            "features": features and tuple(features),
            "rates": backbone_lr and tuple(backbone_lr),
            "freeze": freeze and tuple(freeze),
            "norms": norms,
            "flip": flip,
            "crop": crop,
            "shifts": shift,
            "ema": ema,
        },
        weights=weights or [],
        dataset=where.dataset,
        repeated=ours,
    )
    if recompute and asked.recipe.norms == "train":
        what = "--recompute computes a few clips at a time, and norms = train would normalise them alone"
        raise UsageError(what, hint="--norms frozen, or a smaller --batch")
    with on_machine(
        device,
        precision or had.get("precision", "auto"),
        batch=batch or str(had.get("micro", "all")),
        recompute=recompute,
        compiled=compile_,
        workers=workers,
        cache=where.cache,
        gigabytes=clip_cache,
    ) as machine:
        console = Console(json=json, quiet=quiet or not machine.among.first)
        if asked.recipe.paper:
            console.say(f"recipe of {asked.recipe.paper}")
        jobs = plan_tuned_jobs(
            where,
            asked.recipe,
            weights=had["weights"] if as_then else asked.weights,
            short=short or had.get("short", "edge"),
            **known,
            start_seed=had.get("start_seed"),
            released_frames=released_frames or had.get("released_frames", False),
            options=option or had.get("options"),
            device=str(machine.how.device),
            precision=machine.how.precision,
            console=console,
        )
        if run is not None and as_then:
            same_start(run, jobs)
        rows, failed = tune_all(jobs, machine, console, keep=keep, tensorboard=tensorboard)
        if not machine.among.first:
            return []
    lines: list[Any] = [f"{row['run']}: Spearman {row['metrics']['spearman']}" for row in rows]
    console.result(rows, "\n".join(lines))
    if failed:
        names = ", ".join(list(failed)[:5]) + ("..." if len(failed) > 5 else "")
        raise SomeFailed(f"{len(failed)} videos could not be read: {names}", hint=next(iter(failed.values())))
    return [Path(row["run"]) for row in rows]
