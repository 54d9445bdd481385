"""All dialects there are, in the order in which they are asked whether a body is theirs."""

from types import MappingProxyType
from typing import Final

from libs.common.domain.errors import AdmissionError
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


def in_senders_words(error: AdmissionError, dialect: str) -> AdmissionError:
    """Return a refusal that names a field of our model, with the dialect's own name for it."""
    known = BY_NAME.get(dialect)
    if known is None or error.field is None or error.field not in known.names:
        return error
    own = known.names[error.field]
    detail = error.detail.replace(f'"{error.field}"', f'"{own}"', 1)
    return AdmissionError(error.status, error.code, detail, field=own, retry_after_s=error.retry_after_s)
