"""Read models that schedules are fired from, and that show what became of occurrences and runs."""
