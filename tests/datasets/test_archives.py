"""Finding, downloading and verifying archives, on a toy one: no network, no real data."""

import random
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from segloss_ref.datasets import load, public

MASK = "stage1_train/b/masks/1.png"


@pytest.fixture
def server(toy):
    """Serves `server.content` at the address on the toy's card, and counts the requests."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            handler.requests.append(self.path)
            self.send_response(handler.status)
            self.send_header("Content-Length", str(handler.length or len(handler.content)))
            self.end_headers()
            self.wfile.write(handler.content)

        def log_message(self, *_):
            pass

    handler = Handler
    handler.requests, handler.status, handler.length, handler.content = [], 200, None, b""
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        toy.address = toy.address.replace(":9/", f":{http.server_port}/")
        toy.write_clone()
        yield handler
        http.shutdown()
        thread.join()


def test_reads_an_archive_from_segloss_data(toy, tmp_path, monkeypatch):
    toy.write_zip(tmp_path / "mine" / toy.file)
    monkeypatch.setenv("SEGLOSS_DATA", str(tmp_path / "mine"))
    data = load("nuclei", "train")
    # The order of SHA-256: 2e.. is c, 3e.. is b, ca.. is a.
    assert data.names == ("c", "b", "a")
    # Each image is scaled by itself: 0 to 19, 1 to 20, 2 to 21 all become 0 to 1.
    ramp = np.arange(20).reshape(4, 5, 1) / 19
    np.testing.assert_allclose(data.images, [ramp] * 3, atol=1e-6)
    # Masks 1 and 2 share column 2: the later one takes it.
    labels = [[0] * 5, [1, 1, 2, 2, 2], [1, 1, 2, 2, 2], [0] * 5]
    np.testing.assert_array_equal(data.instances, [labels] * 3)
    np.testing.assert_array_equal(data.masks, np.array([labels] * 3) > 0)
    assert data.card.address == toy.address
    assert data.groups == ("b", "b", "a")
    assert load("nuclei", "train", limit=2).names == ("c", "b")


def test_a_larger_archive_gives_the_same(toy, tmp_path, monkeypatch):
    extra = {"stage1_train/d/images/d.png": b"not read", "README.md": b"not read"}
    toy.write_zip(tmp_path / toy.file, **extra)
    monkeypatch.setenv("SEGLOSS_DATA", str(tmp_path))
    assert load("nuclei", "train").names == ("c", "b", "a")


def test_a_relative_folder_counts_from_here_and_from_the_clone(toy, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SEGLOSS_DATA", "mine")
    assert public.find("nuclei") is None
    path = toy.write_zip(toy.clone / "mine" / toy.file)
    assert public.find("nuclei") == path
    path = toy.write_zip(tmp_path / "mine" / toy.file)
    assert public.find("nuclei") == path


def test_resized_by_the_nearest_pixel(toy, tmp_path, monkeypatch):
    toy.write_zip(tmp_path / toy.file)
    monkeypatch.setenv("SEGLOSS_DATA", str(tmp_path))
    data = load("nuclei", "train", limit=1, size=(8, 10))
    labels = np.array([[0] * 5, [1, 1, 2, 2, 2], [1, 1, 2, 2, 2], [0] * 5])
    np.testing.assert_array_equal(data.instances[0], labels.repeat(2, 0).repeat(2, 1))
    # One column: the middle one, (0 + 0.5) * 5 = 2. Object 1 is lost, so object 2 becomes 1.
    data = load("nuclei", "train", limit=1, size=(4, 1))
    np.testing.assert_array_equal(data.instances[0, :, 0], [0, 1, 1, 0])
    assert data.images.shape == (1, 4, 1, 1)


def test_images_are_resized_without_aliasing(toy, tmp_path, monkeypatch):
    stripes = np.zeros((4, 60, 4), np.uint8)
    stripes[:, ::2] = 200
    toy.add("stage1_train/c/images/c.png", stripes)
    toy.add("stage1_train/c/masks/1.png", np.full((4, 60), 255, np.uint8))
    toy.add("stage1_train/c/masks/2.png", np.zeros((4, 60), np.uint8))
    toy.write_clone()
    toy.write_zip(tmp_path / toy.file)
    monkeypatch.setenv("SEGLOSS_DATA", str(tmp_path))
    image = load("nuclei", "train", limit=1, size=(4, 15)).images[0, ..., 0]
    # Every fourth pixel would be all 0 or all 1; their mean is 1/2.
    np.testing.assert_allclose(image[:, 2:-2], 0.5, atol=0.05)


def test_download(toy, server, tmp_path):
    server.content = toy.write_zip(tmp_path / "served.zip").read_bytes()
    assert public.find("nuclei") is None
    assert load("nuclei", "train").names == ("c", "b", "a")
    assert server.requests == ["/somebody/toy/archive/0123abcd.zip"]
    assert [path.name for path in toy.cache.iterdir()] == [toy.file]
    load("nuclei", "train")
    assert len(server.requests) == 1  # from the cache
    assert public.find("nuclei") == toy.cache / toy.file


def test_segloss_data_comes_before_the_cache(toy, tmp_path, monkeypatch):
    cached = toy.write_zip(toy.cache / toy.file)
    assert public.find("nuclei") == cached
    given = toy.write_zip(tmp_path / "mine" / toy.file)
    monkeypatch.setenv("SEGLOSS_DATA", str(given.parent))
    assert public.find("nuclei") == given
    given.unlink()
    assert public.find("nuclei") == cached


def truncated(toy, path):
    content = toy.write_zip(path).read_bytes()
    return content[: len(content) // 2]


def with_a_wrong_file(toy, path):
    other = toy.files["stage1_train/b/masks/2.png"]  # a sound picture, but another
    return toy.write_zip(path, **{MASK: other}).read_bytes()


def without_a_file(toy, path):
    return toy.write_zip(path, **{MASK: None}).read_bytes()


def with_a_flipped_byte(toy, path):
    content = bytearray(toy.write_zip(path).read_bytes())
    content[content.index(MASK.encode()) + len(MASK) + 10] ^= 0xFF  # in the file's packed bytes
    return bytes(content)


def no_zip(toy, path):
    return b"<html>Too many requests</html>"


DAMAGES = pytest.mark.parametrize(
    ("damage", "what"),
    [
        (truncated, "it is no whole zip file"),
        (no_zip, "it is no whole zip file"),
        (with_a_wrong_file, f"{MASK} has another SHA-256 than data/digests says"),
        (without_a_file, f"{MASK} is missing"),
        (with_a_flipped_byte, f"{MASK} cannot be unpacked"),
    ],
)


@DAMAGES
def test_a_damaged_download_leaves_nothing(toy, server, tmp_path, damage, what):
    server.content = damage(toy, tmp_path / "served.zip")
    with pytest.raises(public.DamagedArchiveError) as caught:
        load("nuclei", "train")
    message = str(caught.value)
    assert message.startswith(f"The download of 'nuclei' from {toy.address} is damaged: {what}")
    assert message.endswith("Nothing of it was kept: try again.")
    assert list(toy.cache.iterdir()) == []
    server.content = toy.write_zip(tmp_path / "served.zip").read_bytes()
    assert len(load("nuclei", "train")) == 3  # and the next attempt is not hindered


@DAMAGES
def test_a_damaged_archive_is_named(toy, tmp_path, damage, what):
    path = toy.cache / toy.file
    content = damage(toy, path)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    with pytest.raises(public.DamagedArchiveError) as caught:
        load("nuclei", "train")
    assert str(path) in str(caught.value)
    assert what in str(caught.value)
    assert "Delete it" in str(caught.value)
    assert path.read_bytes() == content


def test_an_archive_that_may_not_be_read_is_not_called_damaged(toy, monkeypatch):
    toy.write_zip(toy.cache / toy.file)

    def refuse(*_args, **_kwargs):
        raise PermissionError("not yours")

    monkeypatch.setattr("zipfile.ZipFile", refuse)
    with pytest.raises(PermissionError, match="not yours"):
        load("nuclei", "train")


def test_only_what_is_asked_for_is_read(toy):
    toy.write_zip(toy.cache / toy.file, **{MASK: None})  # b, the second
    assert load("nuclei", "train", limit=1).names == ("c",)
    with pytest.raises(public.DamagedArchiveError):
        load("nuclei", "train", limit=2)


def test_no_changed_byte_is_overlooked(toy):
    """Any change to an archive is an error that names it, or changes nothing that is read."""
    path = toy.write_zip(toy.cache / toy.file)
    sound, right = path.read_bytes(), load("nuclei", "train")
    draw = random.Random(0)
    errors = 0
    for _ in range(250):
        content = bytearray(sound)
        for _ in range(draw.choice([1, 8])):
            content[draw.randrange(len(content))] = draw.randrange(256)
        path.write_bytes(content)
        try:
            data = load("nuclei", "train")
        except public.DamagedArchiveError as error:
            assert str(path) in str(error)
            errors += 1
        else:
            np.testing.assert_array_equal(data.images, right.images)
            np.testing.assert_array_equal(data.instances, right.instances)
    assert errors > 150


def test_a_connection_that_breaks_off(toy, server, tmp_path):
    server.content = truncated(toy, tmp_path / "served.zip")
    server.length = 2 * len(server.content)
    with pytest.raises(FileNotFoundError, match="could not be downloaded"):
        load("nuclei", "train")
    assert list(toy.cache.iterdir()) == []


def test_an_address_that_has_gone(toy, server):
    server.status = 404
    with pytest.raises(FileNotFoundError, match="404"):
        load("nuclei", "train")
    assert list(toy.cache.iterdir()) == []


def test_without_a_network(toy, tmp_path, monkeypatch):
    monkeypatch.setenv("SEGLOSS_DATA", str(tmp_path / "mine"))
    with pytest.raises(FileNotFoundError) as caught:  # nothing listens on port 9
        load("nuclei", "train")
    message = str(caught.value)
    assert str(tmp_path / "mine" / toy.file) in message
    assert str(toy.cache / toy.file) in message
    assert f"Then tried: {toy.address}" in message
    assert "set SEGLOSS_DATA" in message
    assert list(toy.cache.iterdir()) == []


def test_a_progress_bar_on_a_terminal_only(toy, server, tmp_path, monkeypatch, capsys):
    server.content = toy.write_zip(tmp_path / "served.zip").read_bytes()
    load("nuclei", "train")
    assert capsys.readouterr() == ("", "")
    (toy.cache / toy.file).unlink()
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    load("nuclei", "train")
    assert "100%" in capsys.readouterr().err


def test_a_grey_mask_is_an_error(toy):
    toy.add(MASK, np.full((4, 5), 128, np.uint8))
    toy.write_clone()
    path = toy.write_zip(toy.cache / toy.file)
    with pytest.raises(ValueError, match="must hold only the values 0 and 255") as caught:
        load("nuclei", "train")
    assert MASK in str(caught.value)
    assert str(path) in str(caught.value)
    assert "Received: [128]" in str(caught.value)


def test_an_installed_package_has_copies_of_its_own(toy, tmp_path):
    (toy.clone / "data").rename(public.PACKAGE)
    toy.write_zip(toy.cache / toy.file)
    assert load("nuclei", "train").names == ("c", "b", "a")


def test_without_cards_and_digests(toy):
    (toy.clone / "data/digests/nuclei.sha256").unlink()
    with pytest.raises(FileNotFoundError, match="the installation is not whole"):
        load("nuclei", "train")


def test_a_member_that_says_it_is_large_is_not_unpacked(toy, monkeypatch):
    toy.write_zip(toy.cache / toy.file, **{MASK: bytes(public.MAX_BYTES + 1)})
    monkeypatch.setattr("zipfile.ZipFile.open", None)  # nothing may be unpacked
    with pytest.raises(public.DamagedArchiveError, match="would take 67,108,865 bytes, more than"):
        public.Archive(toy.cache / toy.file, {MASK: ""}).read(MASK)


def test_a_member_that_is_larger_than_it_says(toy, monkeypatch):
    """Reading ends at the limit, whatever size the header has."""
    toy.write_zip(toy.cache / toy.file, **{MASK: bytes(3000)})
    archive = public.Archive(toy.cache / toy.file, {MASK: ""})
    monkeypatch.setattr(public, "MAX_BYTES", 2000)
    member = archive._zip.getinfo(f"{archive.path.stem}/{MASK}")
    with pytest.raises(ValueError, match="more than the 67,108,864 that are allowed"):
        archive._unpacked(member)
