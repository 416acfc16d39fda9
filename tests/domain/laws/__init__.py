"""The laws of schedules, runs and slots, whatever happens in whatever order."""
