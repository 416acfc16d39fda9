"""The event log: units of work read streams from it and append events to it, exactly once and in order."""
