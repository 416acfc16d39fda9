"""The embedded Postgres: its programs, its cluster, and who may log in."""
