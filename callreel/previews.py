"""What is made to look at a film before it is played: thumbnails with their cues, waveforms, a timeline. Pure.

Thumbnails are key frames of the film's own windows, so nothing is rendered for them. Every window begins with one, and
no two are more than two seconds apart (`workers.codecs`), so that grid points at least that far apart never share one.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from .clock import US_PER_S, picture_us
from .glances import STEP_S, scaled_px, tile_px
from .manifest import Build, Film

#: No film has more thumbnails, be it a week long: without glances they take as many key frames, and so ten seconds.
MOST = 1000
COLUMNS, ROWS = 10, 10  #: of a sheet
_POSTER_PX = 640  #: longer side of the poster

POSTER, CUES = "thumbnails/poster.jpg", "thumbnails/sprite.vtt"
MIX = "waveforms/mix.json"
TIMELINE = "timeline.otio"


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """A file that will be made."""

    name: str
    kind: str
    mime_type: str

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, "kind": self.kind, "mimeType": self.mime_type}


@dataclass(frozen=True, slots=True, kw_only=True)
class Thumbnails:
    """Which pictures of a film are looked at. Thumbnail n is the last key frame at or before grid point n."""

    grid_us: tuple[int, ...]
    tile_px: tuple[int, int]  #: width, height
    poster_px: tuple[int, int]
    poster: int  #: the number of the thumbnail that stands for the film

    @property
    def sheets(self) -> int:
        return -(-len(self.grid_us) // (COLUMNS * ROWS))

    def place(self, number: int) -> tuple[int, int, int]:
        """Sheet of a thumbnail, and its left upper corner there in px."""
        sheet, inside = divmod(number, COLUMNS * ROWS)
        row, column = divmod(inside, COLUMNS)
        return sheet, column * self.tile_px[0], row * self.tile_px[1]

    def sheet_px(self, sheet: int) -> tuple[int, int]:
        """Width and height of a sheet: the last one is no larger than what is on it."""
        count = min(COLUMNS * ROWS, len(self.grid_us) - sheet * COLUMNS * ROWS)
        return min(count, COLUMNS) * self.tile_px[0], -(-count // COLUMNS) * self.tile_px[1]


def sheet_name(sheet: int) -> str:
    return f"thumbnails/sprite-{sheet:03d}.jpg"


def seen(build: Build) -> Film | None:
    """The film whose pictures are looked at: the first that shows everybody."""
    return next((f for f in build.films if f.windows and f.profile.has_pictures and "trackId" not in f.output), None)


def heard(build: Build) -> Film | None:
    """The film whose sound is the mix."""
    return next((f for f in build.films if f.windows and f.profile.has_sound and "trackId" not in f.output), None)


def plan_thumbnails(film: Film) -> Thumbnails:
    """The thumbnails of a film that has windows."""
    step_us = STEP_S * US_PER_S  # doubled until there are few enough
    while -(-film.duration_us // step_us) > MOST:
        step_us *= 2
    grid_us = tuple(range(0, film.duration_us, step_us))
    size_px = film.profile.width_px, film.profile.height_px
    return Thumbnails(
        grid_us=grid_us,
        tile_px=tile_px(*size_px),
        poster_px=scaled_px(*size_px, _POSTER_PX),
        poster=_poster(film, grid_us),
    )


def _poster(film: Film, grid_us: Sequence[int]) -> int:
    """The middle one of those that show the most people's pictures: everybody is there, and nobody has just come."""
    starts_us: list[int] = []
    shown: list[int] = []
    for window in film.windows:
        first = window.seen["firstPicture"]
        for piece in window.seen["slices"]:
            starts_us.append(picture_us(first, film.profile.fps))
            shown.append(sum("input" in tile for tile in piece["tiles"]))
            first += piece["pictures"]
    counts = [shown[bisect_right(starts_us, at_us) - 1] for at_us in grid_us]
    best = [number for number, count in enumerate(counts) if count == max(counts)]
    return best[len(best) // 2]


def plan_previews(build: Build) -> list[Preview]:
    """All files of a film's previews, so that they can be announced before they are made."""
    found = []
    if film := seen(build):
        sheets = [sheet_name(sheet) for sheet in range(plan_thumbnails(film).sheets)]
        found += [Preview(name=name, kind="thumbnails", mime_type="image/jpeg") for name in (POSTER, *sheets)]
        found.append(Preview(name=CUES, kind="thumbnails", mime_type="text/vtt"))
    waves = [MIX] if heard(build) else []
    waves += [wave_name(participant_id, track_id) for participant_id, track_id in sounding(build)]
    found += [Preview(name=name, kind="waveform", mime_type="application/json") for name in waves]
    found.append(Preview(name=TIMELINE, kind="timeline", mime_type="application/json"))
    return found


def wave_name(participant_id: str, track_id: str) -> str:
    return f"waveforms/{participant_id}/{track_id}.json"


def sounding(build: Build) -> list[tuple[str, str]]:
    """(participant, track) of the tracks that are heard, in the timeline's order."""
    clips = (clip for clip in build.timeline.clips if clip.kind == "audio")
    return list(dict.fromkeys((clip.participant_id, clip.track_id) for clip in clips))


def webvtt(thumbnails: Thumbnails, shown_us: Sequence[int], duration_us: int) -> str:
    """The cues of a film's thumbnails, whose pictures are from `shown_us`: without holes, each from its own picture on.

    WebVTT (W3C), whose payload is an image's address with the region of Media Fragments URI 1.0, 4.2.2.
    """
    width_px, height_px = thumbnails.tile_px
    ends_us = [*shown_us[1:], duration_us]
    cues = ["WEBVTT"]
    for number, (from_us, to_us) in enumerate(zip(shown_us, ends_us, strict=True)):
        if from_us < to_us:
            sheet, x, y = thumbnails.place(number)
            image = sheet_name(sheet).rpartition("/")[2]
            cues.append(f"{_stamp(from_us)} --> {_stamp(to_us)}\n{image}#xywh={x},{y},{width_px},{height_px}")
    return "\n\n".join(cues) + "\n"


def _stamp(at_us: int) -> str:
    seconds, ms = divmod((at_us + 500) // 1000, 1000)
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}.{ms:03d}"


def with_queries(cues: str, query_of: Callable[[str], str]) -> str:
    """The cues with a query in every address, so that a player that sends no header may read the images.

    `query_of` is asked once for each image, by its name among the recording's files.
    """
    known: dict[str, str] = {}
    lines = cues.split("\n")
    for number, line in enumerate(lines):
        image, mark, region = line.partition("#xywh=")
        if mark:
            name = f"thumbnails/{image}"
            if name not in known:
                known[name] = query_of(name)
            lines[number] = f"{image}?{known[name]}{mark}{region}"
    return "\n".join(lines)
