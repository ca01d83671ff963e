"""Thumbnails, waveforms and the editor's timeline of a finished film: made behind it, of what was made for it.

Thumbnails and the mix are put together from the glances of its windows, waveforms of tracks are the levels that gains
were decided from. Nothing is rendered, and nobody waits: who looks at the film has it already. Of a window without a
glance key frames and sound are decoded.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import asdict, replace
from hashlib import sha256

import av
import numpy as np
from av.video.reformatter import Interpolation
from PIL import Image

from callreel import editions, glances, journal, keys, previews, repository, waveforms
from callreel.clock import US_PER_S, samples
from callreel.errors import CallreelError
from callreel.failpoints import failpoint
from callreel.journal import Draft
from callreel.manifest import Build, Film
from callreel.model import PREVIEWS, Artifact, Recording
from callreel.previews import Thumbnails
from callreel.scans import Container
from callreel.states import Status
from callreel.storage import Storage
from callreel.windows import Window

from . import demux, glance, sound
from .bench import Bench
from .otio import timeline_otio
from .planning import plan

_FORMS: dict[str, Container] = {"mp4": "mp4", "mkv": "matroska"}
_SHEET_QUALITY, _POSTER_QUALITY = 75, 85


def pending(build: Build) -> list[Artifact]:
    """What a finished film will have beside it, announced before it is made."""
    return [
        Artifact(name=preview.name, kind=preview.kind, status="pending", mime_type=preview.mime_type)
        for preview in previews.plan_previews(build)
    ]


def make_previews(bench: Bench, recording_id: str) -> None:
    """Make what is announced, store it, and say so in the journal, all at once: cues belong to their sheets."""
    recording = repository.load(bench.storage, recording_id)
    if recording.status is not Status.COMPLETED:
        return
    build = plan(bench.storage, bench.settings, recording)
    if build.digest != recording.build:
        return  # more has come: the next film announces them anew
    known = {preview.name: preview for preview in previews.plan_previews(build)}
    made = []
    for name, data in preview_files(bench.storage, build):
        digest = sha256(data).hexdigest()
        edition = editions.edition_of(recording, name, digest)
        bench.storage.put_if_absent(keys.artifact(recording_id, name, digest, edition), data)
        made.append(
            Artifact(
                name=name,
                kind=known[name].kind,
                status="ready",
                mime_type=known[name].mime_type,
                size_bytes=len(data),
                sha256=digest,
                edition=edition,
            )
        )
    failpoint("previews.stored")
    _tell(bench, recording_id, made, build.digest)
    failpoint("previews.told")


def give_up(bench: Bench, recording_id: str, error: CallreelError) -> None:
    """Say that what is announced will not come."""
    state = bench.control.state(recording_id)
    waiting = [each for each in state.artifacts if each.kind in PREVIEWS and each.status == "pending"]
    failed = [replace(artifact, status="failed", error=error.detail) for artifact in waiting]
    _tell(bench, recording_id, failed, state.build)


def _tell(bench: Bench, recording_id: str, artifacts: list[Artifact], build: str) -> None:
    """Say what became of them, unless another film was published meanwhile, which announced them anew."""

    def decide(state: Recording) -> Draft | None:
        journal.refuse_deleted(state)
        told = state.build != build or all(artifact in state.artifacts for artifact in artifacts)
        if told or not editions.fit(state, artifacts):
            return None
        return "artifacts", {"artifacts": [asdict(artifact) for artifact in artifacts]}

    bench.control.append(recording_id, decide)


def preview_files(storage: Storage, build: Build) -> Iterator[tuple[str, bytes]]:
    """(name, content) of every preview."""
    recording_id = build.recording.recording_id
    if film := previews.seen(build):
        yield from _thumbnails(storage, recording_id, film)
    if film := previews.heard(build):
        yield previews.MIX, waveforms.encode(mix_swings(storage, recording_id, film))
    for who, track_id in previews.sounding(build):
        swings = waveforms.of_track(build.timeline, build.scans, who, track_id)
        yield previews.wave_name(who, track_id), waveforms.encode(swings)
    yield previews.TIMELINE, timeline_otio(build)


def _thumbnails(storage: Storage, recording_id: str, film: Film) -> Iterator[tuple[str, bytes]]:
    """Sheets one after the other, each given away as soon as it is full; then poster and cues."""
    wanted = previews.plan_thumbnails(film)
    shown_us: list[int] = []
    sheet = Image.new("RGB", wanted.sheet_px(0))
    for number, (at_us, tile) in enumerate(_tiles(storage, recording_id, film, wanted)):
        place, x, y = wanted.place(number)
        sheet.paste(tile, (x, y))
        shown_us.append(at_us)
        if number + 1 == len(wanted.grid_us) or wanted.place(number + 1)[0] > place:
            yield previews.sheet_name(place), _jpeg(sheet, _SHEET_QUALITY)
            if place + 1 < wanted.sheets:
                sheet = Image.new("RGB", wanted.sheet_px(place + 1))
    yield previews.POSTER, _jpeg(_poster(storage, recording_id, film, wanted), _POSTER_QUALITY)
    yield previews.CUES, previews.webvtt(wanted, shown_us, film.duration_us).encode()


def _tiles(storage: Storage, recording_id: str, film: Film, wanted: Thumbnails) -> Iterator[tuple[int, Image.Image]]:
    """For every grid point the last key frame at or before it, as a thumbnail, with its time in the film."""
    fps = film.profile.fps
    for window in film.windows:
        grid_us = [at_us for at_us in wanted.grid_us if window.from_us <= at_us < window.to_us]
        if not grid_us:
            continue
        seen = glance.read(storage, recording_id, window.key)
        numbers = seen.numbers(window.from_us, grid_us, fps) if seen else []
        if seen and len(numbers) == len(grid_us):
            for number in numbers:
                with Image.open(io.BytesIO(seen.pictures[number])) as tile:
                    yield glances.shown_us(window.from_us, number, fps), tile
        else:
            for at_us, frame in key_frames(window, _bytes_of(storage, recording_id, window), grid_us, fps):
                yield at_us, _scaled(frame, wanted.tile_px)


def _poster(storage: Storage, recording_id: str, film: Film, wanted: Thumbnails) -> Image.Image:
    """The only picture that has to be decoded: glances have none of its size."""
    at_us = wanted.grid_us[wanted.poster]
    window = next(window for window in film.windows if window.from_us <= at_us < window.to_us)
    [(_, frame)] = key_frames(window, _bytes_of(storage, recording_id, window), [at_us], film.profile.fps)
    return _scaled(frame, wanted.poster_px)


def key_frames(window: Window, data: bytes, grid_us: list[int], fps: int) -> Iterator[tuple[int, av.VideoFrame]]:
    """For every grid point in a window the last key frame at or before it. Nothing but these few is decoded."""
    with demux.opened(_FORMS[window.form], data) as source:
        stream = source.streams.video[0]
        packets = list(demux.packets(source, stream))
        # by their number: times in windows that are not MP4 are rounded to ms
        keys_us = {
            glances.shown_us(window.from_us, number, fps): packet
            for number, packet in enumerate(packets)
            if packet.is_keyframe
        }
        for at_us in grid_us:
            key_us = max(us for us in keys_us if us <= at_us)
            stream.codec_context.flush_buffers()
            [frame, *_] = [*stream.codec_context.decode(keys_us[key_us]), *stream.codec_context.decode(None)]
            yield key_us, frame


def mix_swings(storage: Storage, recording_id: str, film: Film) -> waveforms.Swings:
    """How far the film's sound swings."""
    rate_hz = film.profile.audio_rate_hz
    swings = np.zeros(waveforms.points(film.duration_us))
    for window in film.windows:
        seen = glance.read(storage, recording_id, window.key)
        if seen and seen.swings is not None:
            found = seen.swings
        else:
            found = window_swings(window, _bytes_of(storage, recording_id, window), rate_hz)
        first = waveforms.first_point(samples(window.from_us, rate_hz), rate_hz)
        places = slice(first, first + len(found))  # two windows may meet within a point
        swings[places] = np.maximum(swings[places], found)
    return swings


def window_swings(window: Window, data: bytes, rate_hz: int) -> waveforms.Swings:
    """How far a window's sound swings, decoded."""
    from_sample, to_sample = samples(window.from_us, rate_hz), samples(window.to_us, rate_hz)
    laid = np.zeros(to_sample - from_sample, np.float32)
    item = {"container": _FORMS[window.form], "warmUs": -US_PER_S}
    for pts_us, _, heard in sound.decode(item, data, 2):
        at = samples(pts_us, rate_hz) - from_sample
        a, b = max(0, at), min(at + heard.shape[1], len(laid))
        if a < b:
            laid[a:b] = np.abs(heard[:, a - at : b - at]).max(axis=0)
    return waveforms.of_sound(laid, from_sample, rate_hz)


def _bytes_of(storage: Storage, recording_id: str, window: Window) -> bytes:
    return storage.get(keys.window(recording_id, window.key, window.form))


def _scaled(frame: av.VideoFrame, size_px: tuple[int, int]) -> Image.Image:
    smaller = frame.reformat(*size_px, format="rgb24", interpolation=Interpolation.AREA)
    return Image.fromarray(smaller.to_ndarray())


def _jpeg(picture: Image.Image, quality: int) -> bytes:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=quality, optimize=True)
    return file.getvalue()
