"""What can be asked of the system, who may ask it, and how decisions are recorded."""
