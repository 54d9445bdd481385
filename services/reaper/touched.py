"""What log lines of the reaper say about an instruction that it did something to."""

from libs.common.store.upkeep import Touched
from libs.common.telemetry.subject import instruction_fields


def fields_of(one: Touched) -> dict[str, object]:
    """Return the fields that stand on each line about it."""
    return instruction_fields(one.alert_id, one.account, one.market, one.body, one.elapsed_ms)
