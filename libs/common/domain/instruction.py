"""Instructions: an alert for one account, as it waits in a lane."""

from decimal import Decimal
from typing import Final

import msgspec

from libs.common.domain.alert import Action
from libs.common.domain.ids import AccountName, AlertId, Market

SCHEMA_VERSION: Final = 1
"""Raised when an older worker could misread an instruction; workers leave newer ones alone."""


class Instruction(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a worker needs to execute an alert for one account."""

    alert_id: AlertId
    account: AccountName
    market: Market
    action: Action
    quantity: Decimal | None = None
    price: Decimal | None = None
    strategy: str | None = None
