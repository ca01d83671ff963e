"""Who is seen when: the timeline cut into slices of whole pictures in which nothing about the layout changes. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from .clock import picture_at
from .layouts import Layout
from .levels import STEP_US
from .logos import Logo
from .model import Participant, Source
from .profiles import Profile
from .scans import Scans
from .speakers import Turn, ranks
from .tiling import Region, Tile
from .timeline import Clip, Timeline

#: A last picture is held this long before the card takes its place: holes shorter than that are not seen at all.
_HOLD_S = 1
#: Who comes this soon after the start is shown from the first picture on: browsers need that long to begin, and a film
#: must not open with an empty canvas, nor with people popping up one by one.
_OPENING_S = 0.2
#: Who is there this shortly before the end is shown to the last picture: recorders end one after another, a browser
#: under load loses what it had not encoded, and a film must not end with one person jumping over the whole canvas.
_CLOSING_S = 0.5
#: Who was recorded again this soon after a pause is shown without a break: browsers hear of it by the network, and then
#: begin like at the start.
_RESUME_S = 0.5
#: Microphone and camera of one person begin some milliseconds apart; nobody shall see a card flash up between.
_SETTLE_S = 0.1
#: A new speaker is shown when the step by which it was decided is over, and what measuring reads behind it: so that
#: nothing that lies behind a window decides what it shows.
_TURN_US = 2 * STEP_US


@dataclass(frozen=True, slots=True)
class Placed:
    """A region and the index of the clip shown in it; None shows the card."""

    region: Region
    clip: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """The pictures [first, end) of the film."""

    first: int
    end: int
    tiles: tuple[Placed, ...]
    waiting: bool = False  #: nobody is there
    logo: Logo | None = None
    background: str = ""  #: `rrggbb`, where it is not the usual one
    backdrop: str = ""  #: a picture instead, by its digest


_Interval = tuple[int, int]
_Show = tuple[int, int, int]  #: pictures [from, to) and the clip they come from
_Seen = tuple[str, str, int | None]  #: participant, track ("" for the card), clip


def cut_slices(
    timeline: Timeline,
    scans: Scans,
    profile: Profile,
    layouts: Sequence[tuple[int, Layout]],
    count: int,
    turns: Sequence[Turn] = (),
) -> list[Slice]:
    """Slices that cover the pictures [0, count) without a hole.

    `layouts` are in order, each with its first picture, the first one with 0. `turns` matter where one looks at
    speakers.
    """
    fps = profile.fps
    seen: list[tuple[int, int, _Seen]] = []
    for participant in timeline.participants:
        seen += _seen(timeline, participant, fps, count)
    order = tuple(participant.participant_id for participant in timeline.participants)
    by_speaker = any(layout.by_speaker for _, layout in layouts)
    speaking = deque((picture_at(at_us + _TURN_US, fps), then) for at_us, then in ranks(order, turns) if by_speaker)
    borders = {n for a, b, _ in seen for n in (a, b)} | {n for n, _ in speaking} | {n for n, _ in layouts}
    cuts = sorted({0, count} | {n for n in borders if 0 < n < count})
    found: list[Slice] = []
    known: dict[tuple[int, tuple[_Seen, ...], tuple[str, ...]], tuple[Placed, ...]] = {}
    arranged = 0
    for a, b in pairwise(cuts):
        while speaking and speaking[0][0] <= a:
            _, order = speaking.popleft()
        while arranged + 1 < len(layouts) and layouts[arranged + 1][0] <= a:
            arranged += 1
        now = tuple(what for x, y, what in seen if x <= a and y >= b)
        case = (arranged, now, order)
        if case not in known:
            known[case] = _lay_out(timeline, scans, profile, layouts[arranged][1], now, order)
        look = layouts[arranged][1]
        piece = Slice(first=a, end=b, tiles=known[case], waiting=not now, logo=look.logo)
        piece = replace(piece, background=look.background, backdrop=look.backdrop)
        if found and replace(found[-1], first=a, end=b) == piece:
            piece = replace(piece, first=found.pop().first)
        found.append(piece)
    return found


def _lay_out(
    timeline: Timeline, scans: Scans, profile: Profile, layout: Layout, seen: Sequence[_Seen], order: Sequence[str]
) -> tuple[Placed, ...]:
    names = {participant.participant_id: participant.name for participant in timeline.participants}
    sources: dict[tuple[str, str], Source] = {
        (track.participant_id, track.track_id): track.source
        for participant in timeline.participants
        for track in participant.tracks
    }
    tiles, clips = [], {}
    for participant_id, track_id, clip in seen:
        width_px, height_px = 16, 9  # a card takes any shape; this one stands well beside pictures
        if clip is not None:
            run = scans[timeline.clips[clip].place][timeline.clips[clip].run]
            width_px, height_px = run.width_px, run.height_px
        clips[participant_id, track_id] = clip
        tiles.append(
            Tile(
                participant_id=participant_id,
                track_id=track_id,
                label=names[participant_id],
                width_px=width_px,
                height_px=height_px,
                source=sources.get((participant_id, track_id), "camera"),
                rank=order.index(participant_id),
            )
        )
    regions = layout.place(tiles, profile.width_px, profile.height_px)
    return tuple(Placed(region, clips.get((region.participant_id, region.track_id))) for region in regions)


def _seen(timeline: Timeline, participant: Participant, fps: int, count: int) -> list[tuple[int, int, _Seen]]:
    """When a participant is seen, and with what: each picture track, or the card where there is none."""
    cuts = [picture_at(at_us, fps) for at_us in timeline.cuts_us]
    there = _merged(
        [
            (_opening(picture_at(p.from_us, fps), fps, cuts), _closing(picture_at(p.to_us, fps), fps, count, cuts))
            for p in timeline.presences
            if p.participant_id == participant.participant_id
        ]
    )
    found: list[tuple[int, int, _Seen]] = []
    covered: list[_Interval] = []
    for track in participant.tracks:
        shows = _shows(timeline.clips, participant.participant_id, track.track_id, there, fps, cuts)
        found += [(a, b, (participant.participant_id, track.track_id, clip)) for a, b, clip in shows]
        covered += [(a, b) for a, b, _ in shows]
    settle = int(_SETTLE_S * fps)
    for a, b in _without(there, _merged(covered)):
        begins = any(a == start for start, _ in there)
        if not (begins and b - a <= settle and any(b == start for start, _ in covered)):
            found.append((a, b, (participant.participant_id, "", None)))
    return found


def _shows(
    clips: Sequence[Clip],
    participant_id: str,
    track_id: str,
    there: Sequence[_Interval],
    fps: int,
    cuts: Sequence[int],
) -> list[_Show]:
    """The pictures of one track, the last one of each clip held for a while if its participant stays."""
    own = sorted(
        (_opening(picture_at(clip.from_us, fps), fps, cuts), picture_at(clip.to_us, fps), index)
        for index, clip in enumerate(clips)
        if clip.kind == "video" and (clip.participant_id, clip.track_id) == (participant_id, track_id)
    )
    found: list[_Show] = []
    for number, (a, b, index) in enumerate(own):
        stays = max((y for x, y in there if x <= b <= y), default=b)
        limit = own[number + 1][0] if number + 1 < len(own) else stays
        end = min(b + _HOLD_S * fps, stays, max(limit, b))
        a = max(a, found[-1][1]) if found else a  # a clip that begins before the last one ended waits its turn
        if a < end:
            found.append((a, end, index))
    return found


def _opening(picture: int, fps: int, cuts: Sequence[int]) -> int:
    if picture <= int(_OPENING_S * fps):
        return 0
    return next((cut for cut in cuts if cut <= picture <= cut + int(_RESUME_S * fps)), picture)


def _closing(picture: int, fps: int, count: int, cuts: Sequence[int]) -> int:
    near = int(_CLOSING_S * fps)
    return next((end for end in (*cuts, count) if picture <= end <= picture + near), picture)


def _merged(intervals: Sequence[_Interval]) -> list[_Interval]:
    found: list[_Interval] = []
    for a, b in sorted(intervals):
        if found and a <= found[-1][1]:
            found[-1] = (found[-1][0], max(b, found[-1][1]))
        elif a < b:
            found.append((a, b))
    return found


def _without(intervals: Sequence[_Interval], taken: Sequence[_Interval]) -> list[_Interval]:
    found: list[_Interval] = []
    for a, b in intervals:
        for x, y in taken:
            if x < b and y > a:
                if a < x:
                    found.append((a, x))
                a = max(a, y)
        if a < b:
            found.append((a, b))
    return found
