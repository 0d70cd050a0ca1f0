"""A small archive of our own, where there need be no real data."""

import hashlib
import zipfile

import numpy as np
import pytest

from segloss_ref.datasets import public

COMMIT = "0123abcd"


class Toy:
    """A clone with a data set "nuclei" of three 4 x 5 images, and the zip that belongs to it."""

    def __init__(self, folder):
        self.clone = folder / "clone"
        self.file = f"toy-{COMMIT}.zip"
        self.address = f"http://127.0.0.1:9/somebody/toy/archive/{COMMIT}.zip"
        ramp = np.arange(20, dtype=np.uint8).reshape(4, 5)
        left, right = np.zeros((2, 4, 5), np.uint8)
        left[1:3, :3] = 255
        right[1:3, 2:] = 255  # overlaps `left` in column 2
        self.files = {}
        for i, name in enumerate("abc"):
            self.add(f"stage1_train/{name}/images/{name}.png", np.stack([ramp + i] * 4, axis=-1))
            self.add(f"stage1_train/{name}/masks/1.png", left)
            self.add(f"stage1_train/{name}/masks/2.png", right)

    def add(self, path, pixels):
        self.files[path] = png(pixels)

    def write_clone(self):
        (self.clone / "data/cards").mkdir(parents=True, exist_ok=True)
        (self.clone / "data/digests").mkdir(parents=True, exist_ok=True)
        (self.clone / "data/cards/nuclei.toml").write_text(
            f'address = "{self.address}"\n'
            'class_names = ["background", "nucleus"]\n'
            'groups = "nuclei_fields.csv"\n'
            "shares = { train = 1.0, validation = 0.0, test = 0.0 }\n"
            '[card]\ntitle = "t"\nclasses = "c"\nterms = "t"\ncitation = "c"\n'
        )
        (self.clone / "data/cards/nuclei_fields.csv").write_text("name,group\na,a\nb,b\nc,b\n")
        (self.clone / "data/digests/nuclei.sha256").write_text(
            "".join(
                f"{hashlib.sha256(content).hexdigest()}  {path}\n"
                for path, content in sorted(self.files.items())
            )
        )

    def write_zip(self, path, **changes):
        """Writes the archive; `changes` maps a path to other bytes, or to `None`: left out."""
        path.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(f"toy-{COMMIT}/", b"")
            for name, content in {**self.files, **changes}.items():
                if content is not None:
                    archive.writestr(f"toy-{COMMIT}/{name}", content)
        return path


def png(pixels):
    import io

    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """A `Toy` in place of the repository, with no data set anywhere."""
    toy = Toy(tmp_path)
    toy.write_clone()
    toy.cache = tmp_path / "cache"
    monkeypatch.setattr(public, "CLONE", toy.clone)
    monkeypatch.setattr(public, "PACKAGE", tmp_path / "package")
    monkeypatch.setenv("SEGLOSS_CACHE", str(toy.cache))
    monkeypatch.delenv("SEGLOSS_DATA", raising=False)
    for proxy in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(proxy, raising=False)
    return toy
