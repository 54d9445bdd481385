"""Changes to the scripts that a test must notice."""
import os
from collections.abc import Callable

def mutated_reader() -> Callable[[str], str] | None:
    return None
