"""Shared parts of everything that speaks HTTP."""
