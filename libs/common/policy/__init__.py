"""Decisions without side effects: they take facts and return what is to be done."""
