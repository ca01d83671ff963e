"""Settings: from the environment, checked at once, refused with a sentence that helps."""

from __future__ import annotations

import re

import pytest
from pydantic import ValidationError

from callreel.errors import InvalidSettings
from callreel.settings import Settings, load_settings


@pytest.fixture(autouse=True)
def empty_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(f"CALLREEL_{name.upper()}", raising=False)


def test_defaults_are_those_of_the_contract() -> None:
    settings = load_settings()
    assert (settings.drain_s, settings.late_s, settings.lateness_s) == (15, 86400, 6)
    assert (settings.fsync, settings.render, settings.participants_watch) == ("always", "rolling", False)
    assert settings.origins == []


def test_the_environment_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CALLREEL_DRAIN_S", "2.5")
    monkeypatch.setenv("CALLREEL_PARTICIPANTS_WATCH", "true")
    monkeypatch.setenv("CALLREEL_CORS_ORIGINS", " https://a.example/ ,https://b.example:8443,, ")
    monkeypatch.setenv("CALLREEL_WEBHOOK_URLS_OF_A_LATER_VERSION", "x")
    settings = load_settings()
    assert settings.drain_s == 2.5
    assert settings.participants_watch
    assert settings.origins == ["https://a.example", "https://b.example:8443"]


def test_what_is_said_in_words_beats_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CALLREEL_STORAGE", "file:///elsewhere")
    assert load_settings(storage="file:///here").storage == "file:///here"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DRAIN_S", "soon"),
        ("DRAIN_S", "-1"),
        ("FSYNC", "sometimes"),
        ("RENDER", "never"),
        ("CHUNK_BYTES", "1"),
        ("RENDER_THREADS", "0"),
        ("SEQ_AHEAD", "0"),
        ("PARTICIPANTS_WATCH", "perhaps"),
    ],
)
def test_a_value_that_cannot_work_is_refused_by_name(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"CALLREEL_{name}", value)
    with pytest.raises(InvalidSettings) as refused:
        load_settings()
    assert f"CALLREEL_{name}" in refused.value.detail
    assert repr(value) in refused.value.detail


def test_all_wrong_values_are_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CALLREEL_DRAIN_S", "soon")
    monkeypatch.setenv("CALLREEL_FSYNC", "sometimes")
    with pytest.raises(InvalidSettings) as refused:
        load_settings()
    assert {part.split(":")[0] for part in refused.value.detail.split("; ")} == {"CALLREEL_DRAIN_S", "CALLREEL_FSYNC"}


def test_settings_cannot_be_changed_later() -> None:
    settings = load_settings()
    for name in Settings.model_fields:
        with pytest.raises(ValidationError):
            setattr(settings, name, "x")


def test_every_setting_says_what_it_is_for() -> None:
    for name, field in Settings.model_fields.items():
        assert field.description, name
        assert re.search(r"[.:]$", field.description.strip()), name
