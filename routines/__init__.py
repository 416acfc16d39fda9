"""The `routines` command: the settings, the composition of the system, and how it runs on a machine."""
