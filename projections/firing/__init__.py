"""Read models from which schedules are fired, and which show what became of occurrences and runs."""
