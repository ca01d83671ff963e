"""The sync certificate as a page for people: self-contained, without scripts, nothing fetched from anywhere. Pure.

Its figures are those of `sync`, the same that the manifest tells. Whatever a client named itself is escaped; the style
is one constant element, which the page's own policy allows by its digest.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Collection, Sequence
from hashlib import sha256
from html import escape
from math import ceil
from pathlib import Path

from .clock import US_PER_MS, US_PER_S
from .consent import withheld
from .model import Participant, Recording, Track
from .sync import CAPTURE_MS, Sync
from .timeline import Timeline
from .wire import instant

NAME = "certificate.html"

_STYLE = Path(__file__).with_name("certificate.css").read_text(encoding="utf-8")
POLICY = (
    f"default-src 'none'; style-src 'sha256-{b64encode(sha256(_STYLE.encode()).digest()).decode()}';"
    " base-uri 'none'; form-action 'none'"
)
#: Lips that are so late are seen to be so (ITU-R BT.1359: 45 ms for sound that is early, 125 for sound that is late).
_LOOSE_MS = 80

_WORDS = {
    "placement": "following the clock",
    "clock": "probes of the clock",
    "media": "what deliveries leave open",
    "steps": "a recorder that stood",
    "stamps": "jitter of the recorder's stamps",
    "pictures": "half a picture of the film",
    "rounding": "whole milliseconds",
}
_TRUSTED = {
    "probe": "the client's probes",
    "neighbour": "probes of another track",
    "received": "arrival alone",
    "media": "arrival of media alone, its start cannot be",
}


def page(recording: Recording, timeline: Timeline, found: Sequence[Sync]) -> str:
    """The whole page, as HTML."""
    worst_ms = max((ceil(sync.uncertainty_us / US_PER_MS) for sync in found), default=0)
    steepest_ppm = max((abs(sync.drift_ppm) for sync in found), default=0.0)
    facts = {
        "Length": _length(timeline.duration_us),
        "People": str(len(recording.participants)),
        "Tracks": str(len(recording.tracks())),
        "Largest drift": f"{steepest_ppm:.0f} ppm",
        "Gaps": str(len(timeline.gaps)),
    }
    unused = withheld(recording)
    people = "".join(_person(who, timeline, found, unused) for who in recording.participants)
    chips = "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in facts.items())
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Sync certificate · {escape(recording.recording_id)}</title>
<meta http-equiv="Content-Security-Policy" content="{escape(POLICY)}">
<meta name="viewport" content="width=device-width,initial-scale=1"><meta name="referrer" content="no-referrer">
<style>{_STYLE}</style></head><body><main>
<header><h1><b>●</b>Callreel sync certificate</h1>
<span class="id">{escape(recording.recording_id)} · {instant(recording.started_ms)}</span></header>
<div class="hero{" loose" if worst_ms > _LOOSE_MS else ""}"><strong>± {worst_ms} ms</strong>
<p>Everything in this recording, of everybody in it, lies within {worst_ms} ms of the instant it was recorded.</p>
<p>This is a bound, not an average. It counts from the instant a browser tells as its recorder's start. What browsers
themselves are off comes on top in any recorder: up to {CAPTURE_MS[0]} ms, and {CAPTURE_MS[1]} ms for sound that shares
a recorder with pictures.</p></div>
<dl>{chips}</dl>
{people}
{_gaps(recording, timeline)}
<section><h2>How this was measured</h2>
<p>Each browser asked the server for the time again and again; a line through those answers says how its clock is off
and how fast it runs, and the delays of its chunks say how fast its sound card or camera runs against that clock.</p>
<p><b>Offset</b> is where the track's first moment was put, from the recording's start. <b>Drift</b> is how much more
slowly its media ran than the server's clock; it is taken out. <b>Residual</b> is the most that was left of it at any
moment, as known afterwards. <b>Uncertainty</b> is the sum of all that may be wrong at the worst moment.</p></section>
<footer>The same figures are in <code>manifest.json</code>, under <code>clock</code> of each segment.</footer>
</main></body></html>
"""


def _person(who: Participant, timeline: Timeline, found: Sequence[Sync], unused: Collection[str]) -> str:
    tracks = "".join(_track(track, timeline, found, unused=track.track_id in unused) for track in who.tracks)
    return f"<section><h2>{escape(who.name)}</h2>{tracks}</section>\n"


def _track(track: Track, timeline: Timeline, found: Sequence[Sync], *, unused: bool) -> str:
    place = (track.participant_id, track.track_id)
    rows = [sync for sync in found if (sync.participant_id, sync.track_id) == place]
    label = f" <span>· {escape(track.label)}</span>" if track.label else ""
    head = f"<h3>{track.source.capitalize()}{label} <span>· {escape(track.track_id)}</span></h3>"
    if not rows:
        why = "Its person does not agree, so nothing of it is used." if unused else "Nothing of this track came."
        return f'{head}<p class="dim">{why}</p>'
    body = "".join(_row(sync, many=len(rows) > 1) for sync in rows)
    return (
        f"{head}{_strip(place, timeline)}<div class=wide><table><thead><tr><th>Clock</th><th>Offset</th><th>Drift</th>"
        f"<th>Residual</th><th>Uncertainty</th></tr></thead><tbody>{body}</tbody></table></div>"
    )


def _row(sync: Sync, *, many: bool) -> str:
    uncertainty_ms = ceil(sync.uncertainty_us / US_PER_MS)
    largest = sorted(sync.parts_us, key=lambda part: -part[1])[:2]
    why = ", ".join(f"{_WORDS[name]} {part_us / US_PER_MS:.0f}" for name, part_us in largest)
    name = f"run {sync.seg + 1}: " if many else ""
    loose = " class=loose" if uncertainty_ms > _LOOSE_MS else ""
    return (
        f"<tr><td>{name}{_TRUSTED[sync.trusted]}</td><td>{sync.offset_us / US_PER_S:+.3f} s</td>"
        f"<td>{sync.drift_ppm:+.1f} ppm</td><td>{sync.residual_us / US_PER_MS:.1f} ms</td>"
        f"<td{loose}><b>± {uncertainty_ms} ms</b><small>{why}</small></td></tr>"
    )


def _strip(place: tuple[str, str], timeline: Timeline) -> str:
    """When there is media of a track, and where it is missing, as a strip as long as the recording."""
    scale = 1000 / max(1, timeline.duration_us)
    clips = [("clip", clip.from_us, clip.to_us) for clip in timeline.clips if clip.place[:2] == place]
    gaps = [("gap", gap.from_us, gap.to_us) for gap in timeline.gaps if (gap.participant_id, gap.track_id) == place]
    drawn = "".join(
        f'<rect class="{kind}" x="{a * scale:.2f}" width="{max(1.0, (b - a) * scale):.2f}" height="14"/>'
        for kind, a, b in dict.fromkeys(clips + gaps)
    )
    return f'<svg viewBox="0 0 1000 14" preserveAspectRatio="none" aria-hidden="true">{drawn}</svg>'


def _gaps(recording: Recording, timeline: Timeline) -> str:
    if not timeline.gaps:
        return "<section><h2>Gaps</h2><p>None: everything that was recorded is here.</p></section>"
    names = {who.participant_id: who.name for who in recording.participants}
    lines = "".join(
        f"<li>{escape(names[gap.participant_id])}, {escape(gap.track_id)}: {gap.from_us / US_PER_S:.3f} s to "
        f"{gap.to_us / US_PER_S:.3f} s, {gap.reason}{': ' + escape(gap.detail) if gap.detail else ''}</li>"
        for gap in timeline.gaps
    )
    return f"<section><h2>Gaps</h2><ul>{lines}</ul></section>"


def _length(duration_us: int) -> str:
    minutes, seconds = divmod(round(duration_us / US_PER_S), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
