"""Pictures that Callreel draws itself: names on tiles, cards for who has no camera, the card before anybody comes.

The same arguments give the same bytes. Keys of windows hold the text and a version, never pixels: whoever changes
how something looks raises `CARD_VERSION` in `callreel.windows`, and every window that shows it is rendered anew.
"""

from __future__ import annotations

import hashlib
import io
import unicodedata
from collections.abc import Callable

from PIL import Image, ImageDraw

from . import fonts

#: Colour of the canvas wherever no picture is, as ffmpeg writes colours.
BACKGROUND = "0x101319"

Colour = tuple[int, int, int]
_Box = tuple[int, int, int, int]

_CANVAS: Colour = (16, 19, 25)
_CARD: Colour = (28, 32, 41)
_PILL: Colour = (10, 12, 16)
_PILL_ALPHA = 168  #: of 255: white letters stay readable on a white wall, and the picture behind can still be seen
_WHITE: Colour = (255, 255, 255)
_NAME: Colour = (226, 230, 238)
_QUIET: Colour = (122, 130, 145)

#: Circles of cards: muted, easily told apart, dark enough for white letters (a test measures the contrast).
COLOURS: tuple[Colour, ...] = (
    (59, 110, 196), (112, 88, 200), (154, 76, 178), (190, 70, 128), (196, 72, 84), (180, 84, 44),
    (142, 106, 30), (80, 122, 46), (34, 124, 88), (24, 120, 126), (40, 114, 162), (96, 104, 128),
)  # fmt: skip

_OVERSAMPLED = 4  #: round shapes are drawn so many times larger and scaled down, for Pillow's own have stairs
_LONGEST = 120  #: characters of a name looked at; measuring costs time and no tile shows more


def label_png(text: str, tile_width_px: int, tile_height_px: int) -> bytes:
    """A name in a dark pill (RGBA), never larger than the tile.

    Its margin is part of it: its lower left corner belongs exactly onto the tile's lower left corner.
    """
    # Grows slower than the tile: 11 px on a twenty-fifth of 720p, 24 px on all of it. A tall tile counts by its width.
    size = round(8 + min(tile_height_px, tile_width_px * 3 // 4) * 0.0225)
    margin, pad_x, pad_y = round(size * 0.55), round(size * 0.65), round(size * 0.30)
    face = fonts.Face(size, 500)
    shown = face.ellipsised(_clean(text), tile_width_px - 2 * (margin + pad_x))
    pill = (_even(face.width(shown) + 2 * pad_x), _even(size * 1.2 + 2 * pad_y))
    width, height = _even(margin + pill[0]), _even(pill[1] + margin)
    if not shown or width > tile_width_px or height > tile_height_px:
        return _encoded(Image.new("RGBA", (2, 2)))
    alpha = Image.new("L", (width, height))
    alpha.paste(_shape(pill, lambda draw, box: draw.rounded_rectangle(box, box[3] / 2, fill=_PILL_ALPHA)), (margin, 0))
    picture = Image.new("RGBA", (width, height), _PILL)
    picture.putalpha(alpha)
    letters = Image.new("L", (width, height))
    face.draw(ImageDraw.Draw(letters), (margin + (pill[0] - face.width(shown)) / 2, pill[1] / 2), shown, 255)
    white = Image.new("RGBA", (width, height), _WHITE)
    white.putalpha(letters)
    return _encoded(Image.alpha_composite(picture, white))


def card_png(name: str, width_px: int, height_px: int) -> bytes:
    """Who has no picture: initials in a circle of the name's own colour, the name beneath. Needs no label."""
    name = _clean(name)
    colour = colour_of(name)
    picture = Image.new("RGB", (width_px, height_px), _mixed(_CARD, colour, 0.10))
    draw = ImageDraw.Draw(picture)
    short = min(height_px, width_px)
    size = round(8 + short * 0.034)
    diameter = _even(short * 0.38)
    named = bool(name) and short >= 64  # below that a name is a smear, the circle alone says more
    gap = round(short * 0.06)
    top = round((height_px - diameter - (gap + size if named else 0)) / 2)  # both in the middle
    disc = _shape((diameter, diameter), lambda draw, box: draw.ellipse(box, fill=255))
    shades = Image.linear_gradient("L").resize((diameter, diameter))
    lit, shaded = _mixed(colour, _WHITE, 0.10), _mixed(colour, (0, 0, 0), 0.12)
    filling = Image.composite(_plain(shaded, diameter), _plain(lit, diameter), shades)
    picture.paste(filling, ((width_px - diameter) // 2, top), disc)
    _write(draw, _initials(name), fonts.Face(round(diameter * 0.36), 600), width_px, top + diameter / 2, _WHITE)
    if named:
        _write(draw, name, fonts.Face(size, 500), width_px, top + diameter + gap + size / 2, _NAME)
    return _encoded(picture)


def waiting_png(width_px: int, height_px: int) -> bytes:
    """Nobody is there: three quiet rings and one line."""
    picture = Image.new("RGB", (width_px, height_px), _CANVAS)
    short = min(width_px, height_px)
    middle = round(height_px * 0.46)
    for share, strength in ((0.26, 0.10), (0.17, 0.22), (0.08, 0.60)):
        diameter = _even(short * share)
        disc = _shape((diameter, diameter), lambda draw, box: draw.ellipse(box, fill=255))
        picture.paste(_mixed(_CANVAS, COLOURS[0], strength), ((width_px - diameter) // 2, middle - diameter // 2), disc)
    if short >= 120:
        face = fonts.Face(round(8 + short * 0.02), 500)
        _write(ImageDraw.Draw(picture), "Waiting for participants", face, width_px, middle + short * 0.20, _QUIET)
    return _encoded(picture)


def colour_of(name: str) -> Colour:
    """Always the same for the same name, however it is written large or small."""
    return COLOURS[hashlib.sha256(name.casefold().encode()).digest()[0] % len(COLOURS)]


def _clean(text: str) -> str:
    """One line without what cannot be seen: control and format characters, and signs that no font here has.

    Letters without a glyph stay and are shown as boxes: a name of nothing would be worse. Names come from anybody.
    """
    text = unicodedata.normalize("NFC", text[:_LONGEST])
    visible = "".join(" " if unicodedata.category(char)[0] in "CZ" else char for char in text)
    kept = (char for char in visible if unicodedata.category(char)[0] in "LNM" or fonts.has_glyph(char))
    return " ".join("".join(kept).split())


def _initials(name: str) -> str:
    """First letters of the first and the last word: "Ada Lovelace" → AL. A dot where there are none, or no glyphs."""
    firsts = [next((char for char in word if char.isalnum() and fonts.has_glyph(char)), "") for word in name.split()]
    letters = [unicodedata.normalize("NFC", char.upper())[:1] for char in firsts if char]
    return letters[0] + (letters[-1] if len(letters) > 1 else "") if letters else "•"


def _write(draw: ImageDraw.ImageDraw, text: str, face: fonts.Face, width_px: int, y: float, fill: Colour) -> None:
    """One line in the middle of the width, ellipsised where it is too long."""
    shown = face.ellipsised(text, round(width_px * 0.86))
    face.draw(draw, ((width_px - face.width(shown)) / 2, y), shown, fill)


def _shape(size: tuple[int, int], paint: Callable[[ImageDraw.ImageDraw, _Box], None]) -> Image.Image:
    """A mask with smooth edges."""
    large = Image.new("L", (size[0] * _OVERSAMPLED, size[1] * _OVERSAMPLED))
    paint(ImageDraw.Draw(large), (0, 0, large.width - 1, large.height - 1))
    return large.resize(size, Image.Resampling.LANCZOS)


def _plain(colour: Colour, side: int) -> Image.Image:
    return Image.new("RGB", (side, side), colour)


def _mixed(a: Colour, b: Colour, share: float) -> Colour:
    red, green, blue = (round(x + (y - x) * share) for x, y in zip(a, b, strict=True))
    return red, green, blue


def _even(value: float) -> int:
    return max(2, int(value + 1.999) // 2 * 2)


def _encoded(picture: Image.Image) -> bytes:
    body = io.BytesIO()
    picture.save(body, "PNG")
    return body.getvalue()
