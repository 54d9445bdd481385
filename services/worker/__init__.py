"""Executes lanes: reads tokens, and takes the instructions of each lane to its broker one after the other."""
