"""Draw what layouts look like, for the docs, with the layouts themselves: `python -m tests.kit.layout_pictures`."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

from callreel import logos
from callreel.layouts import check_layout, layout_of
from callreel.tiling import Region, Tile
from workers.canvas import logo_png
from workers.cards import card_png, colour_of, label_png

FOLDER = Path(__file__).parents[2] / "docs" / "layouts"

#: Name, shape of the camera (none: it is off), place among those who spoke.
_PEOPLE = (("Ada", (16, 9), 1), ("Björn", (16, 9), 0), ("Chen", None, 2), ("Dana", (3, 4), 3), ("Emeka", (16, 9), 4))
CUSTOM: dict[str, Any] = {
    "regions": [
        {"name": "stage", "x": 2, "y": 4, "width": 68, "height": 92, "source": {"source": "screen"}},
        {"name": "host", "x": 72, "y": 4, "width": 26, "height": 30, "source": {"participantId": "Ada"}},
        {"name": "voice", "x": 72, "y": 36, "width": 26, "height": 30, "source": {"speaker": 1}},
        {"name": "inset", "x": 55, "y": 72, "width": 20, "height": 20, "source": {"speaker": 2}},
    ]
}


def _mark() -> dict[str, Any]:
    """A ring, half transparent, as a logo."""
    large = Image.new("RGBA", (400, 400))
    ImageDraw.Draw(large).ellipse((24, 24, 376, 376), outline=(255, 196, 64, 230), width=72)
    file = io.BytesIO()
    large.resize((100, 100), Image.Resampling.LANCZOS).save(file, "PNG")
    image = "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
    return {"image": image, "corner": "bottom-right", "width": 8}


#: file → layout, whether a screen is shared, canvas
PICTURES: dict[str, tuple[str | dict[str, Any], bool, tuple[int, int]]] = {
    "grid": ("grid", False, (640, 360)),
    "speaker": ("speaker", False, (640, 360)),
    "speaker-portrait": ("speaker", False, (270, 480)),
    "single-speaker": ("single-speaker", False, (640, 360)),
    "side-by-side": ("side-by-side", False, (640, 360)),
    "pip": ("pip", False, (640, 360)),
    "screen": ("screen", True, (640, 360)),
    "screen-portrait": ("screen", True, (270, 480)),
    "audio-only": ("audio-only", False, (640, 360)),
    "custom": (CUSTOM, True, (640, 360)),
    "grid-dressed": ({"name": "grid", "background": "#203850", "logo": _mark()}, False, (640, 360)),
}


def draw(name: str) -> Image.Image:
    asked, shared, canvas_px = PICTURES[name]
    layout = layout_of(check_layout(asked))
    picture = Image.new("RGB", canvas_px, f"#{layout.background or '101319'}")
    for region in layout.place(_tiles(shared), *canvas_px):
        size, at = (region.width_px, region.height_px), (region.x_px, region.y_px)
        if not region.track_id:
            picture.paste(Image.open(io.BytesIO(card_png(region.label, *size))), at)
            continue
        picture.paste(_screen(size) if region.track_id == "screen" else _camera(region), at)
        label = Image.open(io.BytesIO(label_png(region.label, *size)))
        picture.paste(label, (at[0], at[1] + size[1] - label.height), label)
    if layout.logo and not isinstance(asked, str):
        where = layout.logo.placed(*canvas_px)
        scaled = logo_png(logos.picture_of(asked["logo"]), where["width"], where["height"])
        logo = Image.open(io.BytesIO(scaled))
        picture.paste(logo, (where["x"], where["y"]), logo)
    return picture


def _tiles(shared: bool) -> list[Tile]:
    found = []
    for name, shape, rank in _PEOPLE:
        width, height = shape or (16, 9)
        track_id = "camera" if shape else ""
        found.append(
            Tile(participant_id=name, track_id=track_id, label=name, width_px=width, height_px=height, rank=rank)
        )
    if shared:
        name = _PEOPLE[1][0]
        found.append(
            Tile(participant_id=name, track_id="screen", label=name, width_px=16, height_px=10, source="screen")
        )
    return found


def _camera(region: Region) -> Image.Image:
    """Somebody before a wall of their own colour."""
    width, height = region.width_px, region.height_px
    red, green, blue = colour_of(region.label)
    large = Image.new("RGB", (width * 2, height * 2), (red // 2 + 20, green // 2 + 20, blue // 2 + 20))
    pen, unit = ImageDraw.Draw(large), min(width, height) * 2
    middle = (width, height * 2)
    pen.ellipse((middle[0] - unit * 0.36, middle[1] - unit * 0.38, middle[0] + unit * 0.36, middle[1] + unit * 0.34),
                fill=(red, green, blue))  # fmt: skip
    pen.ellipse((middle[0] - unit * 0.16, middle[1] - unit * 0.76, middle[0] + unit * 0.16, middle[1] - unit * 0.40),
                fill=(232, 200, 176))  # fmt: skip
    return large.resize((width, height), Image.Resampling.LANCZOS)


def _screen(size: tuple[int, int]) -> Image.Image:
    """A page with lines."""
    picture = Image.new("RGB", size, (240, 242, 246))
    pen, (width, height) = ImageDraw.Draw(picture), size
    pen.rectangle((0, 0, width, height * 0.08), fill=(206, 212, 222))
    for row, share in enumerate((0.5, 0.84, 0.8, 0.86, 0.6, 0.82, 0.4)):
        top = height * (0.16 + row * 0.1)
        pen.rectangle((width * 0.07, top, width * (0.07 + share), top + height * 0.035),
                      fill=(96, 112, 140) if row == 0 else (186, 194, 206))  # fmt: skip
    return picture


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name in PICTURES:
        draw(name).quantize(64).save(FOLDER / f"{name}.png", optimize=True)
