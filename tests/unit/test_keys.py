"""Keys: what is written into a name can be read out of it again, and names order as things do."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callreel import keys
from callreel.errors import InvalidId
from callreel.model import Chunk
from tests.unit.domain import chunk

REC = "rec_call_1732259000000"

ids = st.text("ABCxyz019_-", min_size=1, max_size=64)
wire_int = st.integers(-999_999_999_999_999, 999_999_999_999_999)  # what RFC 9651 allows
chunks = st.builds(
    Chunk,
    participant_id=ids,
    track_id=ids,
    seg=st.integers(0, 10**7),
    seq=st.integers(0, 10**7),
    received_ms=st.integers(0, 10**14),
    start_ms=wire_int,
    at_ms=st.none() | wire_int,
    offset_ms=st.none() | wire_int,
    err_ms=st.none() | wire_int,
    sha256=st.text("0123456789abcdef", min_size=64, max_size=64),
    size_bytes=st.integers(0, 10**10),
)


@given(chunks)
def test_a_chunk_explains_itself_by_its_key(chunk: Chunk) -> None:
    key = keys.chunk(REC, chunk)
    assert keys.parse_chunk(key, chunk.size_bytes) == chunk
    assert key.startswith(keys.chunks_prefix(REC))
    assert max(len(part) for part in key.split("/")) <= 255  # what file systems take


@given(chunks, chunks)
def test_two_chunks_never_share_a_key(one: Chunk, other: Chunk) -> None:
    same = all(getattr(one, name) == getattr(other, name) for name in Chunk.__slots__ if name != "size_bytes")
    assert (keys.chunk(REC, one) == keys.chunk(REC, other)) == same


@given(st.lists(st.tuples(st.integers(0, 999_999), st.integers(0, 999_999)), max_size=30))
def test_names_are_in_the_order_of_things(slots: list[tuple[int, int]]) -> None:
    named = sorted(slots, key=lambda slot: keys.chunk(REC, chunk(slot[1], seg=slot[0])))
    assert named == sorted(slots)
    numbers = sorted({number for slot in slots for number in slot})
    assert sorted(numbers, key=lambda n: keys.journal_fact(REC, n)) == numbers
    assert sorted(numbers, key=lambda n: keys.call_slot("call", n)) == numbers


@pytest.mark.parametrize(
    "key",
    [
        "",
        "recordings",
        f"recordings/{REC}/journal/00000001.json",
        f"recordings/{REC}/chunks/ada/cam/000000/",
        f"recordings/{REC}/chunks/ada/cam/000000/000000.1.2.3.4.5.short",
        f"recordings/{REC}/chunks/ada/cam/000000/000000.1.x.3.4.5." + "a" * 64,
        f"recordings/{REC}/chunks/ada/cam/zero/000000.1.2.3.4.5." + "a" * 64,
        f"recordings/{REC}/chunks/ada/cam/000000/000000.1.2.3.4." + "a" * 64,
        f"recordings/{REC}/chunks/ada/cam/000000/more/000000.1.2.3.4.5." + "a" * 64,
    ],
)
def test_other_names_are_no_chunks(key: str) -> None:
    assert keys.parse_chunk(key, 1) is None


@pytest.mark.parametrize("value", ["a", "A-Z_09", "x" * 64])
def test_ids_pass_as_they_are(value: str) -> None:
    assert keys.check_id(value, "callId") == value
    assert keys.call_of(keys.recording_id(value, 1732259000000)) == value


@pytest.mark.parametrize(
    "value", ["", "x" * 65, "a/b", "..", "a b", "a.b", "ä", "a\n", "\n", "a\x00", "%2e", None, 7, ["a"], "٣"]
)
def test_other_ids_are_refused_by_name(value: object) -> None:
    with pytest.raises(InvalidId) as refused:
        keys.check_id(value, "trackId")
    assert refused.value.extra == {"field": "trackId"}
    assert "trackId" in refused.value.detail


def test_a_refusal_does_not_repeat_a_long_id() -> None:
    with pytest.raises(InvalidId) as refused:
        keys.check_id("x" * 1_000_000, "callId")
    assert len(refused.value.detail) < 300


@given(ids, st.integers(10**12, 10**13))
def test_a_recordings_id_names_its_call(call_id: str, at_ms: int) -> None:
    assert keys.call_of(keys.recording_id(call_id, at_ms)) == call_id


@pytest.mark.parametrize(
    "value",
    ["", "rec__1732259000000", "rec_a_", "rec_a_173", "a_1732259000000", "rec_a_1732259000000/..",
     "rec_a_1732259000000\n", "rec_a_" + "1" * 10_000, "rec_a_١٧٣٢٢٥٩٠٠٠٠٠٠", f"rec_{'x' * 65}_1732259000000"],
)  # fmt: skip
def test_what_is_no_recordings_id_is_refused(value: str) -> None:
    with pytest.raises(InvalidId):
        keys.check_recording_id(value)


def test_everything_of_a_recording_lies_below_its_prefix() -> None:
    made = [
        keys.journal_fact(REC, 1),
        keys.segment_prefix(REC, "ada", "cam", 0),
        keys.segment_facts(REC, "ada", "cam", 0),
        keys.segment_head(REC, "ada", "cam", 0),
        keys.window(REC, "k"),
        keys.window_plan(REC, "k"),
        keys.window_note(REC, "k"),
        keys.scan(REC, "d"),
        keys.artifact(REC, "tracks/ada/cam.webm", "aa"),
        keys.chunk(REC, chunk(0)),
    ]
    assert all(key.startswith(keys.recording_prefix(REC)) for key in made)
    assert len(set(made)) == len(made)
    derived = [key for key in made if key.startswith(keys.derived_prefix(REC))]
    assert derived == made[4:8]
