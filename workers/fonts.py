"""Letters: one packaged font for most names of the world, the machine's own fonts where it has no glyph.

The packaged one (Inter: Latin, Greek, Cyrillic) is laid out by FreeType alone, so that every machine draws the same
pixels. What it lacks is drawn by the first font of the machine that has it, else as that font's box.
"""

from __future__ import annotations

import functools
import os
import unicodedata
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

from PIL import ImageDraw, ImageFont

#: Where systems keep fonts, and which of them are looked at: plain ones of wide coverage, in order of preference.
_FOLDERS = ("/usr/share/fonts", "/usr/local/share/fonts", "/Library/Fonts", "/System/Library/Fonts")
_FALLBACKS = ("NotoSansCJK-Regular.*", "NotoSans*-Regular.*", "DejaVuSans.ttf", "Arial Unicode*", "*.tt[fc]", "*.otf")
_TRIED = 200  #: a machine with thousands of fonts must not stop a render

_Font = ImageFont.FreeTypeFont


class Face:
    """The fonts of one size and weight; measures and draws one line of text."""

    def __init__(self, size_px: int, weight: int) -> None:
        self.size_px, self.weight = size_px, weight

    def width(self, text: str) -> float:
        return sum(font.getlength(run) for font, run in self._runs(text))

    def ellipsised(self, text: str, room_px: int) -> str:
        """The text, or as much of its beginning as fits with an ellipsis. Empty where not even that fits."""
        if self.width(text) <= room_px:
            return text
        for end in range(len(text) - 1, 0, -1):
            if not unicodedata.combining(text[end]):
                shorter = text[:end].rstrip() + "…"
                if self.width(shorter) <= room_px:
                    return shorter
        return ""

    def draw(
        self, draw: ImageDraw.ImageDraw, at: tuple[float, float], text: str, fill: int | tuple[int, int, int]
    ) -> None:
        """One line from `at`, whose second number is the middle of capitals, whatever letters the text has."""
        x, y = at
        baseline = y + self.size_px * 0.364  # half of Inter's cap height, 0.727 em
        for font, run in self._runs(text):
            draw.text((x, baseline), run, fill=fill, font=font, anchor="ls")
            x += font.getlength(run)

    def _runs(self, text: str) -> Iterator[tuple[_Font, str]]:
        """The text in pieces of one font each. Spaces and marks stay with what they follow."""
        run, last = "", None
        for char in text:
            path = last if last is not None and (char == " " or unicodedata.combining(char)) else font_of(char)
            if path != last and run:
                yield _open(last or "", self.size_px, self.weight), run
                run = ""
            run, last = run + char, path
        if run:
            yield _open(last or "", self.size_px, self.weight), run


@functools.lru_cache(maxsize=4096)
def font_of(char: str) -> str:
    """Path of the font that draws a character; "" is the packaged one, which also draws what nobody has."""
    if char.isascii() or _has("", char):
        return ""
    return next((path for path in _fallbacks() if _has(path, char)), "")


def has_glyph(char: str) -> bool:
    """Somebody can draw it."""
    return char.isascii() or font_of(char) != "" or _has("", char)


def _has(path: str, char: str) -> bool:
    """The font's glyph is another than that of U+FFFF, which is no character and therefore its box."""
    try:
        font = _open(path, 32, 400)
        return bytes(font.getmask(char)) != bytes(font.getmask("\uffff"))
    except OSError:  # a bitmap font, or one that FreeType cannot read
        return False


@functools.lru_cache(maxsize=1)
def _fallbacks() -> tuple[str, ...]:
    home = Path(os.path.expanduser("~"))
    folders = [Path(folder) for folder in _FOLDERS] + [home / ".fonts", home / ".local/share/fonts"]
    found: dict[str, None] = {}
    for pattern in _FALLBACKS:
        for folder in folders:
            upright = (path for path in sorted(folder.rglob(pattern)) if "Italic" not in path.name)
            found.update(dict.fromkeys(map(str, upright)))
    return tuple(found)[:_TRIED]


@functools.lru_cache(maxsize=256)
def _open(path: str, size_px: int, weight: int) -> _Font:
    if path:  # laid out by the shaping engine where there is one, for scripts that join their letters
        return ImageFont.truetype(path, size_px)
    packaged = files("fontpkg_inter") / "files" / "Inter[opsz,wght].ttf"
    font = ImageFont.truetype(str(packaged), size_px, layout_engine=ImageFont.Layout.BASIC)
    font.set_variation_by_axes([min(32, max(14, size_px)), weight])  # optical size, weight
    return font
