"""The example of an exchange's account in the reference is one, and shows every key of its own with its default."""

import re
from pathlib import Path

import msgspec

from libs.common.policy.symbols import SymbolMode
from libs.common.runtime.account_settings import AccountSettings, CcxtAccount
from tests.unit.libs.common.runtime.conftest import Load

REFERENCE = Path(__file__).parents[5] / "config" / "bascule.yaml"


def test_the_example_in_the_reference_holds_every_key_with_its_default(load: Load) -> None:
    found = re.search(r"^# testnet:.*\n(?:#   .*\n)+", REFERENCE.read_text(), re.MULTILINE)
    assert found is not None
    example = "".join(f"  {line.removeprefix('# ')}\n" for line in found[0].splitlines())
    settings = load(f"webhooks: {{default: {{secret: S, accounts: [testnet]}}}}\naccounts:\n{example}")
    account = settings.accounts["testnet"]  # type: ignore[index]
    assert isinstance(account, CcxtAccount)
    inherited = {field.name for field in msgspec.structs.fields(AccountSettings)} - {"symbols"}
    for field in msgspec.structs.fields(CcxtAccount):
        if field.name in inherited:
            continue
        assert f"#   {field.encode_name}:" in found[0]
        if field.default is not msgspec.NODEFAULT and field.default is not None:
            assert getattr(account, field.name) == field.default


def test_an_exchange_s_account_refuses_symbols_that_are_not_in_the_table(load: Load) -> None:
    text = """\
webhooks: {default: {secret: S, accounts: [e]}}
accounts: {e: {broker: ccxt, exchange: bybit, api_key: K, secret: S}, f: {broker: ccxt, exchange: okx, api_key: K, secret: S, symbols: as-sent}}
"""
    accounts = load(text).accounts
    assert [one.symbols for one in accounts.values()] == [SymbolMode.STRICT, SymbolMode.AS_SENT]
    assert all(one.has_default_limits and one.is_reconciled for one in accounts.values())
