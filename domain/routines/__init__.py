"""Routines, their triggers, and what becomes of a firing: runs, slots, backfills, deadlines."""
