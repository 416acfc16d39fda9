"""`routines demo`: follows one scheduled run on a running system, from the tick to its end."""
