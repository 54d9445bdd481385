"""Every credential that a full run gets, and wrong ones that come close."""

from typing import Final

RELAY_QUERY: Final = "query of the upstream of the relay"
COLLECTOR_KEY: Final = "key of the collector"
KNOWN: Final = {
    "secret of the default webhook": "Wq7/hook+Secret'é4-default",
    "secret of a webhook of the configuration": "Zr5BtcOnlySecret0987",
    "token of a webhook of the configuration": "Tk3BtcOnlyToken4567890",
    "token of a webhook without a secret": "Tk8UrlAloneToken456789",
    "secret of a webhook made with its own": "Ho6/Own+Secret&Stdin8",
    "key of signatures": 'Sg2/sign"Key\\with+all%9',
    "secret of the http account": "Hb4/broker+Secret\\%ü-1",
    "key of the ccxt account": "Ak9ExchangeKey/+22xyzw",
    "secret of the ccxt account": "As1ExchangeSecret+/=77q",
    "passphrase of the ccxt account": 'Pp5 "pass" phrasé & more',
    "password of Redis": "Rd8/redis:Pass@word%w0",
    "key of the relay": "Rk6/relay+SigningKey#3",
    "token of the relay": "Rt7RelayToken0123456789",
    RELAY_QUERY: "Ru2QuerySecret01234567",
    COLLECTOR_KEY: "Oc5CollectorKey012345",
}
WRONG: Final = {
    "mistyped secret": KNOWN["secret of the default webhook"][:-1] + "X",
    "mistyped secret of the configuration": KNOWN["secret of a webhook of the configuration"][1:] + "Q",
    "mistyped token": "Tk3BtcOnlyToken4567891",
    "wrong secret": "Xw1-wrong/Secret+word",
    "wrong secret to a named webhook": "Xw2-wrong/Secret+named",
    "wrong secret in a broken body": "Xw3wrongSecretBroken12",
    "wrong secret in the query": "Xw4wrongSecretQuery123",
    "wrong secret in a header": "Xw5wrongSecretHeader12",
    "wrong token": "Xw6wrongTokenOfWebhook",
    "wrong password of Redis": "Xw7wrongRedisPassword1",
    "wrong token of the relay": "Xw8wrongTokenOfRelay12",
    "wrong signature": "Xw9wrongSignature12345",
}
REDIS_PASSWORD: Final = KNOWN["password of Redis"]
CREDENTIALS: Final = {
    "WEBHOOK_SECRET": KNOWN["secret of the default webhook"],
    "BTC_SECRET": KNOWN["secret of a webhook of the configuration"],
    "BTC_TOKEN": KNOWN["token of a webhook of the configuration"],
    "OPEN_TOKEN": KNOWN["token of a webhook without a secret"],
    "SIGNING_KEY": KNOWN["key of signatures"],
    "LAYER_SECRET": KNOWN["secret of the http account"],
    "EXCHANGE_KEY": KNOWN["key of the ccxt account"],
    "EXCHANGE_SECRET": KNOWN["secret of the ccxt account"],
    "EXCHANGE_PASSWORD": KNOWN["passphrase of the ccxt account"],
}
TO_THE_INGRESS: Final = tuple(CREDENTIALS.values())
"""What it was given. It keeps digests of the others, or never hears of them."""
TOKEN: Final = KNOWN["token of a webhook of the configuration"]
BTC_SECRET: Final = KNOWN["secret of a webhook of the configuration"]
SECRET: Final = KNOWN["secret of the default webhook"]


def echo(account: str) -> str:
    """Return what a venue says that repeats all credentials of an account, also where a text is cut."""
    words = [secret for name, secret in KNOWN.items() if name.endswith(f"of the {account} account")]
    return "; ".join(f"{'.' * length}{word}" for length in range(0, 400, 37) for word in words)
