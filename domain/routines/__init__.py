"""Routines, their triggers, what becomes of occurrences (settlement.py: due, late, missed, caught up with) and of firings."""
