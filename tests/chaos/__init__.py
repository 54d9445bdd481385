"""Faults of every kind on a running bridge under load, and what must hold all the same."""
