"""The log: how units of work read streams and append events, exactly once and in order."""
