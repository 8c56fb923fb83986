"""A shared gallery on an S3 server: copied to, searched, deleted from, and out of reach."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from reid_dhm.errors import InputError, NotFoundError, StorageError
from reid_dhm.gallery import opening
from reid_dhm.gallery.opening import as_shared, copy_gallery, open_gallery
from reid_dhm.gallery.records import TrackletFilter
from reid_dhm.gallery.search.searcher import Searcher

boto3 = pytest.importorskip("boto3", reason="boto3 is not installed: pip install reid-dhm[cluster]")
moto_server = pytest.importorskip("moto.server", reason="no S3 server: pip install moto[server]")

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The address of an S3 server."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    running = moto_server.ThreadedMotoServer(ip_address="127.0.0.1", port=port, verbose=False)
    running.start()
    yield f"http://127.0.0.1:{port}"
    running.stop()


@pytest.fixture
def s3(server, monkeypatch):
    """A client, with a bucket that keeps versions."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", server)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "somebody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    client = boto3.client("s3", region_name="us-east-1")
    client.create_bucket(Bucket="footage")
    client.put_bucket_versioning(Bucket="footage", VersioningConfiguration={"Status": "Enabled"})
    return client


def versions(s3) -> list[bytes]:
    """The content of every version of every object."""
    pages = s3.get_paginator("list_object_versions").paginate(Bucket="footage")
    return [
        s3.get_object(Bucket="footage", Key=each["Key"], VersionId=each["VersionId"])["Body"].read()
        for page in pages
        for each in page.get("Versions", [])
    ]


def test_a_bucket_holds_a_gallery_and_forgets_for_good(folder, s3) -> None:
    place = Path("s3://footage/site")
    with open_gallery(place, create=True) as gallery:
        assert copy_gallery(folder, gallery).tracklets == 60
    with open_gallery(place) as opened:
        gallery = as_shared(opened)
        assert str(gallery.folder) == "s3://footage/site"
        query = np.random.default_rng(3).normal(size=(1, 32))
        found = [
            [(str(c.tracklet.id), c.similarity) for c in Searcher(g).search(query, 5)]
            for g in (folder, gallery)
        ]
        assert found[0] == found[1]
        who = gallery.tracklets()[3]
        page = gallery.embeddings(TrackletFilter(tracklets=[who.id]))
        needles = [page.embeddings.tobytes(), str(who.id).encode()]
        assert any(needle in content for needle in needles for content in versions(s3))
        done, clean = opening.delete_logged(gallery, TrackletFilter(tracklets=[who.id]), {})
        assert (done.count, clean, gallery.count()) == (1, True, 59)
        assert not any(needle in content for needle in needles for content in versions(s3))


def test_what_cannot_be_reached_is_told_in_one_line(s3, monkeypatch) -> None:
    with pytest.raises(NotFoundError, match="s3://footage/none holds no gallery"):
        open_gallery(Path("s3://footage/none"))
    s3.put_object(Bucket="footage", Key="letters/a.txt", Body=b"a")
    with pytest.raises(InputError, match="s3://footage/letters is not a gallery"):
        open_gallery(Path("s3://footage/letters"), create=True)
    with pytest.raises(StorageError, match="404 Not Found") as caught:
        open_gallery(Path("s3://nowhere/site"))
    assert "\n" not in str(caught.value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(StorageError, match="AWS_ENDPOINT_URL"):
        open_gallery(Path("s3://footage/other"))
