"""All dialects there are, in the order in which they are asked whether a body is theirs."""

from types import MappingProxyType
from typing import Final

from libs.common.wire.dialects import (
    algo_trade_analytics,
    autoview,
    bascule,
    crosstrade,
    factorqx,
    junta,
    lesson5,
    nova,
    octobot,
    openalgo,
    pineconnector,
    three_commas,
    traderspost,
    tv_hub,
    whook,
)
from libs.common.wire.dialects.dialect import Dialect

DIALECTS: Final[tuple[Dialect, ...]] = (
    bascule.DIALECT,
    three_commas.DIALECT,
    tv_hub.DIALECT,
    algo_trade_analytics.DIALECT,
    openalgo.DIALECT,
    openalgo.SIGNAL_DIALECT,
    nova.DIALECT,
    junta.DIALECT,
    lesson5.DIALECT,
    factorqx.DIALECT,
    traderspost.DIALECT,
    octobot.DIALECT,
    crosstrade.DIALECT,
    pineconnector.DIALECT,
    autoview.DIALECT,
    whook.DIALECT,
)
"""The first that recognises a body reads it, so the more peculiar shapes come first."""

BY_NAME: Final = MappingProxyType({dialect.name: dialect for dialect in DIALECTS})
