"""Tracks over HTTP: whose they are, what of them is there, and that all was sent."""

from __future__ import annotations

from typing import Any

import pytest

from callreel.repository import read_chunks

from .desk import Desk, bearer, refused, said


def test_a_track_is_announced_once(desk: Desk) -> None:
    recording_id = desk.start()
    first = said(desk.track(recording_id), 201)
    again = said(desk.track(recording_id), 200)
    assert first["trackId"] == "cam"
    assert again["limits"] == first["limits"]


def test_a_track_belongs_to_who_came_first(desk: Desk) -> None:
    recording_id = desk.begun()
    desk.as_who = bearer("participant", "bob")
    refused(desk.track(recording_id), 403, "not_your_track")
    refused(desk.chunk(recording_id, 0), 403, "not_your_track")
    refused(desk.complete(recording_id, []), 403, "not_your_track")
    refused(desk.get(desk.url(recording_id, "/tracks/cam/chunks")), 403, "not_your_track")
    said(desk.track(recording_id, "bobs"), 201)
    said(desk.chunk(recording_id, 0, track_id="bobs"), 201)


def test_a_service_names_whose_track_it_is(desk: Desk) -> None:
    recording_id = desk.start()
    desk.as_who = bearer("service", "backend", call="*")
    assert refused(desk.track(recording_id), 422, "invalid_option")["field"] == "participantId"
    refused(desk.track(recording_id, participantId="a b"), 400, "invalid_id")
    said(desk.track(recording_id, participantId="carol", label="Carol's phone"), 201)
    said(desk.chunk(recording_id, 0), 201)
    [chunk] = read_chunks(desk.storage, recording_id)
    assert chunk.participant_id == "carol"
    [who] = said(desk.get(desk.url(recording_id)), 200)["participants"]
    assert (who["participantId"], who["name"]) == ("carol", "Carol's phone")


def test_nobody_else_speaks_for_somebody(desk: Desk) -> None:
    recording_id = desk.start()
    refused(desk.track(recording_id, participantId="bob"), 403, "forbidden")
    said(desk.track(recording_id, participantId="alice"), 201)
    desk.as_who = bearer("participant", "user|42")
    refused(desk.track(recording_id, "other"), 400, "invalid_id")
    desk.as_who = bearer("participant", "user|42", participant="p42", name="Fortytwo")
    said(desk.track(recording_id, "other"), 201)
    people = said(desk.get(desk.url(recording_id)), 200)["participants"]
    assert [(who["participantId"], who["name"]) for who in people] == [("alice", "alice"), ("p42", "Fortytwo")]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"source": "oven"}, "source"),
        ({"kind": "smell"}, "kind"),
        ({"kind": 1}, "kind"),
        ({"label": "x" * 201}, "label"),
        ({"label": {}}, "label"),
    ],
)
def test_tracks_that_cannot_be(desk: Desk, body: dict[str, Any], field: str) -> None:
    recording_id = desk.start()
    assert refused(desk.track(recording_id, **body), 422, "invalid_option")["field"] == field


def test_complete_says_what_is_missing(desk: Desk) -> None:
    recording_id = desk.begun()
    said(desk.chunk(recording_id, 0), 201)
    said(desk.chunk(recording_id, 3), 201)
    segments = [{"seg": 0, "chunks": 6, "bytes": 600}, {"seg": 1, "chunks": 1, "bytes": 100}]
    answer = said(desk.complete(recording_id, segments), 202)
    holes = [{"seg": 0, "chunks": [[1, 2], [4, 5]]}, {"seg": 1, "chunks": [[0, 0]]}]
    assert answer["missing"] == holes
    for seq in (1, 2, 4, 5):
        said(desk.chunk(recording_id, seq), 201)
    said(desk.chunk(recording_id, 0, seg=1), 201)
    assert said(desk.complete(recording_id, segments), 200)["missing"] == []
    assert desk.jobs.advanced == []
    desk.stop()
    desk.jobs.advanced.clear()
    said(desk.complete(recording_id, segments), 200)
    assert desk.jobs.advanced == [recording_id]


def test_a_host_reads_what_is_there_of_anybody_and_writes_to_nobody(desk: Desk) -> None:
    recording_id = desk.begun()
    desk.as_who = bearer("participant", "bob")
    said(desk.track(recording_id, "bobs"), 201)
    said(desk.chunk(recording_id, 0, track_id="bobs"), 201)
    for role in ("host", "service", "participant"):
        desk.as_who = bearer(role, "bob" if role == "participant" else "somebody")
        here = said(desk.get(desk.url(recording_id, "/tracks/bobs/chunks")), 200)
        assert here == {"segments": [{"seg": 0, "have": [[0, 0]], "next": 1, "bytes": 100}]}
    desk.as_who = bearer("host", "somebody")
    refused(desk.complete(recording_id, [], "bobs"), 403, "not_your_track")
    refused(desk.chunk(recording_id, 1, track_id="bobs"), 403, "not_your_track")


@pytest.mark.parametrize(
    "segments",
    [
        None,
        "all",
        [1],
        [{"seg": 0, "chunks": 1}],
        [{"seg": 0, "chunks": -1, "bytes": 0}],
        [{"seg": 0, "chunks": True, "bytes": 0}],
        [{"seg": 0, "chunks": 10**9, "bytes": 0}],
        [{"seg": 0, "chunks": 1.5, "bytes": 0}],
    ],
)
def test_completions_that_cannot_be(desk: Desk, segments: Any) -> None:
    recording_id = desk.begun()
    answer = desk.complete(recording_id, segments)
    assert refused(answer, 422, "invalid_option")["field"] == "segments"


def test_a_completion_is_bounded_and_the_bound_is_named(desk: Desk) -> None:
    recording_id = desk.begun()
    many = [{"seg": seg, "chunks": 0, "bytes": 0} for seg in range(1001)]
    assert refused(desk.complete(recording_id, many), 422, "invalid_option")["limit"] == 1000
    said(desk.complete(recording_id, many[:1000]), 200)
    long = [{"seg": 0, "chunks": 1_000_001, "bytes": 0}]
    assert refused(desk.complete(recording_id, long), 422, "invalid_option")["limit"] == 1_000_000


def test_uploads_are_told_to_their_owner_and_all_to_the_host(desk: Desk) -> None:
    recording_id = desk.begun()
    said(desk.chunk(recording_id, 1), 201)
    desk.as_who = bearer("participant", "bob")
    said(desk.track(recording_id, "bobs"), 201)
    mine = said(desk.get(desk.url(recording_id, "/uploads")), 200)["tracks"]
    assert mine == [{"participantId": "bob", "trackId": "bobs", "complete": False, "segments": []}]
    for role in ("host", "service"):
        desk.as_who = bearer(role, "somebody")
        everybody = said(desk.get(desk.url(recording_id, "/uploads")), 200)["tracks"]
        assert [track["trackId"] for track in everybody] == ["cam", "bobs"]
        assert everybody[0]["segments"] == [{"seg": 0, "have": [[1, 1]], "next": 0, "bytes": 100}]
