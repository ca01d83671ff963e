"""The pictures of a window: one filter graph, one encoder.

Per slice a still canvas (background, cards) runs for exactly its number of pictures, and every track is laid over it
by timestamps: the canvas decides when there is a picture, so their number and their times are exact whatever the
sources do. Sources are moved half a picture ahead, so that the nearest one is shown and not the last one before.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ffmpeg

from callreel import glances

from . import canvas, cards
from . import ffmpeg as runner
from .codecs import video_options
from .containers import reading

Plan = dict[str, Any]

#: What browsers record may be full range, and in the colours of PAL; a film is what players expect of HD.
_COLOURS = {"out_range": "tv", "out_color_matrix": "bt709"}
#: Told of the pictures, for ffmpeg 9 does not listen to what its encoder is told: else headers of windows differ.
_TOLD = {"range": "tv", "color_primaries": "bt709", "color_trc": "bt709", "colorspace": "bt709"}


def render_pictures(
    plan: Plan, inputs: list[Path], folder: Path, *, threads: int, timeout_s: float, configured: str = ""
) -> Path:
    """Encode a window's pictures into a NUT file; returns its path. Raises `RenderFailed`."""
    draw_stills(plan, folder)
    target = folder / "pictures.nut"
    arguments = plan_pictures(plan, inputs, folder, target, threads)
    runner.run(arguments, timeout_s=timeout_s, configured=configured, cores=threads)
    return target


def draw_stills(plan: Plan, folder: Path) -> None:
    """Put the canvas of every slice and the labels where `film` reads them."""
    width_px, height_px = plan["profile"]["width_px"], plan["profile"]["height_px"]
    for number, piece in enumerate(plan["slices"]):
        still = canvas.canvas_png(
            piece["tiles"],
            width_px,
            height_px,
            waiting=piece.get("waiting", True),
            background=piece.get("background", ""),
            backdrop=backdrop_path(folder, piece["backdrop"]) if "backdrop" in piece else None,
        )
        (folder / f"canvas{number}.png").write_bytes(still)
        for place, tile in enumerate(piece["tiles"]):
            if canvas.covers(piece["tiles"], place):
                card = cards.card_png(tile["label"], tile["width"], tile["height"])
                _card_path(folder, number, place).write_bytes(card)
    for text, tile_width_px, tile_height_px in _labels(plan):
        path = _label_path(folder, plan, text, tile_width_px, tile_height_px)
        path.write_bytes(cards.label_png(text, tile_width_px, tile_height_px))


def plan_pictures(plan: Plan, inputs: list[Path], folder: Path, target: Path, threads: int) -> list[str]:
    """ffmpeg's arguments for a window. Pure."""
    whole, small = film(plan, inputs, folder, threads), None
    if numbers := glances.looked_at(plan):
        both = whole.filter_multi_output("split", 2)
        whole, small = both[0], _small(both[1], plan, numbers)
    output = ffmpeg.output(whole, runner.named(target), **video_options(plan, threads), f="nut")
    if small is not None:
        bare = {"c:v": "rawvideo", "pix_fmt": "rgb24", "fps_mode": "passthrough"}
        output = ffmpeg.merge_outputs(
            output, ffmpeg.output(small, runner.named(small_path(folder)), **bare, f="rawvideo")
        )
    # sizes that change in mid-stream must not tear the graph down: it would begin to count pictures anew
    output = output.global_args("-copyts", "-filter_complex_threads", str(threads))
    compiled: list[str] = ffmpeg.compile(output, cmd="ffmpeg")[1:]
    return compiled


def film(plan: Plan, inputs: list[Path], folder: Path, threads: int) -> Any:
    """The pictures of a window as a stream of ffmpeg-python. Pure."""
    fps = plan["profile"]["fps"]
    uses = Counter(tile["input"] for piece in plan["slices"] for tile in piece["tiles"] if "input" in tile)
    sources = {index: _source(inputs[index], plan["video"][index], uses[index], threads) for index in sorted(uses)}
    taken: Counter[int] = Counter()
    pieces = []
    for number, piece in enumerate(plan["slices"]):
        picture = (
            ffmpeg.input(runner.named(folder / f"canvas{number}.png"), f="image2", framerate=fps)
            .filter("scale", **_COLOURS)  # PNG is RGB; left alone it becomes full range
            .filter("format", "yuv420p")
            .filter("loop", loop=-1, size=1, start=0)
            .filter("setpts", f"N/({fps}*TB)")
            .filter("trim", end_frame=piece["pictures"])
            .filter("settb", "AVTB")  # overlay rounds times to the canvas's time base: not to whole pictures, please
        )
        for place, tile in enumerate(piece["tiles"]):  # each with its name, so that what lies above covers both
            if "input" in tile:
                index = tile["input"]
                source = sources[index][taken[index]]
                taken[index] += 1
                picture = _over(picture, _placed(source, tile, piece, fps), tile["x"], tile["y"])
                path = _label_path(folder, plan, tile["label"], tile["width"], tile["height"])
                label = ffmpeg.input(runner.named(path), f="image2", framerate=fps)
                picture = _over(picture, label, tile["x"], f"{tile['y']}+{tile['height']}-h")
            elif canvas.covers(piece["tiles"], place):
                card = ffmpeg.input(runner.named(_card_path(folder, number, place)), f="image2", framerate=fps)
                picture = _over(picture, card.filter("scale", **_COLOURS), tile["x"], tile["y"])
        if "logo" in piece:  # above everything
            logo = ffmpeg.input(runner.named(logo_path(folder, piece["logo"])), f="image2", framerate=fps)
            picture = _over(picture, logo, piece["logo"]["x"], piece["logo"]["y"])
        # overlay goes on for as long as anything below or above it does; the canvas alone says how long that is
        pieces.append(picture.filter("trim", end_frame=piece["pictures"]).filter("setsar", "1"))
    film = ffmpeg.concat(*pieces, v=1, a=0) if len(pieces) > 1 else pieces[0]
    # concat gives a slice of one picture no length, so times are counted anew behind it
    return film.filter("settb", f"1/{fps}").filter("setpts", "N").filter("setparams", **_TOLD)


def _small(film: Any, plan: Plan, numbers: Sequence[int]) -> Any:
    """These of a film's pictures, as large as thumbnails, in RGB."""
    width_px, height_px = glances.tile_px(plan["profile"]["width_px"], plan["profile"]["height_px"])
    return (
        film.filter("select", "+".join(f"eq(n,{number})" for number in numbers))
        # ffmpeg asks for what is due next, and would hold back the film's until then: so these are always due last
        .filter("setpts", "PTS+1e6/TB")
        .filter("scale", w=width_px, h=height_px, flags="area", in_range="tv", in_color_matrix="bt709")
        .filter("format", "rgb24")
    )


def _source(path: Path, item: dict[str, Any], uses: int, threads: int) -> list[Any]:
    """A track's decoder, its times in µs of media time, once for every slice that shows it."""
    stream = ffmpeg.input(
        runner.named(path),
        **reading(item["container"]),
        threads=threads,
        reinit_filter=0,
        an=None,
    )
    stream = stream.video.filter("settb", "AVTB")
    if uses == 1:
        return [stream]
    split = stream.filter_multi_output("split", uses)
    return [split[n] for n in range(uses)]


def _placed(source: Any, tile: dict[str, Any], piece: dict[str, Any], fps: int) -> Any:
    """One slice's stretch of a track, from the picture that its first one shows, scaled to its region."""
    zero_us = tile["baseUs"] + 1_000_000 // fps // 2
    # the first picture is shown from the slice's beginning on, be it some milliseconds early
    at = f"(PTS-({zero_us}))"
    if gain_ppm := tile.get("gainPpm", 0):  # the track's clock does not run as ours does
        at = f"{at}*{1 + gain_ppm / 1e6:.6f}"
    moved = f"if(eq(N,0),min(0,{at}),{at})"
    end_us = tile["baseUs"] + (piece["pictures"] + 1) * 1_000_000 // fps
    beside = f"0x{piece['background']}" if "background" in piece else cards.BACKGROUND
    scaled = (
        source.filter("trim", start_pts=tile["firstUs"], end_pts=end_us)
        .filter("setpts", moved)
        .filter(
            "scale",
            w=tile["width"],
            h=tile["height"],
            force_original_aspect_ratio="decrease",
            force_divisible_by=2,
            eval="frame",
            **_COLOURS,
        )
    )
    if "backdrop" in piece:  # what is beside the picture is clear
        scaled, beside = scaled.filter("format", "yuva420p"), "black@0"
    return scaled.filter(
        "pad", w=tile["width"], h=tile["height"], x="(ow-iw)/2", y="(oh-ih)/2", color=beside, eval="frame"
    )


def _over(below: Any, above: Any, x: int | str, y: int | str) -> Any:
    return ffmpeg.overlay(below, above, x=x, y=y, eof_action="repeat")


def _labels(plan: Plan) -> list[tuple[str, int, int]]:
    return sorted(
        {
            (tile["label"], tile["width"], tile["height"])
            for piece in plan["slices"]
            for tile in piece["tiles"]
            if "input" in tile
        }
    )


def small_path(folder: Path) -> Path:
    """Where a window's small pictures are put: bare, one behind the other."""
    return folder / "small.rgb"


def logo_path(folder: Path, logo: dict[str, Any]) -> Path:
    """Where a plan's logo is read, in its size."""
    return folder / f"logo-{logo['sha256']}-{logo['width']}x{logo['height']}.png"


def backdrop_path(folder: Path, digest: str) -> Path:
    """Where a plan's background is read, in the canvas's size."""
    return folder / f"backdrop-{digest}.png"


def _card_path(folder: Path, number: int, place: int) -> Path:
    return folder / f"card{number}-{place}.png"


def _label_path(folder: Path, plan: Plan, text: str, width_px: int, height_px: int) -> Path:
    return folder / f"label{_labels(plan).index((text, width_px, height_px))}.png"
