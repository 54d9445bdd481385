"""Fails every step of the happy path once, in every way, and looks how it ends.

`wire` finds messages in bytes and names them; `tap` sits between one process and what it talks to, and strikes at one
of them; `cell` is a bridge with a tap on every line; `flows` are the happy paths, `steps` what happens on them and what
may go wrong there; `scenario` is one fault and what must hold afterwards; `runner` goes through many.

`python -m tests.sweep --help` runs it.
"""
