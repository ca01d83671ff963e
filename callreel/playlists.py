"""Playlists of a stream, as text: HLS (RFC 8216, and its successor's words on CMAF) and DASH (ISO/IEC 23009-1). Pure.

Segments are named relative to their playlist, each with the signature that the playlist was asked for with.
"""

from __future__ import annotations

from fractions import Fraction
from xml.etree import ElementTree as ET

from .clock import US_PER_MS, Span, film_us, instant_ms, picture_us, spans
from .streams import Piece, Stream
from .wire import instant

_TIMESCALE = 90_000  #: a whole number of it is a picture of every rate there is
_DELAY_WINDOWS = 3  #: behind the clock: the window that is being recorded, the one that is rendered, and one to spare
_UPDATE_S = 2


def hls(stream: Stream, query: str) -> str:
    """The media playlist: growing while the recording runs, at its end once it is over."""
    fps, stretches = stream.profile.fps, _stretches(stream)
    longest_s = max(Fraction(piece.pictures, fps) for piece in stream.pieces)
    lines = [
        "#EXTM3U",
        "#EXT-X-VERSION:7",
        f"#EXT-X-TARGETDURATION:{-(-longest_s.numerator // longest_s.denominator)}",
        "#EXT-X-MEDIA-SEQUENCE:0",
        f"#EXT-X-PLAYLIST-TYPE:{'VOD' if stream.is_over else 'EVENT'}",
        "#EXT-X-INDEPENDENT-SEGMENTS",
        f'#EXT-X-MAP:URI="{init_name(stream.pieces[0])}?{query}"',
    ]
    for piece in stream.pieces:
        lines += [
            f"#EXT-X-PROGRAM-DATE-TIME:{_said(_instant_ms(piece, fps, stretches))}",
            f"#EXTINF:{piece.pictures / fps:.6f},",
            f"{piece.k}-{piece.key}.m4s?{query}",
        ]
    return "\n".join([*lines, *(["#EXT-X-ENDLIST"] if stream.is_over else []), ""])


def dash(stream: Stream, query: str, codecs: str, now_ms: int) -> str:
    """The media presentation description: dynamic while the recording runs, static once it is over."""
    profile, window_s = stream.profile, stream.pieces[0].pictures / stream.profile.fps
    mpd = ET.Element(
        "MPD",
        {
            "xmlns": "urn:mpeg:dash:schema:mpd:2011",
            "profiles": "urn:mpeg:dash:profile:isoff-live:2011",
            "minBufferTime": _duration(window_s),
            **(_static(stream) if stream.is_over else _dynamic(stream, window_s, now_ms)),
        },
    )
    period = ET.SubElement(mpd, "Period", {"id": "0", "start": "PT0S"})
    # pictures and sound in one, which players take for pictures: nothing is stored twice for the sake of a player
    adaptation = ET.SubElement(
        period,
        "AdaptationSet",
        {"id": "0", "contentType": "video", "mimeType": "video/mp4", "segmentAlignment": "true", "startWithSAP": "1"},
    )
    # Without its optional `frameRate`: a player that is told all of a video asks the Media Capabilities API whether it
    # can be decoded, which knows one codec at a time and says no; else it asks Media Source Extensions, which know two.
    representation = ET.SubElement(
        adaptation,
        "Representation",
        {
            "id": "0",
            "codecs": codecs,
            "bandwidth": str((profile.video_bitrate_kbps + profile.audio_bitrate_kbps) * 1000),
            "width": str(profile.width_px),
            "height": str(profile.height_px),
        },
    )
    template = ET.SubElement(
        representation,
        "SegmentTemplate",
        {
            "timescale": str(_TIMESCALE),
            "startNumber": "0",
            "initialization": f"{init_name(stream.pieces[0])}?{query}",
            "media": f"{stream.edition}/$Number$.m4s?{query}",
        },
    )
    timeline = ET.SubElement(template, "SegmentTimeline")
    for count, pictures in _repeated(stream.pieces):
        duration = {"d": str(pictures * _TIMESCALE // profile.fps), "r": str(count - 1)}
        ET.SubElement(timeline, "S", duration if len(timeline) else {"t": "0", **duration})
    if not stream.is_over:
        direct = {"schemeIdUri": "urn:mpeg:dash:utc:direct:2014", "value": _said(now_ms)}
        ET.SubElement(mpd, "UTCTiming", direct)
    ET.indent(mpd)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ET.tostring(mpd, encoding="unicode")}\n'


def init_name(piece: Piece) -> str:
    return f"init-{piece.key}.mp4"


def _dynamic(stream: Stream, window_s: float, now_ms: int) -> dict[str, str]:
    # The instant at which recording would have begun if nobody had ever paused it: so the newest that is recorded is
    # never far from now, also while it is paused and behind its stop.
    started_ms = stream.recording.started_ms
    zero_ms = now_ms - film_us((now_ms - started_ms) * US_PER_MS, started_ms, _stretches(stream)) // US_PER_MS
    return {
        "type": "dynamic",
        "availabilityStartTime": _said(zero_ms),
        "publishTime": _said(now_ms),
        "minimumUpdatePeriod": _duration(_UPDATE_S),
        "suggestedPresentationDelay": _duration(_DELAY_WINDOWS * window_s),
    }


def _static(stream: Stream) -> dict[str, str]:
    return {"type": "static", "mediaPresentationDuration": _duration(stream.pictures / stream.profile.fps)}


def _said(at_ms: int) -> str:
    return str(instant(at_ms))


def _duration(seconds: float) -> str:
    """ISO 8601, as XML Schema has it."""
    return f"PT{seconds:.6f}".rstrip("0").rstrip(".") + "S"


def _repeated(pieces: tuple[Piece, ...]) -> list[tuple[int, int]]:
    """(how many behind each other, pictures of each)."""
    found: list[tuple[int, int]] = []
    for piece in pieces:
        if found and found[-1][1] == piece.pictures:
            found[-1] = found[-1][0] + 1, piece.pictures
        else:
            found.append((1, piece.pictures))
    return found


def _stretches(stream: Stream) -> list[Span]:
    recording = stream.recording
    forever_ms = 1 << 62  # what is in a stream was recorded
    return spans(recording, forever_ms if recording.stopped_ms is None else recording.stopped_ms)


def _instant_ms(piece: Piece, fps: int, stretches: list[Span]) -> int:
    return instant_ms(picture_us(piece.first, fps), stretches)
