"""Hostile media: it ends within its bounds, is told in the manifest, touches nothing, and costs nobody anything."""

from __future__ import annotations

import faulthandler
import io
import os
import random
import signal
import stat
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from callreel import repository
from callreel.errors import MediaUnreadable, RenderFailed
from callreel.states import Status
from callreel.storage.local import LocalStorage
from tests.kit.build import add, build_recording
from tests.kit.call_generator import generate_call
from tests.kit.capture import Capture
from tests.kit.detect import examine
from tests.kit.line import Made, make_film, settings_for
from tests.kit.watchmen import Canaries, canaries
from workers import ffmpeg as runner
from workers import planning
from workers.apart import apart
from workers.export import plan_files, write_file

#: A film of little work: what is hostile is not the size of the canvas.
SMALL = {"outputs": [{"name": "film", "container": "mp4", "width": 640, "height": 360}]}
LENGTH_MS = 5000
HOUR_MS = 3_600_000


@pytest.fixture(scope="module")
def call() -> Capture:
    return generate_call(seed=21, count=2, length_ms=LENGTH_MS)


def webm(stamps_ms: list[int]) -> bytes:
    """VP8 of 640 × 360, a key frame at each stamp."""
    file = io.BytesIO()
    options = {"deadline": "realtime", "cpu-used": "16", "g": "1", "threads": "1"}
    with av.open(file, "w", format="webm") as out:
        stream = out.add_stream("libvpx", rate=30, options=options)
        stream.width, stream.height, stream.pix_fmt = 640, 360, "yuv420p"
        picture = av.VideoFrame(640, 360, "yuv420p")
        for plane in picture.planes:
            plane.update(bytes(plane.buffer_size))
        for number, at_ms in enumerate(stamps_ms):
            picture.pts, picture.time_base = number, Fraction(1, 30)
            for packet in stream.encode(picture):
                packet.time_base, packet.pts, packet.dts = Fraction(1, 1000), at_ms, at_ms
                out.mux(packet)
    return file.getvalue()


def enlarged_to_8192(data: bytes, *, announced: bool) -> bytes:
    """The same with pictures that say they are 8192 × 8192 (RFC 6386, 9.1), and with a header that does (RFC 9559)."""
    data = data.replace(b"\x9d\x01\x2a\x80\x02\x68\x01", b"\x9d\x01\x2a\x00\x20\x00\x20")
    if announced:
        data = data.replace(b"\xb0\x82\x02\x80", b"\xb0\x82\x20\x00").replace(b"\xba\x82\x01\x68", b"\xba\x82\x20\x00")
    return data


def playlists(canary: Canaries) -> dict[str, bytes]:
    """Texts by which demuxers of ffmpeg open other things, bare and behind the first bytes of media."""
    texts = {
        "hls": f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{canary.path}\n#EXTINF:1,\n{canary.url}\n"
        "#EXT-X-ENDLIST\n",
        "hls-key": f'#EXTM3U\n#EXT-X-KEY:METHOD=AES-128,URI="{canary.url}"\n#EXTINF:1,\nfile:{canary.path}\n',
        "concat": f"ffconcat version 1.0\nfile '{canary.path}'\nfile '{canary.url}'\n",
        "dash": f'<?xml version="1.0"?><MPD><Period><BaseURL>{canary.url}</BaseURL></Period></MPD>\n',
        "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\nc=IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\n",
    }
    before = {
        "bare": b"",
        "webm": b"\x1a\x45\xdf\xa3",
        "mp4": b"\x00\x00\x00\x18ftypisom\x00\x00\x02\x00isomiso2",
        "ogg": b"OggS\x00\x02",
    }
    return {f"{form}-{name}": head + text.encode() for form, head in before.items() for name, text in texts.items()}


@dataclass(frozen=True, slots=True)
class Attacked:
    """A film of two people, and of others who uploaded what they should not."""

    made: Made
    touched: list[str]

    def reasons(self, who: str) -> list[str]:
        """What the manifest says of somebody, beyond that no client said `complete`."""
        manifest = self.made.manifest
        gaps = [gap.get("detail", gap["reason"]) for gap in manifest["gaps"] if gap["participantId"] == who]
        left_out = [item["reason"] for item in manifest["leftOut"] if item["participantId"] == who]
        return [reason for reason in (*gaps, *left_out) if reason != "unconfirmed"]

    def clips(self, who: str) -> list[tuple[int, int]]:
        tracks = [p["tracks"] for p in self.made.manifest["participants"] if p["participantId"] == who]
        clips = [clip for track in tracks[0] for segment in track["segments"] for clip in segment["clips"]]
        return [(clip["fromMs"], clip["toMs"]) for clip in clips]


def attack(folder: Path, redis_url: str, call: Capture, blobs: dict[str, list[bytes]], canary: Canaries) -> Attacked:
    recording_id = build_recording(folder, call, options=SMALL)
    for who, data in blobs.items():
        add(folder, recording_id, who, data)
    made = make_film(folder, redis_url, recording_id)
    export_all(folder, redis_url, recording_id)
    return Attacked(made, canary.touched())


def export_all(folder: Path, redis_url: str, recording_id: str) -> None:
    """Every track's files, where they can be made; refusals are told by the export's own job."""
    storage = LocalStorage(folder, fsync=False)
    build = planning.plan(storage, settings_for(folder, redis_url), repository.load(storage, recording_id))
    for track in build.recording.tracks():
        for file in plan_files(build, track):
            try:
                write_file(storage, build, track, file, folder / f"{track.track_id}.{file.extension}")
            except (av.FFmpegError, MediaUnreadable, ValueError):
                continue


def others_are_unharmed(attacked: Attacked, call: Capture) -> None:
    assert attacked.made.status is Status.COMPLETED
    findings, view = examine(attacked.made.film, call)
    assert len(view.times_ms) == LENGTH_MS * 30 // 1000
    for name, found in findings.items():
        assert found.heard[0] == found.heard[1] > 0, name
        assert found.seen[0] == found.seen[1] > 0, name


# ── what is known to be dangerous ────────────────────────────────────────────────────────────────────────────────────
@pytest.fixture(scope="module")
def attacked(tmp_path_factory: pytest.TempPathFactory, index_server: str, call: Capture) -> Iterator[Attacked]:
    folder = tmp_path_factory.mktemp("hostile")
    with canaries(folder) as canary:
        blobs = {
            "hole": [webm([0, 500, 1000, 20 * HOUR_MS, 20 * HOUR_MS + 500])],
            "early": [webm([0, *range(30 * HOUR_MS, 30 * HOUR_MS + 3000, 500)])],
            "huge": [enlarged_to_8192(webm([0, 500]), announced=True)],
            "grown": [enlarged_to_8192(webm([0, 500]), announced=False)],
            **{name: [data[:40], data[40:]] for name, data in playlists(canary).items()},
        }
        yield attack(folder, index_server, call, blobs, canary)


def test_the_others_are_seen_and_heard(attacked: Attacked, call: Capture) -> None:
    others_are_unharmed(attacked, call)


def test_nothing_was_opened_and_nobody_called(attacked: Attacked) -> None:
    assert attacked.touched == []


def test_the_canaries_would_have_told(tmp_path: Path) -> None:
    with canaries(tmp_path) as canary:
        assert canary.touched() == []
        (tmp_path / "list.m3u8").write_bytes(playlists(canary)["bare-hls"])
        # what happens where nothing is forced and nothing forbidden
        loose = ["-protocol_whitelist", "file,http,tcp", "-allowed_extensions", "ALL", "-rw_timeout", "1000000"]
        with pytest.raises(RenderFailed):
            runner.run([*loose, "-i", str(tmp_path / "list.m3u8"), "-f", "null", "-"], timeout_s=30)
        told = set(canary.touched())
    assert told == {"the file was opened", "the port was called"}


def test_playlists_in_disguise_are_told_as_unreadable(attacked: Attacked) -> None:
    for name in [p["participantId"] for p in attacked.made.manifest["participants"]]:
        if "-" in name:
            assert attacked.reasons(name), name
            assert attacked.clips(name) == [], name


def test_a_hole_of_twenty_hours_leaves_what_is_before_it(attacked: Attacked) -> None:
    (reason,) = attacked.reasons("hole")
    assert "leap by 19 h; 2 packets" in reason
    ((from_ms, to_ms),) = attacked.clips("hole")
    assert (from_ms, 1000 < to_ms <= LENGTH_MS) == (0, True)


def test_what_is_behind_one_wrong_stamp_is_placed_by_when_it_came(attacked: Attacked) -> None:
    assert "leap by 30 h; 1 packets" in attacked.reasons("early")[0]
    ((from_ms, to_ms),) = attacked.clips("early")
    assert 0 <= from_ms < to_ms <= LENGTH_MS


def test_pictures_of_8192_pixels_are_not_decoded(attacked: Attacked) -> None:
    assert "8192x8192 pixels are more than allowed" in attacked.reasons("huge")[0]
    assert attacked.reasons("grown"), "they were announced as small ones, so the decoder has to refuse them"


# ── whatever comes ───────────────────────────────────────────────────────────────────────────────────────────────────
def flipped(data: bytearray, dice: random.Random) -> None:
    for _ in range(dice.randint(1, 200)):
        data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)


def beheaded(data: bytearray, dice: random.Random) -> None:
    """Turned over where containers keep their sizes."""
    for _ in range(dice.randint(1, 20)):
        data[dice.randrange(4, min(600, len(data)))] = dice.randrange(256)


def torn(data: bytearray, dice: random.Random) -> None:
    del data[dice.randrange(8, len(data)) :]


def gutted(data: bytearray, dice: random.Random) -> None:
    at = dice.randrange(8, len(data))
    del data[at : at + dice.randint(1, 5000)]


def stuffed(data: bytearray, dice: random.Random) -> None:
    at = dice.randrange(8, len(data))
    data[at:at] = dice.randbytes(dice.randint(1, 5000))


def blinded(data: bytearray, dice: random.Random) -> None:
    at = dice.randrange(8, len(data))
    data[at : at + 3000] = bytes(len(data[at : at + 3000]))


def repeated(data: bytearray, dice: random.Random) -> None:
    at = dice.randrange(8, len(data))
    data += data[at : at + 20_000]


def enlarged(data: bytearray, dice: random.Random) -> None:
    """Numbers of the largest kind where numbers may be."""
    for _ in range(dice.randint(1, 5)):
        at = dice.randrange(4, len(data) - 8)
        data[at : at + 8] = dice.choice([b"\xff" * 8, b"\x7f" + b"\xff" * 7, b"\x01" + b"\xff" * 7, b"\x80" + bytes(7)])


MUTATIONS: tuple[Callable[[bytearray, random.Random], None], ...] = (
    *(flipped, beheaded, torn, gutted, stuffed, blinded, repeated, enlarged),
)
AT_ONCE = 20


def mutants(call: Capture, seed: int) -> dict[str, list[bytes]]:
    """People who upload real segments, bent; every second one in pieces of other sizes than the recorder's."""
    dice = random.Random(seed)
    found = {}
    for number in range(AT_ONCE):
        data = bytearray(dice.choice(call.runs).data)
        for _ in range(dice.randint(1, 2)):
            dice.choice(MUTATIONS)(data, dice)
        pieces = [bytes(data[a : a + 50_000]) for a in range(0, len(data), 50_000)] if number % 2 else [bytes(data)]
        found[f"m{number}"] = pieces
    return found


@pytest.mark.parametrize("seed", [7, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(100, 110))])
def test_mutations_of_real_media_end_and_are_told(seed: int, data_dir: Path, redis_url: str, call: Capture) -> None:
    """Twenty at once; the slow ones are two hundred."""
    with canaries(data_dir) as canary:
        attacked = attack(data_dir, redis_url, call, mutants(call, seed), canary)
    assert attacked.touched == []
    assert attacked.made.status is Status.COMPLETED
    with av.open(str(attacked.made.film)) as film:
        assert sum(1 for _ in film.decode(video=0)) == LENGTH_MS * 30 // 1000
    for number in range(AT_ONCE):
        who = f"m{number}"
        assert attacked.clips(who) or attacked.reasons(who), f"seed {seed}: nothing is told of {who}"
    for name in call.participants:
        assert attacked.reasons(name) == [], f"seed {seed}"


# ── processes ────────────────────────────────────────────────────────────────────────────────────────────────────────
def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def test_at_the_deadline_the_whole_group_is_killed_whatever_it_ignores(tmp_path: Path) -> None:
    stubborn = tmp_path / "ffmpeg"
    stubborn.write_text(
        f"#!/bin/sh\ntrap '' TERM INT HUP\n(trap '' TERM; echo $$ > {tmp_path}/started; exec sleep 600) &\n"
        f"echo $! > {tmp_path}/child\necho $$ > {tmp_path}/self\nwait\nsleep 600\n"
    )
    stubborn.chmod(stubborn.stat().st_mode | stat.S_IXUSR)
    with pytest.raises(RenderFailed, match="ended with -9"):
        runner.run([], timeout_s=5, configured=str(stubborn))
    for name in ("self", "child"):
        pid = int((tmp_path / name).read_text())
        deadline = time.monotonic() + 10
        while is_alive(pid):
            assert time.monotonic() < deadline, name
            time.sleep(0.02)


def test_ffmpeg_runs_within_limits_and_behind_those_who_take_chunks(tmp_path: Path) -> None:
    asked = tmp_path / "ffmpeg"
    asked.write_text(
        f"#!/bin/bash\n(ulimit -v; ulimit -f; ulimit -t; ulimit -c; nice) > {tmp_path}/told\n"
        f"readlink /proc/self/fd/0 >> {tmp_path}/told\n"
    )
    asked.chmod(asked.stat().st_mode | stat.S_IXUSR)
    runner.run([], timeout_s=30, configured=str(asked))
    addresses_kib, file_kib, processor_s, core, nice, given = (tmp_path / "told").read_text().split()
    assert int(addresses_kib) <= 6 * 1024**2
    assert int(file_kib) <= 8 * 1024**2
    assert int(processor_s) <= 30 * (os.cpu_count() or 1) + 1
    assert (core, given) == ("0", "/dev/null")
    assert int(nice) == max(5, os.nice(0))


def _crash() -> bytes:
    faulthandler.disable()  # pytest's, which would tell of it
    os.kill(os.getpid(), signal.SIGSEGV)
    return b""


def _loop() -> bytes:
    while True:
        pass


def _swallow() -> bytes:
    return bytes(np.ones(16 * 1024**3, np.uint8))


@pytest.mark.parametrize(
    ("work", "told"), [(_crash, "ended with -11"), (_loop, "took more than"), (_swallow, "ended with 1")]
)
def test_a_library_that_breaks_does_so_apart(work: Callable[[], bytes], told: str) -> None:
    with pytest.raises(MediaUnreadable, match=told):
        apart(work, timeout_s=2 if work is _loop else 60)
    assert apart(lambda: b"x" * 5_000_000, timeout_s=60) == b"x" * 5_000_000, "and the next one is read"
