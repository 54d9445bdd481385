"""One module per dialect: a body's bytes to what it means.

Each has `parse(body)`, which refuses what is not of that form at all, and returns a document with `credential`
and `read()`, which refuses what is not valid. The credential is checked between the two, so a stranger learns
nothing about validity.
"""
