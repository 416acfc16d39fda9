"""The `routines` command: settings, the composition of the system, and how it runs on a machine."""
