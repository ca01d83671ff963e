"""What is stored is never encoded again; what changed is, and only that."""

from __future__ import annotations

import json
from pathlib import Path

from callreel import keys, repository
from callreel.states import Status
from callreel.storage.local import LocalStorage
from tests.kit.build import build_recording
from tests.kit.call_generator import generate_call
from tests.kit.line import make_film


def test_second_render_encodes_nothing_and_a_lost_chunk_only_the_windows_that_name_it(
    data_dir: Path, redis_url: str
) -> None:
    capture = generate_call(seed=5, count=2, length_ms=19_000)
    recording_id = build_recording(data_dir, capture, options={"preset": "480p"})
    storage = LocalStorage(data_dir, fsync=False)

    first = make_film(data_dir, redis_url, recording_id)
    assert first.status is Status.COMPLETED
    assert sorted(first.encoded) == sorted(first.window_keys)
    assert len(first.window_keys) == 3

    second = make_film(data_dir, redis_url, recording_id)
    assert second.encoded == []
    assert second.film == first.film
    assert second.manifest == first.manifest

    chunks = repository.read_chunks(storage, recording_id)
    lost = next(chunk for chunk in chunks if chunk.seq == 2)
    naming = {k for k, key in enumerate(first.window_keys) if lost.sha256 in _named(storage, recording_id, key)}
    assert 0 < len(naming) < 3
    storage.delete(keys.chunk(recording_id, lost))

    third = make_film(data_dir, redis_url, recording_id)
    changed = {k for k in range(3) if third.window_keys[k] != first.window_keys[k]}
    assert changed == naming
    assert sorted(third.encoded) == sorted(third.window_keys[k] for k in naming)
    assert third.film != first.film
    assert [gap["chunks"] for gap in third.manifest["gaps"]] == [[[lost.seq, lost.seq]]]


def _named(storage: LocalStorage, recording_id: str, key: str) -> set[str]:
    """Digests that the stored plan of a window names."""
    plan = json.loads(storage.get(keys.window_plan(recording_id, key)))["plan"]
    return {digest for item in (*plan["video"], *plan["audio"]) for digest in (item["head"], *item["chunks"])}
