"""Keeps lanes moving: what is parked comes due, what was held by the dead goes on, what was lost is found."""
