"""What auditors are told: what an event belongs to, and what happened in plain words."""
