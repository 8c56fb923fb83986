"""``reid-dhm index-video``: finds the people in a video and stores them in a gallery."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from reid_dhm.cli.options import (
    BackboneOption,
    DeviceOption,
    InputOption,
    JsonOption,
    NeckOption,
    SizeOption,
    write_json,
)
from reid_dhm.cli.options.alerts import (
    AuthorityOption,
    LinesOption,
    LinkOption,
    MqttOption,
    WebhookOption,
    announcing,
    open_receivers,
)
from reid_dhm.cli.output import command_line, say, suggest
from reid_dhm.cli.output.hints import suggest_better_model
from reid_dhm.cli.output.interrupt import stopped_by_interrupt

if TYPE_CHECKING:
    from reid_dhm.gallery.ingest.ingest import IndexingSummary

FRAMES, PEOPLE, CLUSTER = "Which frames", "How people are found", "On a cluster"


def index_video(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE...",
            help="A video, a folder or 'pattern' of images, the address of a recording or live "
            "stream, or the number of a webcam. Into a shared gallery: videos, folders of videos, "
            "and manifests (.csv with source, camera and start).",
        ),
    ],
    gallery: Annotated[
        Path,
        typer.Option(
            metavar="DIR",
            help="Folder, s3://BUCKET/PREFIX or lance:FOLDER; created if it does not exist.",
        ),
    ],
    camera: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Name of the camera.", show_default="a manifest's"),
    ] = None,
    start: Annotated[
        str | None,
        typer.Option(
            metavar="ISO8601",
            rich_help_panel=FRAMES,
            help="Wall-clock time of the first frame; UTC without an offset.",
        ),
    ] = None,
    fps: Annotated[
        float | None,
        typer.Option(
            rich_help_panel=FRAMES,
            help="Frame rate of an image sequence, or to override a wrong header.",
        ),
    ] = None,
    stride: Annotated[
        int, typer.Option(min=1, rich_help_panel=FRAMES, help="Process every so many frames.")
    ] = 1,
    begin: Annotated[
        float,
        typer.Option(
            "--from", min=0, metavar="SECONDS", rich_help_panel=FRAMES, help="Start, in seconds."
        ),
    ] = 0.0,
    end: Annotated[
        float | None,
        typer.Option(
            "--to", min=0, metavar="SECONDS", rich_help_panel=FRAMES, help="End, in seconds."
        ),
    ] = None,
    patience: Annotated[
        float,
        typer.Option(
            min=0,
            metavar="SECONDS",
            rich_help_panel=FRAMES,
            help="How long to try to reconnect to a live stream.",
        ),
    ] = 300.0,
    detector: Annotated[
        str,
        typer.Option(
            rich_help_panel=PEOPLE,
            help="A name of `reid-dhm models`, an .onnx or .xml file, FAMILY:FILE, "
            "torchvision:NAME[:WEIGHTS], mot:FILE, or motion (anything that moves; for a fixed "
            "camera).",
        ),
    ] = "motion",
    confidence: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            rich_help_panel=PEOPLE,
            help="Lowest score of a box.",
            show_default="the detector's own",
        ),
    ] = None,
    tracker: Annotated[
        Literal["auto", "bytetrack", "sort", "none"],
        typer.Option(
            rich_help_panel=PEOPLE,
            help="none: every person in every frame is a tracklet. auto: none where frames are a "
            "second apart or more, else bytetrack.",
        ),
    ] = "auto",
    track_confidence: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            rich_help_panel=PEOPLE,
            help="Lowest score of a box that begins a track.",
            show_default="the detector's own",
        ),
    ] = None,
    join: Annotated[
        bool,
        typer.Option(
            rich_help_panel=PEOPLE,
            help="Join the pieces of a track whose person was hidden for up to 3 seconds, by "
            "appearance and place, once the video is complete.",
        ),
    ] = True,
    checkpoint: Annotated[
        Path | None,
        typer.Option(help="The model that embeds people.", show_default="the package's model"),
    ] = None,
    device: DeviceOption = "auto",
    ray: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            rich_help_panel=CLUSTER,
            help="Index on a Ray cluster: HOST:PORT, ray://HOST:PORT, or local to start one here.",
        ),
    ] = None,
    source_cpus: Annotated[
        float, typer.Option(min=0, rich_help_panel=CLUSTER, help="CPUs that a source needs.")
    ] = 1.0,
    source_gpus: Annotated[
        float, typer.Option(min=0, rich_help_panel=CLUSTER, help="GPUs that a source needs.")
    ] = 0.0,
    link: LinkOption = None,
    lines: LinesOption = None,
    webhook: WebhookOption = None,
    mqtt: MqttOption = None,
    mqtt_ca: AuthorityOption = None,
    json: JsonOption = None,
    backbone: BackboneOption = None,
    size: SizeOption = None,
    neck: NeckOption = None,
    input: InputOption = None,
) -> None:
    """Find the people in a video, and store who was where and when, with their best images.

    An interrupted run is continued; indexing the same video twice adds nothing.

    Example: reid-dhm index-video --gallery galleries/site --camera gate gate.mp4
    --start 2026-03-01T08:00:00+01:00 --detector yolox_nano.onnx

    Example: reid-dhm index-video --gallery s3://footage/site --ray head:6379 cameras.csv
    """
    from reid_dhm.gallery.address import shared_address
    from reid_dhm.gallery.detect.factory import build_detector, check_detector
    from reid_dhm.gallery.footage.sources import check_source, open_source
    from reid_dhm.gallery.ingest.options import IndexingOptions
    from reid_dhm.gallery.records import check_name, wall_clock
    from reid_dhm.gallery.track.settings import TrackSettings
    from reid_dhm.inference.checkpoint_file import find_checkpoint, model_name
    from reid_dhm.inference.default import DEFAULT_CHECKPOINT

    if camera is not None:
        check_name("camera", camera)
    options = IndexingOptions(
        stride, begin, end, TrackSettings(tracker, track_confidence, join=join)
    )
    check_detector(detector, confidence)
    receivers = open_receivers(gallery, lines, webhook, mqtt, mqtt_ca)
    found = find_checkpoint(checkpoint or DEFAULT_CHECKPOINT, backbone, size, neck, input)
    if ray is not None or len(sources) > 1 or shared_address(gallery) is not None:
        from reid_dhm.cli.index_cluster import index_into_shared
        from reid_dhm.cluster.indexing import ClusterOptions

        if fps is not None or receivers or link:
            what = "--fps is" if fps is not None else "alerts and --link are"
            raise typer.BadParameter(f"{what} of one source, in a gallery's folder")
        model_details = (backbone, size, neck, input)
        how = ClusterOptions(
            *(gallery, detector, confidence, options, checkpoint, model_details, device)
        )
        needs = source_cpus, source_gpus
        index_into_shared(sources, camera, start, how, ray, needs, json)
        return
    if camera is None:
        raise typer.BadParameter("missing: give --camera NAME", param_hint="--camera")
    source = sources[0]
    moment = None if start is None else wall_clock(start)
    check_source(source, fps)

    from reid_dhm.cli.output.progress import progress_bar
    from reid_dhm.gallery.ingest import index_video as indexing
    from reid_dhm.inference.embedder import Embedder

    finder = build_detector(detector, confidence)
    frames = open_source(source, fps, patience)
    # An interrupted run may continue on another device, so nothing is rounded to 16 bits.
    embedder = Embedder(found, device=device, precision="float32")
    link = frames.info.live or bool(receivers) if link is None else link
    announced = announcing(gallery, receivers, link)
    with progress_bar("Indexing") as bar, stopped_by_interrupt(frames), announced:
        summary = indexing.index_video(
            *(gallery, frames, camera, embedder, model_name(checkpoint)),
            detector=finder,
            options=options,
            start=moment,
            report=bar,
        )
    model = {
        "--checkpoint": checkpoint,
        "--backbone": backbone,
        "--size": size,
        "--neck": neck,
        "--input": input,
    }
    search = command_line("search", {"--gallery": gallery, "--query": "PERSON.jpg", **model})
    _print(summary, frames.info.name, gallery, search)
    suggest_better_model(checkpoint, json, gallery)
    if json is not None:
        figures = figures_of(summary)
        figures |= {"engine": embedder.engine, "fingerprint": embedder.fingerprint}
        write_json(json, figures)


def figures_of(summary: IndexingSummary) -> dict[str, Any]:
    """What indexing did, for ``--json``."""
    return {
        "videos": summary.videos,
        "known": summary.known,
        "resumed": summary.resumed,
        "frames": summary.frames,
        "detections": summary.detections,
        "tracklets": summary.tracklets,
        "people": summary.people,
        "unkept": summary.unkept,
        "tracker": summary.tracks.tracker,
        "seconds": summary.seconds,
        "stages": [
            {
                "name": stage.name,
                "unit": stage.unit,
                "count": stage.count,
                "busy_seconds": stage.seconds / stage.workers,
                "rate": stage.rate,
            }
            for stage in summary.stages
        ],
    }


def how_people_were_kept(summary: IndexingSummary, name: str) -> list[str]:
    """What is said of people in no tracklet, and of frames that are far apart."""
    tracks, gap = summary.tracks, 1 / summary.frame_rate if summary.frame_rate else 0.0
    alone = tracks.tracker == "none"
    lines = []
    if alone and summary.frames:
        lines.append(
            f"nobody was followed from frame to frame ({gap:.3g} s apart): every person in every "
            "frame is a tracklet"
        )
    if summary.unkept and not summary.tracklets:
        lines.append(
            f"{summary.people} people in {summary.frames} frames, none "
            + (
                "large enough for an image"
                if alone
                else f"followed: nobody was seen in {tracks.min_boxes} frames in a row; give "
                "--tracker none where frames are far apart, or a lower --stride"
            )
        )
    elif summary.unkept:
        lines.append(
            f"{summary.unkept} of {summary.people} boxes of people are in no tracklet: "
            + ("too small" if alone else "seen too briefly, or too small")
        )
    elif not summary.people and not summary.resumed:
        lower = ", or a lower --track-confidence" if summary.detections else ""
        lines.append(f"no people found in {name}: try another --detector{lower}")
    return lines


def _print(summary: IndexingSummary, name: str, gallery: Path, search: str) -> None:
    from reid_dhm.cli.output.tables import SafeTable, plain_console

    if summary.known:
        say(f"{name} is already in the gallery (video {summary.videos[0]}): nothing to do")
        say(f"search it: {search}")
        return
    again = ", continuing an interrupted run" if summary.resumed else ""
    say(
        f"{summary.frames} frames{again}: {summary.detections} boxes, {summary.tracklets} "
        f"tracklets (video {', '.join(summary.videos)})"
    )
    for line in how_people_were_kept(summary, name):
        say(line, err=True)
    table = SafeTable("stage", "done", "busy", "on its own", box=None)
    for stage in summary.stages:
        table.add_row(
            stage.name,
            f"{stage.count} {stage.unit}",
            f"{stage.seconds / stage.workers:.1f} s",
            f"{stage.rate:.0f} {stage.unit}/s",
        )
    plain_console().print(table)
    say(f"end to end: {summary.seconds:.1f} s, {summary.frames / summary.seconds:.1f} frames/s")
    say(f"gallery: {gallery}")
    suggest(search)
