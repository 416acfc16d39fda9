"""The interface for monitoring: health, metrics, traces of requests."""
