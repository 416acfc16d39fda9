"""The write side: what clients may request, who may request it, and how decisions are recorded."""
