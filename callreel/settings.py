"""Settings: read from the environment once, checked at start, passed on as one frozen value."""

from __future__ import annotations

from typing import Literal, get_args, get_origin

from pydantic import Field, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, SettingsConfigDict

from .errors import InvalidSettings

MIB = 1024 * 1024
_YEAR_S = 365 * 86400


class Settings(BaseSettings):
    """Every field is an environment variable with the prefix `CALLREEL_`. `docs/settings.md` is made from here."""

    model_config = SettingsConfigDict(env_prefix="CALLREEL_", frozen=True, extra="ignore", allow_inf_nan=False)

    jwt_secret: str = Field("", description="Key of the tokens (HS256) and of signed URLs, at least 32 characters.")
    redis_url: str = Field("redis://127.0.0.1:6379/0", description="The index and the job queue. `unix://` works too.")
    storage: str = Field("file:///var/lib/callreel", description="Where recordings live: `file:///…`.")
    public_url: str = Field(
        "", description="Address under which players reach this server; makes signed URLs absolute."
    )
    cors_origins: str = Field("", description="Exact origins of pages that may call, separated by commas.")
    webhook_urls: str = Field("", description="Addresses that are told events, `https://…`, separated by commas.")
    webhook_secret: str = Field(
        "", description="What signs webhooks, `whsec_…`. Two, separated by a comma, both sign: for changing it."
    )
    webhook_events: str = Field(
        "recordingstarted,recordingstopped,recordingcompleted,recordingfailed",
        description="Which events webhooks are told, separated by commas.",
    )
    webhook_allow_private: bool = Field(
        False, description="Webhooks may go to private addresses and over `http`. For receivers in your own network."
    )
    participants_watch: bool = Field(False, description="Participants may watch the files of their call's recordings.")
    render: Literal["rolling", "after-stop"] = Field(
        "rolling",
        description="When windows are rendered: `rolling`, as soon as nobody can change them, so that the film is "
        "ready seconds after stop; or `after-stop`, so that a call costs nothing while it runs.",
    )
    fsync: Literal["always", "never"] = Field("always", description="`never` trades power-loss safety for speed.")
    drain_s: float = Field(15, ge=0, le=3600, description="How long stop waits for tracks that are still uploading.")
    idle_s: float = Field(
        900,
        ge=1,
        le=_YEAR_S,
        description="A recording ends when neither a chunk nor anything else came for so long: all are gone.",
    )
    left_s: float = Field(
        120,
        ge=1,
        le=_YEAR_S,
        description="The same where every track is complete: everybody has left and said so.",
    )
    paused_s: float = Field(
        14400, ge=1, le=_YEAR_S, description="The same while a recording is paused, when nothing is expected to come."
    )
    delete_grace_s: float = Field(
        10,
        ge=0,
        le=3600,
        description="How long a deletion waits at least for what was on its way.",
    )
    late_s: float = Field(86400, ge=0, le=_YEAR_S, description="How long after stop chunks are still taken.")
    lateness_s: float = Field(
        6, ge=0, le=3600, description="How long a rolling window waits for a silent track; for `rolling`."
    )
    chunk_bytes: int = Field(64 * MIB, ge=1024, description="Largest chunk. One chunk after sleep can be tens of MB.")
    track_bytes: int = Field(16 * 1024 * MIB, ge=1024, description="Largest sum of a track's chunks.")
    recording_bytes: int = Field(128 * 1024 * MIB, ge=1024, description="Largest sum of a recording's chunks.")
    seq_ahead: int = Field(
        4096, ge=1, le=1_000_000, description="How far a chunk's number may be ahead of the highest one that is here."
    )
    inflight_bytes: int = Field(
        32 * MIB, ge=MIB, description="Bodies a process holds in memory; more goes over the disk."
    )
    min_free_bytes: int = Field(512 * MIB, ge=0, description="Free space below which chunks are refused with `507`.")
    window_ms: int = Field(
        8000, description="Length of a rendered window: 8 s, or a multiple, hold whole frames of sound and pictures."
    )
    ffmpeg: str = Field(
        "", description="Path of ffmpeg; empty: `ffmpeg` on PATH if 5.1 or newer, else imageio-ffmpeg's."
    )
    render_threads: int = Field(
        1, ge=1, le=64, description="Threads of a window's encoder and of each decoder, and cores it runs on."
    )
    render_timeout_s: int = Field(600, ge=10, le=86400, description="After this one window's ffmpeg is killed.")
    metrics_token: str = Field(
        "", description="Opens `/metrics`, at least 16 characters; without it only a service's token for `*` does."
    )
    access_log: str = Field(
        "off", min_length=1, description="Where it is written who did what to a recording: a file, `stdout` or `off`."
    )
    log: Literal["text", "json"] = Field("text", description="Form of the log lines.")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="What is logged at least.")
    failpoints: str = Field(
        "", description="For tests alone: where processes are made to break, `name:hit:action[,…]`. Leave it unset."
    )

    @property
    def origins(self) -> list[str]:
        return [origin.strip().rstrip("/") for origin in self.cors_origins.split(",") if origin.strip()]


def load_settings(**overrides: object) -> Settings:
    """Settings from the environment. Raises `InvalidSettings` with a sentence a person can act on."""
    try:
        return Settings(**overrides)  # type: ignore[arg-type]  # pydantic checks them; that is what it is for
    except ValidationError as error:
        lines = [
            f"CALLREEL_{name.upper()}: {e['msg']}" + ("" if "secret" in name else f" (got {e['input']!r})")
            for e in error.errors()
            for name in [str(e["loc"][0])]
        ]
        raise InvalidSettings("; ".join(lines)) from error


def as_markdown() -> str:
    """`docs/settings.md`."""
    lines = [
        "# Settings",
        "",
        "Read from the environment when a process starts, by every process the same. What cannot work is said then.",
        "`callreel up` chooses what it needs, and writes what other processes on the machine need to `callreel.env`.",
        "",
        "This page is made: `python -m callreel.settings > docs/settings.md`.",
        "",
        "| setting | default | values | meaning |",
        "|---|---|---|---|",
    ]
    for name, field in Settings.model_fields.items():
        default, values = _default(name, field), _values(field)
        lines.append(f"| `CALLREEL_{name.upper()}` | {default} | {values} | {field.description} |")
    return "\n".join(lines) + "\n"


def _default(name: str, field: FieldInfo) -> str:
    if field.default == "":
        return "none"
    size = f" ({field.default // MIB} MiB)" if name.endswith("_bytes") else ""
    return f"`{str(field.default).lower()}`{size}"


def _values(field: FieldInfo) -> str:
    """What a setting may be, in words."""
    if get_origin(field.annotation) is Literal:
        return ", ".join(f"`{value}`" for value in get_args(field.annotation))
    if field.annotation is bool:
        return "`true`, `false`"
    if field.annotation is str:
        return "text"
    least = next((rule.ge for rule in field.metadata if hasattr(rule, "ge")), None)
    most = next((rule.le for rule in field.metadata if hasattr(rule, "le")), None)
    kind = "whole number" if field.annotation is int else "number"
    return kind + (f", from {least}" if least is not None else "") + (f" to {most}" if most is not None else "")


if __name__ == "__main__":
    print(as_markdown(), end="")
