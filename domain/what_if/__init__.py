"""What a routine's past would have been under other settings: the past is replayed with the rules by which it came about."""
