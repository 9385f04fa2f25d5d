"""What is public can be pickled, copied and sent to other processes."""

from __future__ import annotations

import copy
import io
import multiprocessing
import pickle
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tiny_bundle import picture
from torch.utils.data import DataLoader

import hflow
import hflow.pillow
from hflow import bundles, errors
from hflow.codec.salvage import salvage
from hflow.codec.spending import spending
from hflow.container import Settings, parse, serialize
from hflow.torch import Files

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)
WAYS: dict[str, Callable[[Any], Any]] = {
    **{f"pickle {n}": lambda x, n=n: pickle.loads(pickle.dumps(x, n)) for n in PROTOCOLS},
    "deepcopy": copy.deepcopy,
    "copy": copy.copy,
}
OF_IMAGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    **WAYS,
    "image.copy": lambda image: image.copy(),
    "convert": lambda image: image.convert("RGB"),
    "crop": lambda image: image.crop((0, 0, *image.size)),
    "twice": lambda image: copy.deepcopy(copy.deepcopy(image)),
}


@pytest.fixture(scope="module")
def file(tiny_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    image, exif = Image.fromarray(picture(70, 50)), Image.Exif()
    exif[0x010F] = "Maker"
    image.info["exif"] = exif.tobytes()
    path = tmp_path_factory.mktemp("travel") / "a.hfc"
    path.write_bytes(hflow.encode(image, 2.0, metadata=["exif"]))
    return path


@pytest.mark.parametrize("loaded", [False, True])
@pytest.mark.parametrize("from_bytes", [False, True])
@pytest.mark.parametrize("way", OF_IMAGES)
def test_an_image_arrives_whole(file: Path, way: str, from_bytes: bool, loaded: bool) -> None:
    source = io.BytesIO(file.read_bytes()) if from_bytes else file
    image = Image.open(source)
    image.info["note"] = "mine"
    if loaded:
        image.load()
    arrived = OF_IMAGES[way](image)
    if from_bytes:
        source.close()
    assert np.array_equal(np.asarray(arrived), np.asarray(hflow.decode(file.read_bytes())))
    assert (arrived.size, arrived.mode, arrived.info["note"]) == ((70, 50), "RGB", "mine")
    assert arrived.getexif()[0x010F] == "Maker"
    arrived.putpixel((0, 0), (1, 2, 3))
    arrived.save(io.BytesIO(), "PNG")
    assert image.getpixel((0, 0)) != (1, 2, 3)


def test_an_image_travels_as_its_file_until_it_is_decoded(file: Path) -> None:
    image = Image.open(file)
    assert len(pickle.dumps(image)) < file.stat().st_size + 500
    data = bytearray(file.read_bytes())
    about = parse(bytes(data))
    damaged = serialize(about.__class__(**{**vars(about), "index_checksum": about.index_checksum ^ 1}))
    arrived = pickle.loads(pickle.dumps(Image.open(io.BytesIO(damaged))))
    with pytest.raises(OSError, match="checksum"):
        arrived.load()


def test_an_opened_image_behaves_as_those_of_pillow(file: Path) -> None:
    with Image.open(file) as image:
        assert image.draft("RGB", (10, 10)) is None
        with pytest.raises(EOFError):
            image.seek(1)
        assert (image.tell(), getattr(image, "n_frames", 1)) == (0, 1)
        image.thumbnail((10, 10))
    assert max(image.size) == 10 and image.getpixel((1, 1))
    for load_first in (False, True):
        image = Image.open(file)
        if load_first:
            image.load()
        image.close()
        for use in (image.load, image.copy, lambda image=image: pickle.dumps(image)):
            with pytest.raises(ValueError, match="closed image"):
                use()
    Image.open(file).verify()
    assert Image.open(file) == Image.open(file)


def test_one_image_loaded_from_several_threads(file: Path) -> None:
    image, found = Image.open(file), []
    threads = [threading.Thread(target=lambda: found.append(image.getpixel((9, 9)))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4 and len(set(found)) == 1


def everyone(kind: type) -> list[type]:
    return [kind, *(one for sub in kind.__subclasses__() for one in everyone(sub))]


@pytest.mark.parametrize("way", WAYS)
def test_errors_keep_message_and_code(way: str) -> None:
    for kind in everyone(errors.HflowError):
        error = kind("a.hfc: what is wrong")
        error.hint = "more"
        arrived = WAYS[way](error)
        assert type(arrived) is kind and str(arrived) == str(error)
        assert (arrived.exit_code, arrived.hint) == (error.exit_code, "more")


@pytest.mark.parametrize("way", WAYS)
def test_plain_data_arrive_equal(file: Path, way: str) -> None:
    about = parse(file.read_bytes())
    for one in (about, about.settings, about.sections[0], bundles.listing(), Settings(1, 2, about.settings.mask, 0)):
        assert WAYS[way](one) == one
    shown = spending(file.read_bytes(), device="cpu")
    assert np.array_equal(WAYS[way](shown).per_cell(), shown.per_cell())
    saved = salvage(file.read_bytes(), device="cpu")
    assert np.array_equal(WAYS[way](saved.found).y, saved.found.y)
    data = Files([file], device="cpu")
    assert WAYS[way](data).paths == data.paths


def opened(path: Path) -> Image.Image:
    return Image.open(path)


def decoded(path: Path) -> Image.Image:
    image = Image.open(path)
    image.load()
    return image


def failing(path: Path) -> None:
    hflow.decode(path.read_bytes()[:-1])


def test_through_a_fresh_process(file: Path) -> None:
    expected = np.asarray(Image.open(file))
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        for work in (opened, decoded):
            assert np.array_equal(np.asarray(pool.submit(work, file).result()), expected)
        assert np.array_equal(pool.submit(np.asarray, Image.open(file)).result(), expected)
        with pytest.raises(errors.FormatError, match=r"^truncated: 1 bytes missing$") as caught:
            pool.submit(failing, file).result()
    assert caught.value.exit_code == 4


@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_a_dataset_goes_to_workers(file: Path, start: str) -> None:
    files = Files([file, file], device="cpu")
    (batch,) = DataLoader(files, batch_size=2, num_workers=1, multiprocessing_context=start)
    assert np.array_equal(batch[1].numpy(), files[1].numpy())
