"""Relay: signs posts that cannot sign themselves, and carries the answer back."""
