"""Read models of routines with their triggers, and of their revisions."""
