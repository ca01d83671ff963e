"""The mix, to the sample: where sound lands, that windows share it without a seam, and that it survives AAC."""

from __future__ import annotations

import io
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from workers import demux, mux, sound
from workers.codecs import SOUND
from workers.sound import Stretch, interpolate, mix, place

RATE_HZ = 48_000
PROFILE = {"fps": 30, "audio_rate_hz": RATE_HZ, "audio_bitrate_kbps": 128, "audio_channels": 2}


def speech(count: int, seed: int = 1) -> NDArray[np.float32]:
    """Noise with the spectrum and the breaks of speech, mono."""
    dice = np.random.default_rng(seed)
    noise = np.convolve(dice.standard_normal(count), np.exp(-np.arange(64) / 10), "same")
    loudness = np.abs(np.sin(np.arange(count) / RATE_HZ * 2 * np.pi * 1.7)) ** 2
    found: NDArray[np.float32] = (0.05 * noise * loudness).astype(np.float32)
    return found


def webm(samples: NDArray[np.float32]) -> bytes:
    """Mono sound as a browser records it: Opus in WebM."""
    file = io.BytesIO()
    with av.open(file, "w", format="webm") as out:
        stream = out.add_stream("libopus", rate=RATE_HZ)
        stream.layout = "mono"
        stream.bit_rate = 96_000
        for offset in range(0, len(samples), 960):
            frame = av.AudioFrame.from_ndarray(samples[None, offset : offset + 960], format="flt", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = RATE_HZ, offset, Fraction(1, RATE_HZ)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return file.getvalue()


def item(places: list[tuple[int, int]], **more: Any) -> dict[str, Any]:
    return {
        "container": "matroska",
        "warmUs": places[0][0],
        "packets": [list(pair) for pair in places],
        "fromSample": places[0][1],
        "toSample": places[-1][1] + 960,
        "gain": [[places[0][1], 0]],
        "begins": True,
        "ends": True,
        **more,
    }


def places_of(data: bytes, shift: int) -> list[tuple[int, int]]:
    with demux.opened("matroska", data) as file:
        stamps = [demux.pts_us(packet) for packet in demux.packets(file, *file.streams)]
    return [(stamp, index * 960 + shift) for index, stamp in enumerate(stamps)]


def lag(heard: NDArray[np.float32], truth: NDArray[np.float32]) -> int:
    size = 1 << (len(heard) + len(truth)).bit_length()
    found = np.fft.irfft(np.fft.rfft(heard, size) * np.conj(np.fft.rfft(truth, size)))
    at = int(found.argmax())
    return at if at < size // 2 else at - size


def test_sound_lands_on_its_sample_on_both_sides() -> None:
    truth = speech(RATE_HZ * 2)
    data = webm(truth)
    mixed, failed = mix([(item(places_of(data, 10_000)), data)], 0, RATE_HZ * 3, RATE_HZ, 2)
    assert failed == []
    assert np.array_equal(mixed[0], mixed[1])
    # libopus looks 312 samples ahead, which is in the packets themselves and so not ours to take away
    assert abs(lag(mixed[0], truth) - 10_000) <= 320
    assert np.abs(mixed[:, :10_000]).max() == 0


def test_two_windows_share_every_sample_of_their_overlap() -> None:
    data = webm(speech(RATE_HZ * 4))
    places = places_of(data, 0)
    one, _ = mix([(item(places[:120], ends=False), data)], 0, 110_000, RATE_HZ, 2)
    two, _ = mix([(item(places[60:], begins=False), data)], 70_000, 190_000, RATE_HZ, 2)
    # a decoder that began later differs by what floats round away: −80 dB is far below what 16 bits can tell
    assert np.abs(one[:, 80_000:110_000] - two[:, 10_000:40_000]).max() < 1e-4


def test_unreadable_sound_is_named_and_the_others_are_heard() -> None:
    data = webm(speech(RATE_HZ))
    wanted = item(places_of(data, 0))
    mixed, failed = mix([(wanted, b"\x1a\x45\xdf\xa3garbage"), (wanted, data)], 0, RATE_HZ, RATE_HZ, 2)
    assert [index for index, _ in failed] == [0]
    assert np.abs(mixed).max() > 0.01


def test_many_loud_voices_are_turned_down_and_not_cut() -> None:
    data = webm(np.clip(speech(RATE_HZ) * 12, -0.9, 0.9))
    one = item(places_of(data, 0))
    mixed, _ = mix([(one, data)] * 4, 0, RATE_HZ, RATE_HZ, 2)
    assert 0.75 < np.abs(mixed).max() < 0.8
    assert (np.abs(mixed) > 0.79).mean() < 0.001, "peaks, and no plateaus"


def test_a_gain_is_heard_where_the_plan_has_it() -> None:
    data = webm(speech(RATE_HZ * 2))
    places = places_of(data, 0)
    plain, _ = mix([(item(places), data)], 0, RATE_HZ * 2, RATE_HZ, 2)
    gained, _ = mix([(item(places, gain=[[30_000, 0], [60_000, -600]]), data)], 0, RATE_HZ * 2, RATE_HZ, 2)
    factor = gained[0] / np.where(np.abs(plain[0]) < 1e-4, np.nan, plain[0])
    assert np.nanmax(np.abs(factor[:30_000] - 1)) < 1e-3
    assert np.nanmedian(factor[44_900:45_100]) == pytest.approx(10 ** (-3 / 20), abs=1e-3)
    assert np.nanmedian(factor[60_000:]) == pytest.approx(10 ** (-6 / 20), abs=1e-3)


def test_a_stretched_tone_keeps_its_purity() -> None:
    at = np.arange(RATE_HZ * 2)
    tone = np.sin(2 * np.pi * 997 * at / RATE_HZ).astype(np.float32)[None]
    positions = np.arange(1_000, 90_000, dtype=np.float64) * 1.0003 + 0.37
    truth = np.sin(2 * np.pi * 997 * positions / RATE_HZ)
    error = interpolate(tone, positions)[0] - truth
    assert 10 * np.log10((truth**2).mean() / (error**2).mean()) > 85


def test_packets_that_follow_each_other_are_copied_bit_by_bit() -> None:
    data = speech(9_600)[None]
    stretch = Stretch(data, [(n * 960, 5_000 + n * 960) for n in range(11)], first=True, last=True)
    assert np.array_equal(place(stretch, 5_000, 14_600), data)


@pytest.mark.parametrize("pictures", [240, 100, 1])
@pytest.mark.parametrize(("codec", "container"), [("aac", "adts"), ("opus", "ogg")])
def test_windows_of_sound_join_to_what_one_encoder_makes(
    codec: str, container: str, pictures: int, tmp_path: Path
) -> None:
    """SNR within 30 ms of the border, against the encoder running through: at most 3 dB worse."""
    total = 2 * 384_000
    truth = np.stack([speech(total + 20_000, 3)] * 2)
    profile = {**PROFILE, "audio_codec": codec}

    def frames(k: int, count: int) -> tuple[int, list[av.Packet[Any]]]:
        plan = {"k": k, "firstPicture": k * 240, "pictures": count, "profile": profile}
        a, b = mux.sound_span(plan)
        samples = np.zeros((2, b - a), np.float32)
        lead = max(0, -a)
        samples[:, lead:] = truth[:, a + lead : b]
        with av.open(str(tmp_path / "x.mkv"), "w", format="matroska") as out:
            return mux.sound_frames(plan)[0], mux._encode(plan, mux.add_sound(profile, out), samples)

    per_window = 384_000 // SOUND[codec].frame
    first, one = frames(0, 240)
    second, two = frames(1, pictures)
    assert (first, second, len(one)) == (0, per_window, per_window)
    assert len(two) == pictures * 1600 // SOUND[codec].frame
    if pictures != 240:
        return
    _, through = frames(0, 480)
    joined, straight = decoded(one + two, profile, container), decoded(through, profile, container)
    border = slice(384_000 - 1440, 384_000 + 1440)
    through_db, joined_db = snr(straight[border], truth[0, border]), snr(joined[border], truth[0, border])
    print(f"{codec}: through {through_db:.1f} dB, joined {joined_db:.1f} dB")
    assert through_db > 8, "else nothing is compared here"
    assert joined_db > through_db - 3


def decoded(packets: list[av.Packet[Any]], profile: dict[str, Any], container: str) -> NDArray[np.float32]:
    file = io.BytesIO()
    with av.open(file, "w", format=container) as out:
        stream = mux.add_sound(profile, out)
        for packet in packets:
            copy = av.Packet(bytes(packet))
            copy.stream, copy.pts, copy.dts, copy.time_base = stream, packet.pts, packet.pts, Fraction(1, RATE_HZ)
            copy.duration = packet.duration
            out.mux(copy)
    with av.open(io.BytesIO(file.getvalue()), "r") as back:
        return np.concatenate([frame.to_ndarray()[0] for frame in back.decode(audio=0)])


def snr(heard: NDArray[np.float32], truth: NDArray[np.float32]) -> float:
    return float(10 * np.log10((truth**2).sum() / ((heard - truth) ** 2).sum()))


def test_both_sides_of_a_cut_fade_over_five_milliseconds() -> None:
    """A pause of 0.2 s cut out of one run: what lies before it ends, what lies behind it begins, at the same sample."""
    data = webm(np.full(RATE_HZ, 0.5, np.float32) * np.sin(np.arange(RATE_HZ) / 20).astype(np.float32))
    places = places_of(data, 0)
    cut = 19_500  # amid a packet, as pauses are
    before = item(places, toSample=cut)
    behind = item([(pts, place - 9_600) for pts, place in places], fromSample=cut)
    mixed, failed = mix([(before, data), (behind, data)], 0, RATE_HZ, RATE_HZ, 2)
    assert failed == []
    ramp = int(0.005 * RATE_HZ)
    heard = np.abs(mixed[0])
    for side in (slice(cut - 24, cut), slice(cut, cut + 24)):  # half a millisecond at each side is nearly silent
        assert heard[side].max() < 0.06
    for loud in (slice(cut - ramp - 200, cut - ramp), slice(cut + ramp, cut + ramp + 200)):
        assert heard[loud].max() > 0.4
    assert np.abs(np.diff(mixed[0, cut - 300 : cut + 300])).max() < 0.04  # no click: nothing steeper than the tone


def test_ramps_are_heard_at_a_clips_own_ends_alone() -> None:
    data = webm(np.full(RATE_HZ, 0.5, np.float32) * np.sin(np.arange(RATE_HZ) / 20).astype(np.float32))
    places = places_of(data, 0)[10:30]
    cut, _ = mix([(item(places, warmUs=0), data)], 0, RATE_HZ, RATE_HZ, 2)
    open_end, _ = mix([(item(places, warmUs=0, begins=False, ends=False), data)], 0, RATE_HZ, RATE_HZ, 2)
    begin = places[0][1]
    assert np.abs(cut[0, begin : begin + 20]).max() < 0.1
    assert np.abs(open_end[0, begin : begin + 200]).max() > 0.3
    assert sound._RAMP_S == 0.005
