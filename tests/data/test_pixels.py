"""One reading of a picture: the pixels of training are those of `datasets`, of a pipeline and of its processor."""

import io
import struct
import warnings
import zlib

import datasets
import numpy as np
import pytest
import torch
from made_images import encoded, made
from PIL import Image
from transformers import pipeline

from cnas.data import ChannelStatistics
from cnas.data._image_table import pixels
from cnas.errors import UserError
from cnas.hub.model_folder import save_network
from cnas.spaces import NatsSpace
from cnas.spaces.nats.modeling import CnasNatsImageProcessor

ROWS, COLUMNS = 6, 9
NOISE = made(1, (3, ROWS, COLUMNS)).images[0].permute(1, 2, 0).numpy()
ORIENTATION = 0x0112
UPRIGHT = {
    1: lambda stored: stored,
    2: lambda stored: stored[:, ::-1],
    3: lambda stored: stored[::-1, ::-1],
    4: lambda stored: stored[::-1],
    5: lambda stored: stored.swapaxes(0, 1),
    6: lambda stored: stored.swapaxes(0, 1)[:, ::-1],
    7: lambda stored: stored.swapaxes(0, 1)[::-1, ::-1],
    8: lambda stored: stored.swapaxes(0, 1)[::-1],
}
"""Where TIFF 6.0 (Orientation) puts the stored first row and first column: 6 is 'right, top', and so on."""


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(columns, rows, bits, lines):
    """A coloured PNG, whatever its head says of its size."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", columns, rows, bits, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")


def png16():
    """16 bits a channel, of which readers take the upper 8."""
    return png(COLUMNS, ROWS, 16, b"".join(b"\0" + np.stack([row, 255 - row], axis=-1).tobytes() for row in NOISE))


def file_of(image, kind, **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def animation():
    frames = [Image.fromarray(255 * np.eye(ROWS, COLUMNS, turn, dtype=np.uint8)) for turn in (0, 3)]
    return file_of(frames[0].convert("RGB"), "GIF", save_all=True, append_images=[frames[1].convert("RGB")])


COLOUR, GREY = Image.fromarray(NOISE), Image.fromarray(NOISE[..., 0].copy())
PICTURES = {
    "JPEG": (COLOUR, "JPEG"),
    "grey JPEG": (GREY, "JPEG"),
    "PNG": (COLOUR, "PNG"),
    "grey PNG": (GREY, "PNG"),
    "palette": (COLOUR.quantize(16), "PNG"),
    "grey palette": (GREY.convert("P"), "PNG"),
    "black and white": (GREY.convert("1"), "PNG"),
    "WebP": (COLOUR, "WEBP"),
    "TIFF": (COLOUR, "TIFF"),
}
OTHERS = {"16 bits": png16(), "GIF": file_of(GREY, "GIF"), "BMP": file_of(COLOUR, "BMP"), "animated": animation()}


def turned(name, orientation):
    """The bytes of a picture whose file says how it is to be turned."""
    image, kind = PICTURES[name]
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    return file_of(image, kind, exif=exif, **({"lossless": True} if kind == "WEBP" else {}))


CASES = {f"{name}, {turn}": turned(name, turn) for name in PICTURES for turn in UPRIGHT} | OTHERS


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("name", PICTURES)
def test_pictures_are_turned_as_their_files_say(name, orientation):
    stored = pixels(turned(name, 1), "x").permute(1, 2, 0).numpy()
    assert stored.shape[:2] == (ROWS, COLUMNS)
    found = pixels(turned(name, orientation), "x").permute(1, 2, 0).numpy()
    assert np.array_equal(found, UPRIGHT[orientation](stored))


def test_stored_pixels_without_an_orientation_are_what_was_written():
    assert np.array_equal(pixels(encoded(COLOUR), "x").permute(1, 2, 0).numpy(), NOISE)
    assert np.array_equal(pixels(OTHERS["16 bits"], "x").permute(1, 2, 0).numpy(), NOISE)
    assert torch.equal(pixels(OTHERS["animated"], "x")[0] > 127, torch.eye(ROWS, COLUMNS, dtype=torch.bool))


@pytest.mark.parametrize("name", CASES)
def test_datasets_decodes_the_same_pixels(name):
    found = pixels(CASES[name], "x")
    decoded = datasets.Image().decode_example({"bytes": CASES[name], "path": None})
    mode = "L" if len(found) == 1 else "RGB"
    assert torch.equal(
        found, torch.from_numpy(np.array(decoded.convert(mode)).reshape(*found.shape[1:], -1)).movedim(-1, 0)
    )


@pytest.fixture(scope="module")
def classifiers(tmp_path_factory):
    """By the number of channels, what a user loads, and the statistics with which it was trained."""
    found = {}
    for channels in (1, 3):
        statistics = ChannelStatistics((0.4, 0.5, 0.6)[:channels], (0.2, 0.3, 0.4)[:channels])
        space = NatsSpace(channels=2, cells=1, classes=2, image_channels=channels)
        network = space.build_network(space.parse("|skip_connect~0|+|none~0|none~1|+|none~0|none~1|skip_connect~2|"))
        size = {"height": ROWS, "width": COLUMNS}
        processor = CnasNatsImageProcessor(image_mean=statistics.mean, image_std=statistics.std, size=size)
        folder = save_network(network, processor, tmp_path_factory.mktemp("model") / "model")
        with warnings.catch_warnings(action="ignore"):
            found[channels] = pipeline("image-classification", str(folder)), statistics
    return found


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # a pipeline leaves a GIF open
@pytest.mark.parametrize("name", CASES)
def test_a_pipeline_and_its_processor_see_the_pixels_of_training(name, classifiers, tmp_path, monkeypatch):
    file = tmp_path / "picture"
    file.write_bytes(CASES[name])
    found = pixels(CASES[name], "x")
    classify, statistics = classifiers[len(found)]
    expected = statistics.normalised(found[None])
    # Nothing is resized, so that every pixel is compared.
    monkeypatch.setattr(classify.image_processor, "size", dict(zip(("height", "width"), found.shape[1:], strict=True)))
    with Image.open(file) as opened:
        processed = classify.image_processor(opened, return_tensors="pt")
    for seen in (classify.preprocess(str(file)), processed):
        torch.testing.assert_close(seen["pixel_values"], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "it has 0 bytes"),
        (b"GIF89a", "6 bytes of no known format"),
        (b"\0" * 1000, "1,000 bytes of no known format"),
        (OTHERS["16 bits"][:80], "what it holds is broken or cut off"),
        (encoded(COLOUR)[:-30], "what it holds is broken or cut off"),
        (png(5000, 5000, 8, b""), "5000x5000 pixels are more than 16,777,216"),
        (png(14_000, 14_000, 8, b""), "it has more than 16,777,216 pixels"),
    ],
)
def test_what_is_no_image_is_refused_in_our_own_words(content, reason):
    with pytest.raises(UserError) as caught:
        pixels(content, "train/cat/x.png")
    assert str(caught.value) == f"train/cat/x.png is no readable image: {reason}"


@pytest.mark.parametrize(
    "tag", [b"Exif\0\0MM\0*\0\0\0\x08\0", b"Exif\0\0", b"Exif\0\0II*\0\xff\xff\xff\xff", b"nothing"]
)
def test_exif_that_is_broken_turns_nothing(tag):
    data = file_of(COLOUR, "JPEG", exif=tag)
    with warnings.catch_warnings(action="ignore"):
        expected = np.asarray(datasets.Image().decode_example({"bytes": data, "path": None}))
    assert np.array_equal(pixels(data, "x").permute(1, 2, 0).numpy(), expected)
