"""The still picture below a slice's tracks: the background, and the cards of those who have no picture."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from PIL import Image, ImageOps

from . import cards


def canvas_png(
    tiles: list[dict[str, Any]],
    width_px: int,
    height_px: int,
    *,
    waiting: bool = True,
    background: str = "",
    backdrop: Path | None = None,
) -> bytes:
    """A picture of the whole canvas; `waiting`, nobody there is a card of its own. `background` is `rrggbb`, `backdrop`
    a PNG that `backdrop_png` has made."""
    if waiting and not tiles:
        return cards.waiting_png(width_px, height_px)
    canvas = Image.new("RGB", (width_px, height_px), "#" + (background or cards.BACKGROUND.removeprefix("0x")))
    if backdrop:
        with Image.open(backdrop) as picture:
            canvas.paste(picture)
    for tile in tiles:
        if "input" not in tile:
            card = Image.open(io.BytesIO(cards.card_png(tile["label"], tile["width"], tile["height"])))
            canvas.paste(card.convert("RGB"), (tile["x"], tile["y"]))
    file = io.BytesIO()
    canvas.save(file, "PNG", compress_level=1)  # read once, a moment later
    return file.getvalue()


def logo_png(data: bytes, width_px: int, height_px: int) -> bytes:
    """A logo in its size on the canvas. Raises `ValueError`, or worse: let it run apart."""
    return _png(_decoded(data).resize((width_px, height_px), Image.Resampling.LANCZOS))


def backdrop_png(data: bytes, width_px: int, height_px: int) -> bytes:
    """A background that covers the canvas, its middle in the middle; before the usual one where it is clear. Raises as
    `logo_png` does."""
    picture = _decoded(data)
    whole = Image.new("RGBA", picture.size, "#" + cards.BACKGROUND.removeprefix("0x"))
    whole.alpha_composite(picture)
    return _png(ImageOps.fit(whole.convert("RGB"), (width_px, height_px), Image.Resampling.LANCZOS))


def _decoded(data: bytes) -> Image.Image:
    try:
        with Image.open(io.BytesIO(data), formats=("PNG",)) as picture:
            return picture.convert("RGBA")
    except OSError as error:  # what Pillow says of what is no picture; to `apart` it would be the storage's
        raise ValueError(f"no PNG: {error}") from error


def _png(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def covers(tiles: list[dict[str, Any]], place: int) -> bool:
    """Is this tile a card that lies above a picture? Then the canvas below is not where it is seen."""
    card = tiles[place]
    return "input" not in card and any("input" in below and _overlap(card, below) for below in tiles[:place])


def _overlap(a: dict[str, Any], b: dict[str, Any]) -> bool:
    return all(a[at] < b[at] + b[size] and b[at] < a[at] + a[size] for at, size in (("x", "width"), ("y", "height")))
