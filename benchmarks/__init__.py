"""Measurements: speed always as a ratio to something measured beside it, quality always with its floor."""
