"""The published models that the package knows by name, and under which terms they come.

Sizes and SHA-256 sums are those of the publishers' files; figures are the publishers' own.
"""

from __future__ import annotations

from dataclasses import dataclass

EMBEDDING, DETECTION = "embedding", "detection"


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file to fetch.

    Attributes:
        url: an ``https`` address.
        sha256: of the content, 64 hexadecimal digits; None where it is not known beforehand.
        size: bytes; None where it is not known beforehand.
        pinned_on_first_use: nobody publishes a checksum: what the first fetch brings is trusted,
            and later ones are compared with it. Otherwise the Hub's own checksum is verified.
    """

    url: str
    sha256: str | None = None
    size: int | None = None
    pinned_on_first_use: bool = False

    @property
    def name(self) -> str:
        """The file's name in the model's folder."""
        return self.url.rpartition("/")[2]


@dataclass(frozen=True, slots=True)
class ZooModel:
    """A published model.

    Attributes:
        name: what ``--checkpoint`` or ``--detector`` takes.
        task: :data:`EMBEDDING` or :data:`DETECTION`.
        files: to fetch; the first is the one to open.
        licence: of the weights.
        training_data: what it was trained on, and that data's terms.
        parameters: millions.
        size: height and width of the input, in pixels.
        published: figures that its authors give.
        backbone, neck: how weights without a card are opened; None for graphs.
    """

    name: str
    task: str
    files: tuple[RemoteFile, ...]
    licence: str
    training_data: str
    parameters: float
    size: tuple[int, int]
    published: str
    backbone: str | None = None
    neck: str | None = None


_RESEARCH = "for research only"
_OSNET = "https://huggingface.co/kaiyangzhou/osnet/resolve/main/"
_OMZ = "https://storage.openvinotoolkit.org/repositories/open_model_zoo/2023.0/models_bin/1/"
_YOLOX = "https://github.com/Megvii-BaseDetection/YOLOX/releases/download/0.1.1rc0/"


def _osnet(
    name: str, file: str, data: str, parameters: float, published: str, sha256: str | None = None
) -> ZooModel:
    return ZooModel(
        name,
        EMBEDDING,
        (RemoteFile(_OSNET + file, sha256),),
        "MIT",
        f"{data} ({_RESEARCH})",
        parameters,
        (256, 128),
        published,
        backbone=name.rpartition("_")[0],
        neck="none",
    )


def _openvino(
    name: str,
    parameters: float,
    published: str,
    xml: tuple[str, int],
    weights: tuple[str, int],
    task: str = EMBEDDING,
    size: tuple[int, int] = (256, 128),
) -> ZooModel:
    folder = f"{_OMZ}{name}/FP16/{name}"
    return ZooModel(
        name,
        task,
        (RemoteFile(f"{folder}.xml", *xml), RemoteFile(f"{folder}.bin", *weights)),
        "Apache-2.0",
        "not stated by the publisher",
        parameters,
        size,
        published,
    )


def _yolox(
    name: str,
    parameters: float,
    side: int,
    ap: float,
    sha256: str | None = None,
    size: int | None = None,
) -> ZooModel:
    file = RemoteFile(f"{_YOLOX}yolox_{name}.onnx", sha256, size, sha256 is None)
    return ZooModel(
        f"yolox-{name}",
        DETECTION,
        (file,),
        "Apache-2.0",
        "COCO 2017 (annotations CC BY 4.0, images under their Flickr terms)",
        parameters,
        (side, side),
        f"COCO AP {ap} (all classes)",
    )


_COMBINED = "_combineall_256x128_amsgrad_ep150_stp60_lr0.0015_b64_fb10_softmax_labelsmooth_flip"

MODELS: tuple[ZooModel, ...] = (
    _osnet(
        "osnet_x1_0_msmt17",
        f"osnet_x1_0_msmt17{_COMBINED}_jitter.pth",
        "MSMT17, all images",
        2.2,
        "none for this file",
    ),
    _osnet(
        "osnet_x0_25_msmt17",
        f"osnet_x0_25_msmt17{_COMBINED}_jitter.pth",
        "MSMT17, all images",
        0.2,
        "none for this file",
        "cf55163d78fc44c62c82f85ab62d39f10438679b5abe8c698ae08cfa84aa6e18",
    ),
    _osnet(
        "osnet_ain_x1_0_msmt17",
        "osnet_ain_x1_0_msmt17_256x128_amsgrad_ep50_lr0.0015_coslr_b64_fb10_softmax_labsmth"
        "_flip_jitter.pth",
        "MSMT17",
        2.2,
        "MSMT17 to Market-1501: rank-1 70.1, mAP 43.3",
    ),
    _openvino(
        "person-reidentification-retail-0277",
        2.1,
        "Market-1501: rank-1 96.2, mAP 87.7",
        ("82039b1bb986231c50345550e59def94e63579998e9cddbd1a312f293eb87729", 616140),
        ("6bb69e09d07733cc3896b29081d2627f92db7b9aacd50f1a8c3df491cb10f1b7", 4178806),
    ),
    _openvino(
        "person-reidentification-retail-0286",
        1.2,
        "Market-1501: rank-1 94.8, mAP 83.7",
        ("cc547e622d8aeabf97938213f68171bf59ac7d01c910ceadfea984aa96e5d1b5", 611793),
        ("d06beb9e2b2661d42b233f64ef623f3518fc46dc11f6b7dd53cda8962d9d1bd9", 2453724),
    ),
    _openvino(
        "person-reidentification-retail-0287",
        0.6,
        "Market-1501: rank-1 92.9, mAP 76.6",
        ("95125bc630208d9a27370b11bd04d220f93f64b60fe4be5bc576e9aebb69603d", 614946),
        ("8811b3db2f6ebacbf2c05510593783316026ff779d9b048b6ca2581f17baf86c", 1181124),
    ),
    _openvino(
        "person-reidentification-retail-0288",
        0.2,
        "Market-1501: rank-1 86.1, mAP 59.7",
        ("0d5021c772e603dce69d9ef2e326ecf0a43234cc8b4c5bb5e8aa566f090bdb51", 614533),
        ("08e24c2f1dd976ff8e1f667b93db2950ac8db8da09e163e1ca6463b82d1dbc42", 364098),
    ),
    _openvino(
        "pedestrian-detection-adas-0002",
        1.2,
        "AP 88 on the publisher's own images",
        ("569e43b60fff50f9e7e635e5b523ac49b69a3858bfdaf3767e4650db165ac87d", 308923),
        ("a22aa7bda2d71c97689e0535b137f10e05dc57769a2d4bd8726099f45ccafe91", 2330176),
        DETECTION,
        (384, 672),
    ),
    _yolox(
        "nano",
        0.9,
        416,
        25.8,
        "c789161ed43c8269fcd4e67c67eeeb4e80c622da2eb296a20bc6007bd18a0b7d",
        3659407,
    ),
    _yolox(
        "tiny",
        5.1,
        416,
        32.8,
        "427cc366d34e27ff7a03e2899b5e3671425c262ea2291f88bb942bc1cc70b0f7",
        20219662,
    ),
    _yolox(
        "s",
        9.0,
        640,
        40.5,
        "c5c2d13e59ae883e6af3b45daea64af4833a4951c92d116ec270d9ddbe998063",
        35858002,
    ),
    _yolox("m", 25.3, 640, 46.9),
    _yolox("l", 54.2, 640, 49.7),
    _yolox("x", 99.1, 640, 51.1),
)
