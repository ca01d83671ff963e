"""The web shell: what a browser or a backend says over HTTP becomes calls of `callreel`. Never runs ffmpeg."""
