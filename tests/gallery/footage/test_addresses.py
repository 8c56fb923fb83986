import pytest

from reid_dhm.errors import ReidError
from reid_dhm.gallery.footage.addresses import without_credentials
from reid_dhm.gallery.footage.sources import open_source


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("rtsp://admin:secret@10.0.0.5:554/live?token=secret", "rtsp://10.0.0.5:554/live"),
        ("rtsp://admin:Pa/secret@h/h264", "rtsp://h/h264"),
        ("rtsp://admin:S3c#secret@h/h264", "rtsp://h/h264"),
        ("rtsp://admin:what?secret@h/h264", "rtsp://h/h264"),
        ("rtsp://admin:a@secret@h/h264", "rtsp://h/h264"),
        (
            "http://h:80/user=admin&password=secret&channel=1&stream=0.sdp",
            "http://h:80/user=***&password=***&channel=1&stream=0.sdp",
        ),
        ("rtsp://h/PWD=secret/1", "rtsp://h/PWD=***/1"),
        ("http://h/cam;pass=secret;ch=1", "http://h/cam;pass=***;ch=1"),
        ("rtsp://h/live#secret", "rtsp://h/live"),
        (
            "rtsp://10.0.0.5:554/Streaming/Channels/101",
            "rtsp://10.0.0.5:554/Streaming/Channels/101",
        ),
        ("admin:secret@10.0.0.5/live", "10.0.0.5/live"),
    ],
)
def test_names_of_streams_keep_no_secret(address, shown):
    assert without_credentials(address) == shown


@pytest.mark.parametrize(
    "address",
    [
        "rtsp://admin:Pa/S3cret@127.0.0.1:9/h264",
        "rtsp://admin:S3cret#1@127.0.0.1:9/h264",
        "rtsp://admin:S3cret@127.0.0.1:9/h264",
        "admin:S3cret@127.0.0.1/h264",
    ],
)
def test_errors_keep_no_password_and_say_how_to_write_one(address, caplog):
    with pytest.raises(ReidError) as error:
        open_source(address, patience=1)
    assert "S3cret" not in str(error.value) + caplog.text
    if "://" in address:
        assert "in a password write / as %2F, # as %23, ? as %3F and @ as %40" in str(error.value)
