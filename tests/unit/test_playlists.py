"""Playlists, to the letter."""

from __future__ import annotations

from dataclasses import replace

import pytest

from callreel import boxes, playlists
from callreel.errors import RenderFailed
from callreel.model import Options, Recording
from callreel.outputs import DEFAULT
from callreel.profiles import PROFILES
from callreel.states import Status
from callreel.streams import LIVE, Piece, Stream, streamed

RUNNING = Recording(
    recording_id="rec_c1_1732259000000",
    call_id="c1",
    status=Status.RECORDING,
    started_ms=1732259000000,  # 2024-11-22T07:03:20Z
    started_by="host",
    pauses=((1732259010000, 1732259070000),),  # a minute, ten seconds in
)
WHOLE = tuple(Piece(k=k, key=letter * 4, first=k * 240, pictures=240) for k, letter in enumerate("ab"))
LIVE_STREAM = Stream(recording=RUNNING, profile=PROFILES["720p"], edition=LIVE, pieces=WHOLE)
OVER = replace(
    LIVE_STREAM,
    recording=replace(RUNNING, status=Status.COMPLETED, stopped_ms=1732259079467),
    edition="f00d",
    pieces=(*WHOLE, Piece(k=2, key="cccc", first=480, pictures=104)),
)


def test_hls_grows_while_the_recording_runs() -> None:
    assert playlists.hls(LIVE_STREAM, "expires=1&signature=2") == (
        "#EXTM3U\n"
        "#EXT-X-VERSION:7\n"
        "#EXT-X-TARGETDURATION:8\n"
        "#EXT-X-MEDIA-SEQUENCE:0\n"
        "#EXT-X-PLAYLIST-TYPE:EVENT\n"
        "#EXT-X-INDEPENDENT-SEGMENTS\n"
        '#EXT-X-MAP:URI="init-aaaa.mp4?expires=1&signature=2"\n'
        "#EXT-X-PROGRAM-DATE-TIME:2024-11-22T07:03:20.000Z\n"
        "#EXTINF:8.000000,\n"
        "0-aaaa.m4s?expires=1&signature=2\n"
        "#EXT-X-PROGRAM-DATE-TIME:2024-11-22T07:03:28.000Z\n"
        "#EXTINF:8.000000,\n"
        "1-bbbb.m4s?expires=1&signature=2\n"
    )


def test_hls_ends_and_what_was_there_stays() -> None:
    live, over = (playlists.hls(stream, "s=1").splitlines() for stream in (LIVE_STREAM, OVER))
    assert [line for line in live if not line.startswith("#EXT-X-PLAYLIST-TYPE")] == [
        line for line in over if not line.startswith("#EXT-X-PLAYLIST-TYPE")
    ][: len(live) - 1]
    assert "#EXT-X-PLAYLIST-TYPE:VOD" in over
    assert over[len(live) :] == [
        "#EXT-X-PROGRAM-DATE-TIME:2024-11-22T07:04:36.000Z",  # the pause is no part of the film, but of the day
        "#EXTINF:3.466667,",
        "2-cccc.m4s?s=1",
        "#EXT-X-ENDLIST",
    ]


def test_dash_grows_while_the_recording_runs() -> None:
    assert playlists.dash(LIVE_STREAM, "expires=1&signature=2", "avc1.64001f,mp4a.40.2", 1732259080000) == (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" profiles="urn:mpeg:dash:profile:isoff-live:2011"'
        ' minBufferTime="PT8S" type="dynamic" availabilityStartTime="2024-11-22T07:04:20.000Z"'
        ' publishTime="2024-11-22T07:04:40.000Z" minimumUpdatePeriod="PT2S" suggestedPresentationDelay="PT24S">\n'
        '  <Period id="0" start="PT0S">\n'
        '    <AdaptationSet id="0" contentType="video" mimeType="video/mp4" segmentAlignment="true" startWithSAP="1">\n'
        '      <Representation id="0" codecs="avc1.64001f,mp4a.40.2" bandwidth="3128000" width="1280" height="720">\n'
        '        <SegmentTemplate timescale="90000" startNumber="0"'
        ' initialization="init-aaaa.mp4?expires=1&amp;signature=2"'
        ' media="live/$Number$.m4s?expires=1&amp;signature=2">\n'
        "          <SegmentTimeline>\n"
        '            <S t="0" d="720000" r="1" />\n'
        "          </SegmentTimeline>\n"
        "        </SegmentTemplate>\n"
        "      </Representation>\n"
        "    </AdaptationSet>\n"
        "  </Period>\n"
        '  <UTCTiming schemeIdUri="urn:mpeg:dash:utc:direct:2014" value="2024-11-22T07:04:40.000Z" />\n'
        "</MPD>\n"
    )


def test_dash_is_static_afterwards() -> None:
    text = playlists.dash(OVER, "s=1", "avc1.64001f,mp4a.40.2", 0)
    assert 'type="static" mediaPresentationDuration="PT19.466667S"' in text
    assert "UTCTiming" not in text
    assert "minimumUpdatePeriod" not in text
    assert 'media="f00d/$Number$.m4s?s=1"' in text
    assert '<S t="0" d="720000" r="1" />' in text
    assert '<S d="312000" r="0" />' in text


@pytest.mark.parametrize(
    ("now_ms", "zero"),
    [
        (1732259009000, "07:03:20.000"),
        (1732259010000, "07:03:20.000"),
        (1732259040000, "07:03:50.000"),  # paused: as far from the end of what is recorded as at its beginning
        (1732259070000, "07:04:20.000"),
        (1732259090000, "07:04:20.000"),
    ],
)
def test_for_dash_time_stands_while_recording_is_paused(now_ms: int, zero: str) -> None:
    text = playlists.dash(LIVE_STREAM, "s=1", "", now_ms)
    assert f'availabilityStartTime="2024-11-22T{zero}Z"' in text


def test_the_first_film_of_everybody_that_players_know_is_streamed() -> None:
    webm = {"name": "a", "container": "webm", "videoCodec": "vp8", "audioCodec": "opus"}
    one = {**DEFAULT, "name": "b", "trackId": "cam"}
    assert streamed(Options()) == 0
    assert streamed(Options(outputs=(webm, one, dict(DEFAULT)))) == 2
    assert streamed(Options(outputs=(webm, one))) is None


def test_boxes_are_found_by_their_headers_and_those_that_are_cut_off_are_refused() -> None:
    asked = []
    data = b"\0\0\0\x0cftypmp42" + b"\0\0\0\x0amoov.." + b"\0\0\0\x01mdat" + (1016).to_bytes(8, "big") + bytes(1000)

    def read(start: int, length: int) -> bytes:
        asked.append(length)
        return data[start : start + length]

    assert boxes.split(read) == (22, len(data))
    assert max(asked) <= 16
    for broken in (data[:-1], data[22:], b"", b"\0\0\0\x07moov"):
        with pytest.raises(RenderFailed):
            boxes.split(boxes.of(broken))
