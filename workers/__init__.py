"""The media shell: what RQ workers run. Knows `callreel`, ffmpeg and PyAV; never imports `ingest` or Starlette."""
