"""All dialects there are, in the order in which they are asked whether a body is theirs."""

from types import MappingProxyType
from typing import Final

from libs.common.wire.dialects import factorqx, nova
from libs.common.wire.dialects.dialect import Dialect

DIALECTS: Final[tuple[Dialect, ...]] = (nova.DIALECT, factorqx.DIALECT)
"""The first that recognises a body reads it, so the more peculiar shapes come first."""

BY_NAME: Final = MappingProxyType({dialect.name: dialect for dialect in DIALECTS})
