"""``reid-dhm serve``: a gallery over HTTP, for programs and browsers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from reid_dhm.cli.options import BackboneOption, DeviceOption, InputOption, NeckOption, SizeOption
from reid_dhm.cli.options.alerts import (
    AuthorityOption,
    LinesOption,
    MqttOption,
    WebhookOption,
    announcing,
    open_receivers,
)
from reid_dhm.cli.options.query import CheckpointOption, IndexOption, find_model, open_embedder
from reid_dhm.cli.output import command_line, say, suggest


def serve(
    gallery: Annotated[Path, typer.Option(metavar="DIR", help="The gallery to search.")],
    host: Annotated[
        str, typer.Option(help="Address to listen on; a public one needs a token.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 chooses a free port.")] = 8000,
    token_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="One owner's name and token per line; or set REID_DHM_TOKEN.",
        ),
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", help="A further allowed host name; needs a token; repeatable."
        ),
    ] = None,
    certificate: Annotated[
        Path | None, typer.Option(metavar="FILE", help="PEM, for HTTPS.")
    ] = None,
    key: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The certificate's key, if it is in another file."),
    ] = None,
    checkpoint: CheckpointOption = None,
    thresholds: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The model's thresholds.json, for match probabilities."),
    ] = None,
    detector: Annotated[
        str | None,
        typer.Option(
            help="Finds the person in images without a box: a name of `reid-dhm models`, an "
            ".onnx or .xml file, FAMILY:FILE or torchvision:NAME[:WEIGHTS]."
        ),
    ] = None,
    index: IndexOption = "Flat",
    device: DeviceOption = "auto",
    lines: LinesOption = None,
    webhook: WebhookOption = None,
    mqtt: MqttOption = None,
    mqtt_ca: AuthorityOption = None,
    backbone: BackboneOption = None,
    size: SizeOption = None,
    neck: NeckOption = None,
    input: InputOption = None,
) -> None:
    """Serve a gallery: a page to search it, and an interface for programs (/openapi.json).

    Example: reid-dhm serve --gallery galleries/site

    For others, behind a token: reid-dhm serve --gallery galleries/site --host 0.0.0.0
    --token-file tokens.txt --certificate site.pem
    """
    from reid_dhm.extras import require

    require(
        "service", "reid-dhm serve", "fastapi", "prometheus_client", "python_multipart", "uvicorn"
    )
    from reid_dhm.gallery.detect.factory import build_detector, check_detector
    from reid_dhm.gallery.opening import in_folder, open_gallery
    from reid_dhm.service.auth import check_address, is_loopback, read_tokens

    # Every check that needs neither the model nor the server comes before both are loaded.
    if key is not None and certificate is None:
        raise typer.BadParameter("--key has no meaning without --certificate")
    tokens = read_tokens(token_file)
    check_address(host, tokens, allow_host or ())
    if detector is not None:
        check_detector(detector)
    receivers = open_receivers(gallery, lines, webhook, mqtt, mqtt_ca)
    with open_gallery(gallery) as store:
        if receivers:
            in_folder(store)
        model = find_model(checkpoint, backbone=backbone, size=size, neck=neck, input=input)

        from reid_dhm.gallery.search.match_thresholds import open_thresholds
        from reid_dhm.inference.checkpoint_file import DEFAULT
        from reid_dhm.inference.embedder import Embedder
        from reid_dhm.service.app import create_app
        from reid_dhm.service.server import Certificate, build_server, listen
        from reid_dhm.service.state import Service

        pem = Certificate(certificate, key) if certificate else None
        bound = listen(host, port)
        calibration = open_thresholds(store.fingerprint or "", thresholds)
        embedder = open_embedder(store, model, device)
    finder = build_detector(detector) if detector is not None else None

    def reopen(name: str) -> Embedder:
        """The model that the gallery moved to."""
        found = find_model(None if name == DEFAULT else Path(name))
        return Embedder(found, device=device, precision="float32")

    service = Service.open(gallery, embedder, tokens, calibration, finder, index, reopen=reopen)
    scheme = "https" if certificate else "http"
    shown = f"[{host}]" if ":" in host else host
    address = f"{scheme}://{shown}:{bound.getsockname()[1]}"

    def ready() -> None:
        say(f"{gallery}: {address} (Ctrl+C stops it)")
        say(f"next: open {address} in a browser")
        suggest(command_line("gallery list audit", {"--gallery": gallery}), "who searched for whom")
        if not (is_loopback(host) or certificate):
            say(
                "warning: tokens and images are sent unencrypted: give --certificate, or use a "
                "proxy that encrypts",
                err=True,
            )

    app = create_app(service, host, allow_host or ())
    with bound, announcing(gallery, receivers, link=bool(receivers)):
        build_server(app, pem, ready).run(sockets=[bound])
