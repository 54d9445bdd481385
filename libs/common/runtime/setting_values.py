"""Values that several sections of the settings hold."""

import re
from typing import Annotated, Final

import msgspec

Port = Annotated[int, msgspec.Meta(ge=1, le=65_535)]


Count = Annotated[int, msgspec.Meta(ge=1, le=1_000_000_000)]
"""More than anybody means, and as much as every part of the bridge can count."""


BasisPoints = Annotated[float, msgspec.Meta(ge=0, le=10_000)]


VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)


VARIABLE_FORM: Final = "the name of an environment variable, never the secret itself"
