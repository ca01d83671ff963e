"""The domain of Callreel: what a recording of a call is. Imports neither `ingest` nor `workers`."""

__version__ = "0.1.0"
