"""What an account needs that is not installed with the rest."""

from importlib.util import find_spec

from libs.common.domain.errors import ConfigError
from libs.common.runtime.account_settings import CcxtAccount
from libs.common.runtime.settings import Settings


def check_extras(settings: Settings) -> None:
    """Refuse accounts whose broker cannot be loaded.

    Raises:
        ConfigError: An extra is missing; the text says how to get it.
    """
    for name, account in settings.accounts.items():
        if isinstance(account, CcxtAccount) and find_spec("ccxt") is None:
            raise ConfigError(
                f"accounts.{name}: its broker needs ccxt, which is not installed: `make up EXTRAS=ccxt`"
            )
