"""The timeline, cut into windows; each under a key that is the digest of all that decides its picture and sound. Pure.

A window's plan is plain JSON, is all that a renderer reads, and its canonical form is what the key is made of. So
equal plans are equal windows, whoever asks for them, and what is stored under a key is never made again.
"""

from __future__ import annotations

import json
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Any

import numpy as np

from . import __version__
from .clock import US_PER_S, all_samples, picture_at, picture_us, pictures, samples
from .layouts import Arranged, layout_of
from .levels import LEVELS_VERSION
from .loudness import Gains, plan_gains, ramp
from .model import Recording
from .packed import Packed
from .profiles import NONE, Profile
from .scans import SCAN_VERSION, RunScan, Scans
from .slices import Slice, cut_slices
from .sound import place_packets
from .speakers import BLOCK_US, plan_speakers
from .timeline import Clip, Timeline
from .voices import each_voice, voices

#: Part of every key: raise it when a renderer makes something else of the same plan.
RENDER_VERSION = 5
#: The same for cards and labels, whose pixels are in no key.
CARD_VERSION = 1
#: Sound is mixed from this much before a window, so that nothing in the mix begins at its border …
LEAD_IN_US = 500_000
#: … to this much behind it, for the encoder's last frames. What changes there changes the window.
LEAD_OUT_US = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """One window of a film."""

    k: int
    key: str
    seen: Mapping[str, Any]  #: its plan but for the sound
    #: What of everybody's sound is heard. Told anew whenever it is asked for: it is most of a plan, and most windows
    #: of a long recording are rendered already: all that is wanted of those is the key.
    hear: Callable[[], list[dict[str, Any]]] = field(compare=False, repr=False)
    from_us: int
    to_us: int

    @property
    def plan(self) -> dict[str, Any]:
        """What decides the window; its digest is the key."""
        return {**self.seen, "audio": self.hear()}

    @property
    def form(self) -> str:
        return form_of(self.seen["profile"])


def in_full(window: Window) -> Window:
    """The window under another key, to be encoded at its profile's own speed whatever the haste."""
    window = replace(window, seen={**window.seen, "full": True})
    return replace(window, key=sha256(canonical(window.plan)).hexdigest())


def form_of(profile: Mapping[str, Any]) -> str:
    """What kind of file a window is, given its profile in the plan: `mp4`, which can be joined as bytes, or `mkv`."""
    codecs = {profile.get("video_codec", "h264"), profile.get("audio_codec", "aac")}
    return "mp4" if codecs <= {"h264", "aac", NONE} else "mkv"


def canonical(value: Any) -> bytes:
    """JSON with one form only, for digests."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()


def made_of(recording: Recording, window_ms: int) -> str:
    """Digest of all that decides the films of a recording with its chunks: who has planned it for these need not again.

    Of Callreel's version too, for another one may plan otherwise.
    """
    versions = [__version__, RENDER_VERSION, CARD_VERSION, SCAN_VERSION, LEVELS_VERSION]
    return sha256(canonical([versions, window_ms, recording.inputs])).hexdigest()


def plan_windows(
    timeline: Timeline,
    scans: Scans,
    profile: Profile,
    arranged: Arranged,
    window_ms: int,
    first_k: int = 0,
    span_us: tuple[int, int] | None = None,
) -> list[Window]:
    """The windows of the film from `first_k` on, in order; of all of it, or of a span of recording time."""
    return Planner(timeline, scans, profile, arranged, window_ms, span_us).windows(first_k)


class Planner:
    """Plans windows of one film; what is the same for all of them is found once.

    Whatever the span, windows lie where those of all of the recording do, and only what is cut at its ends is shorter.
    So two films that show the same in the same 8 s have that window in common.
    """

    def __init__(
        self,
        timeline: Timeline,
        scans: Scans,
        profile: Profile,
        arranged: Arranged,
        window_ms: int,
        span_us: tuple[int, int] | None = None,
    ) -> None:
        fps = profile.fps
        count = pictures(timeline.duration_us, fps)
        begin, end = (0, count) if span_us is None else (picture_at(at_us, fps) for at_us in span_us)
        per_window = window_ms * fps // 1000
        layouts = [(picture_at(at_us, fps), layout_of(asked)) for at_us, asked in arranged]
        by_speaker = profile.has_pictures and any(layout.by_speaker for _, layout in layouts)
        # gains and turns come from what was heard before: of what lies behind the span nothing is asked
        last = -(-end // per_window)
        until_us = -(-picture_us(last * per_window, fps) // BLOCK_US) * BLOCK_US
        before = replace(timeline, duration_us=min(until_us, timeline.duration_us))
        # one after the other, for of many people's hours what is heard finely is most of it
        turns = plan_speakers(before, each_voice(before, scans)).turns if by_speaker else ()
        heard = voices(before, scans, fine=False) if profile.has_sound else {}
        slices = cut_slices(timeline, scans, profile, layouts, count, turns) if profile.has_pictures else []
        firsts = range(0, count, per_window)
        borders_us = [picture_us(number, fps) for number in (*firsts[:last], min(last * per_window, count))]
        self._gains = plan_gains(heard, borders_us) if profile.has_sound else {}
        self._cuts = [(max(first, begin), min(first + per_window, end, count)) for first in firsts]
        self._timeline, self._scans, self._profile = timeline, scans, profile
        self._parts = _Parts(timeline, slices, fps, profile.has_sound)

    def windows(self, first_k: int = 0) -> list[Window]:
        """Those from number `first_k` on, in order."""
        found = []
        for k, cut in enumerate(self._cuts):
            if k >= first_k and cut[0] < cut[1]:
                seen, heard = self._parts.seen(*cut), self._parts.heard(*cut)
                found.append(plan_window(self._timeline, self._scans, self._profile, seen, heard, self._gains, k, *cut))
        return found


class _Parts:
    """What of a whole film there is in one window, found without looking at all of it for each."""

    def __init__(self, timeline: Timeline, slices: Sequence[Slice], fps: int, has_sound: bool) -> None:
        self._slices, self._fps = slices, fps
        self._firsts = [piece.first for piece in slices]
        self._clips = [clip for clip in timeline.clips if has_sound and clip.kind == "audio"]
        self._from_us = np.array([clip.from_us for clip in self._clips], np.int64)
        self._to_us = np.array([clip.to_us for clip in self._clips], np.int64)

    def seen(self, first: int, end: int) -> Sequence[Slice]:
        """The slices of the pictures [first, end); slices cover a film without a hole."""
        return self._slices[max(0, bisect_right(self._firsts, first) - 1) : bisect_left(self._firsts, end)]

    def heard(self, first: int, end: int) -> list[Clip]:
        """The clips that are mixed for them, in the timeline's order."""
        from_us, to_us = picture_us(first, self._fps) - LEAD_IN_US, picture_us(end, self._fps) + LEAD_OUT_US
        return [self._clips[index] for index in np.flatnonzero((self._from_us < to_us) & (self._to_us > from_us))]


def plan_window(
    timeline: Timeline,
    scans: Scans,
    profile: Profile,
    slices: Sequence[Slice],
    clips: Sequence[Clip],
    gains: Gains,
    k: int,
    first: int,
    end: int,
) -> Window:
    """The window of the pictures [first, end), in which these slices are seen and these clips are heard."""
    fps = profile.fps
    from_us, to_us = picture_us(first, fps), picture_us(end, fps)
    inputs = _Inputs(timeline, scans, fps)
    planned = []
    for piece in slices:
        a, b = max(piece.first, first), min(piece.end, end)
        if a < b:
            shown: dict[str, Any] = {"pictures": b - a, "tiles": inputs.tiles(piece, a, b)}
            if piece.logo:
                shown["logo"] = piece.logo.placed(profile.width_px, profile.height_px)
            if piece.background:
                shown["background"] = piece.background
            if piece.backdrop:
                shown["backdrop"] = piece.backdrop
            # the layout may have no place for who is there: then nobody is waited for
            planned.append(shown if piece.tiles or piece.waiting else {**shown, "waiting": False})
    seen = {
        "v": [RENDER_VERSION, CARD_VERSION],
        "profile": profile.to_json(),
        "k": k,
        "firstPicture": first,
        "pictures": end - first,
        "slices": planned,
        "video": inputs.planned(),
    }

    def hear() -> list[dict[str, Any]]:
        sound = [
            _sound(clip, scans[clip.place][clip.run], gains, k, from_us, to_us, profile.audio_rate_hz) for clip in clips
        ]
        return [item for item in sound if item is not None]

    key = sha256(canonical({**seen, "audio": hear()})).hexdigest()
    return Window(k=k, key=key, seen=Packed(seen, rare=("slices", "video")), hear=hear, from_us=from_us, to_us=to_us)


class _Inputs:
    """The video inputs of one window: one for each clip, read from the key frame before its first picture."""

    def __init__(self, timeline: Timeline, scans: Scans, fps: int) -> None:
        self._clips = timeline.clips
        self._scans = scans
        self._half_us = US_PER_S // fps // 2  # the nearest picture is shown, so it may be half a step ahead
        self._fps = fps
        self._ranges: dict[int, tuple[int, int]] = {}  #: by the clip's place in the timeline

    def tiles(self, piece: Slice, a: int, b: int) -> list[dict[str, Any]]:
        """The tiles of a slice's pictures [a, b), as the renderer wants them."""
        found = []
        for tile in piece.tiles:
            region = tile.region
            item: dict[str, Any] = {
                "label": region.label,
                "x": region.x_px,
                "y": region.y_px,
                "width": region.width_px,
                "height": region.height_px,
            }
            if tile.clip is not None:
                item |= self._use(tile.clip, a, b)
            found.append(item)
        return found

    def _use(self, number: int, a: int, b: int) -> dict[str, int]:
        """Which of a clip's pictures are shown: times in µs of media time."""
        clip = self._clips[number]
        pts = self._scans[clip.place][clip.run].video.pts_us
        base_us, end_us = (clip.line.media_us(picture_us(picture, self._fps)) for picture in (a, b))
        first = max(0, int(np.searchsorted(pts, base_us + self._half_us, "right")) - 1)
        last_us = clip.line.media_us(picture_us(b - 1, self._fps)) + self._half_us
        last = max(first, int(np.searchsorted(pts, last_us, "right")) - 1)
        before = self._ranges.get(number)
        self._ranges[number] = (first, last) if before is None else (min(first, before[0]), max(last, before[1]))
        # the clip's place in `planned()`: inputs keep the order in which they were first used
        tile = {"input": list(self._ranges).index(number), "baseUs": base_us, "firstUs": int(pts[first])}
        # between knots the line is straight, and a window has two pieces at most: their mean is right to some ms
        gain_ppm = clip.line.gain_ppm(base_us, end_us)
        return tile | {"gainPpm": gain_ppm} if gain_ppm else tile

    def planned(self) -> list[dict[str, Any]]:
        found = []
        for number, (first, last) in self._ranges.items():
            clip = self._clips[number]
            run = self._scans[clip.place][clip.run]
            key = int(np.flatnonzero(run.video.key[: first + 1])[-1])
            from_byte = int(run.video.from_byte[key : last + 1].min())
            to_byte = int(run.video.to_byte[key : last + 1].max())
            found.append({**_reading(clip, run, from_byte, to_byte), "lastUs": int(run.video.pts_us[last])})
        return found


def _sound(
    clip: Clip, run: RunScan, gains: Gains, k: int, from_us: int, to_us: int, rate_hz: int
) -> dict[str, Any] | None:
    """What of a clip's sound is heard in a window: packets, and the film's sample at which each begins."""
    packets = run.audio
    heard_us = max(clip.from_us, from_us - LEAD_IN_US), min(clip.to_us, to_us + LEAD_OUT_US)
    from_us, to_us = _inside(clip, run, from_us, to_us)
    # everything here is made of the packets of the window's reach alone, so that nothing else can change its key
    first = max(0, int(np.searchsorted(packets.pts_us, clip.line.media_us(from_us - LEAD_IN_US), "right")))
    end = int(np.searchsorted(packets.pts_us, clip.line.media_us(to_us + LEAD_OUT_US), "left"))
    if first >= end:
        return None
    # Decoders need a running start: Opus 80 ms (RFC 7845, 4.6), AAC two frames. They are decoded, and not heard.
    warm = max(0, int(np.searchsorted(packets.pts_us, packets.pts_us[first] - 100_000, "left")))
    from_byte = int(packets.from_byte[warm:end].min())
    to_byte = int(packets.to_byte[warm:end].max())
    borders_us = clip.line.media_us(from_us), clip.line.media_us(to_us)
    places = clip.line.place(place_packets(packets, first, end, *borders_us))
    return {
        **_reading(clip, run, from_byte, to_byte),
        "warmUs": int(packets.pts_us[warm]),
        # when each packet is stamped, in the media's own time, and where its first sample goes, in the film's samples
        "packets": np.stack([packets.pts_us[first:end], all_samples(places, rate_hz)], axis=1).tolist(),
        # 0.01 dB at samples of the film, straight between them
        "gain": [
            [samples(at_us, rate_hz), gain] for at_us, gain in ramp(gains[clip.place], k, from_us, to_us, LEAD_IN_US)
        ],
        "fromSample": samples(heard_us[0], rate_hz),
        "toSample": samples(heard_us[1], rate_hz),
        # a clip's own ends fade; those that are only this window's do not
        "begins": heard_us[0] == clip.from_us,
        "ends": heard_us[1] == clip.to_us,
    }


def _inside(clip: Clip, run: RunScan, from_us: int, to_us: int) -> tuple[int, int]:
    """What of [from, to) is the clip's own, where its run goes on beyond: what lies in a pause is not read."""
    if clip.line.placed_us(run.audio.to_us) > clip.to_us:
        to_us = min(to_us, clip.to_us)
    if clip.line.placed_us(run.audio.from_us) < clip.from_us - LEAD_IN_US:
        from_us = max(from_us, clip.from_us)
    return min(from_us, to_us), to_us


def _reading(clip: Clip, run: RunScan, from_byte: int, to_byte: int) -> dict[str, Any]:
    """Which bytes an input consists of: the run's head, and a range of the chunks that hold it."""
    opening = run.opening(from_byte)
    a, b, from_byte, to_byte = run.reading(from_byte, to_byte)
    return {
        "participantId": clip.participant_id,
        "trackId": clip.track_id,
        "seg": clip.seg,
        "container": run.container,
        "head": sha256(opening).hexdigest(),
        "seq": run.first_seq + a,
        "chunks": list(run.chunk_sha256[a:b]),
        "bytes": [from_byte, to_byte],
    }
