"""Labels and cards: the right size, the same bytes every time, names of the world, names of the hostile."""

from __future__ import annotations

import io

import pytest
from PIL import Image

from workers import fonts
from workers.cards import BACKGROUND, COLOURS, card_png, colour_of, label_png, waiting_png

NAMES = ["Ada Lovelace", "Ελένη Παπαδοπούλου", "Григорий Жуков", "Nguyễn Thị Ánh", "Łukasz Żółć", "x"]
HOSTILE = [
    "",
    "   ",
    "\x00\x07\n\t",
    "\u202eevil",
    "\u200b",
    "🙂🎉",
    "a" * 100_000,
    "\u0301\u0301",
    "‮‭",
    "\ud800",
    "%{pts}:'\\",
]


def opened(png: bytes) -> Image.Image:
    picture = Image.open(io.BytesIO(png))
    picture.load()
    return picture


def luminance(colour: tuple[int, int, int]) -> float:
    """Relative luminance as WCAG 2.2 defines it."""
    red, green, blue = ((v / 3294.6 if v <= 10 else ((v / 255 + 0.055) / 1.055) ** 2.4) for v in colour)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("name", NAMES)
def test_the_same_name_gives_the_same_bytes(name: str) -> None:
    assert label_png(name, 640, 360) == label_png(name, 640, 360)
    assert card_png(name, 640, 360) == card_png(name, 640, 360)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("tile", [(1280, 720), (416, 234), (238, 134), (302, 536), (110, 62)])
def test_a_label_fits_its_tile_and_can_be_seen(name: str, tile: tuple[int, int]) -> None:
    label = opened(label_png(name, *tile))
    assert label.mode == "RGBA"
    assert label.width <= tile[0]
    assert label.height <= tile[1] * 2 // 5
    assert label.width % 2 == label.height % 2 == 0
    low, high = label.convert("L").getextrema()
    assert isinstance(low, int)
    assert isinstance(high, int)
    assert low < 40  # the pill
    assert high > 200  # the letters


def test_a_label_is_clear_at_its_margins_and_dark_inside() -> None:
    label = opened(label_png("Ada", 1280, 720))
    alpha = label.getchannel("A")
    assert alpha.getpixel((0, label.height - 1)) == 0
    assert alpha.getpixel((label.width - 1, label.height - 1)) == 0
    assert alpha.crop((0, 0, 4, label.height)).getextrema() == (0, 0)
    assert alpha.getpixel((label.width // 2, 2)) == 168


def test_a_long_name_ends_in_an_ellipsis() -> None:
    face = fonts.Face(16, 500)
    shown = face.ellipsised("Wilhelmina Featherstonehaugh-Cholmondeley", 160)
    assert shown.endswith("…")
    assert shown.startswith("Wilhelmina")
    assert face.width(shown) <= 160
    assert face.ellipsised("Wilhelmina", 3) == ""


def test_labels_grow_with_their_tiles() -> None:
    heights = [opened(label_png("Ada", width, width * 9 // 16)).height for width in (240, 416, 640, 1280)]
    assert heights == sorted(set(heights))


@pytest.mark.parametrize("size", [(1280, 720), (416, 234), (134, 238), (110, 62), (16, 16), (2, 2)])
@pytest.mark.parametrize("name", ["Ada Lovelace", ""])
def test_a_card_has_exactly_the_size_asked(name: str, size: tuple[int, int]) -> None:
    card = opened(card_png(name, *size))
    assert (card.size, card.mode) == (size, "RGB")


def test_a_card_shows_a_circle_letters_and_a_name() -> None:
    with_name, nameless = opened(card_png("Ada Lovelace", 640, 360)), opened(card_png("", 640, 360))
    corner = with_name.getpixel((0, 0))
    assert with_name.getpixel((320, 110)) != corner  # the circle
    bright = with_name.convert("L").point(lambda v: 255 if v > 190 else 0)
    assert bright.crop((240, 60, 400, 230)).getbbox() is not None  # initials
    assert bright.crop((200, 240, 440, 300)).getbbox() is not None  # the name
    beneath = nameless.convert("L").point(lambda v: 255 if v > 190 else 0)
    assert beneath.crop((200, 260, 440, 360)).getbbox() is None


def test_different_people_look_different() -> None:
    assert len({card_png(name, 320, 180) for name in NAMES}) == len(NAMES)
    assert len({colour_of(f"Person {n}") for n in range(200)}) == len(COLOURS)
    assert colour_of("ada") == colour_of("ADA")


@pytest.mark.parametrize("colour", COLOURS)
def test_white_letters_can_be_read_on_every_colour(colour: tuple[int, int, int]) -> None:
    assert 1.05 / (luminance(colour) + 0.05) >= 4  # WCAG asks 3 of large letters; the upper half is drawn lighter


@pytest.mark.parametrize("name", HOSTILE)
def test_any_name_gives_pictures(name: str) -> None:
    label, card = opened(label_png(name, 416, 234)), opened(card_png(name, 416, 234))
    assert label.width <= 416
    assert card.size == (416, 234)


def test_what_cannot_be_seen_is_left_out() -> None:
    assert label_png("A\u200bda\u202e\x00  Lovelace\n", 640, 360) == label_png("A da Lovelace", 640, 360)
    assert label_png("   ", 640, 360) == label_png("", 640, 360)


def test_the_packaged_font_has_latin_greek_and_cyrillic() -> None:
    assert {fonts.font_of(char) for name in NAMES for char in name} == {""}


def test_letters_without_any_font_are_shown_as_boxes() -> None:
    assert fonts.Face(16, 500).width("\U00016b12") > 0


def test_the_waiting_card_stands_on_the_canvas_colour() -> None:
    card = opened(waiting_png(1280, 720))
    assert card.size == (1280, 720)
    assert card.getpixel((0, 0)) == tuple(bytes.fromhex(BACKGROUND.removeprefix("0x")))
    assert card.getpixel((640, 331)) != card.getpixel((0, 0))
    assert waiting_png(854, 480) == waiting_png(854, 480)
