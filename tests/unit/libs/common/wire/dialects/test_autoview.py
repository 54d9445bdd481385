from decimal import Decimal
from typing import Any

import pytest

from libs.common.domain.alert import Action, AlertContent, ExitLevel, ExitUnit, MarketPosition, QuantityUnit
from libs.common.domain.order import OrderType
from tests.support.dialect_bodies import document_of, filled, read, refusal

NAME = "autoview"

CLOSE = "c=position e=bybit a=sub1 s=BTCUSDT b=short"
ORDER = "e=bybit a=sub1 s=BTCUSDT b=long q=15% sl=1.5% tp=3%"
EXAMPLE = f"{CLOSE}\n{ORDER}"


def test_the_catalogues_example_is_read_as_one_intention() -> None:
    document = document_of(EXAMPLE, NAME)
    assert (document.credential, document.has_place) == ("", False)
    assert document.read() == AlertContent(
        dialect=NAME,
        action=Action.FLIP,
        position=MarketPosition.LONG,
        symbol="BTCUSDT",
        exchange="bybit",
        quantity=Decimal(15),
        unit=QuantityUnit.PERCENT_OF_EQUITY,
        stop_loss=ExitLevel(Decimal("1.5"), ExitUnit.PERCENT),
        take_profit=ExitLevel(Decimal(3), ExitUnit.PERCENT),
    )


@pytest.mark.parametrize("place", ["secret=x1 ", "password=x1 "])
def test_a_credential_may_stand_among_its_words(place: str) -> None:
    for body in (
        place + ORDER,
        f"{place}{CLOSE}|{ORDER}",
        f"{CLOSE}|{place}{ORDER}",
        f"{place}{CLOSE}|{place}{ORDER}",
    ):
        document = document_of(body, NAME)
        assert document.credential == "x1"
        assert document.read().symbol == "BTCUSDT"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (ORDER, {"action": Action.BUY, "position": None}),
        (CLOSE, {"action": Action.CLOSE_SHORT, "quantity": None}),
        ("c=position e=bybit s=X b=long", {"action": Action.CLOSE_LONG}),
        ("C=POSITION E=bybit S=X", {"action": Action.CLOSE_ALL}),
        ("c=position s=X q=50%", {"quantity": Decimal(50), "unit": QuantityUnit.PERCENT_OF_POSITION}),
        ("c=position s=X cm=2", {"quantity": Decimal(2), "unit": QuantityUnit.UNITS}),
        ("c=order s=X e=bybit", {"action": Action.CANCEL, "exchange": "bybit"}),
        ("b=sell s=X q=2", {"action": Action.SELL, "quantity": Decimal(2), "unit": QuantityUnit.UNITS}),
        ("b=short s=X q=2 t=market", {"action": Action.SELL, "order_type": OrderType.MARKET}),
        ("b=buy s=X q=2 t=limit fp=101.5", {"order_type": OrderType.LIMIT, "limit_price": Decimal("101.5")}),
        ("b=buy s=X q=2 & tp=3%&sl=1%", {"stop_loss": ExitLevel(Decimal(1), ExitUnit.PERCENT)}),
        (
            "b=buy s=X q=2 ftp=110 fsl=90",
            {"take_profit": ExitLevel(Decimal(110)), "stop_loss": ExitLevel(Decimal(90))},
        ),
        ("b=buy s=X q=2 l=5 cc=a", {"action": Action.BUY}),
        ("c=position s=X|b=buy s=X q=2", {"action": Action.TARGET, "position": MarketPosition.LONG}),
        ("c=position b=long s=X|b=long s=X q=2", {"action": Action.TARGET, "position": MarketPosition.LONG}),
        ("c=position b=long s=X|b=short s=X q=2", {"action": Action.FLIP, "position": MarketPosition.SHORT}),
    ],
)
def test_what_it_documents_is_read(body: str, expected: dict[str, Any]) -> None:
    content = read(body, NAME)
    assert {name: getattr(content, name) for name in expected} == expected


@pytest.mark.parametrize(
    ("body", "code", "field"),
    [
        ("b=hold s=X q=1", "invalid_action", "b"),
        ("b={{strategy.order.action}} s=X q=1", "unfilled_placeholder", "b"),
        ('b=buy s=X q={{plot("my size")}}', "unfilled_placeholder", "q"),
        ("c=all s=X", "invalid_action", "c"),
        ("b=buy q=1", "missing_field", "s"),
        ("b=buy s=X", "missing_field", "q"),
        ("b=buy s=X q=", "invalid_number", "q"),
        ("b=buy s=X q=0", "invalid_number", "q"),
        ("b=buy s=X q=1-5", "not_supported", "q"),
        ("b=buy s=X q=1%-5%", "not_supported", "q"),
        ("b=buy s=X q=2x", "invalid_number", "q"),
        ("b=buy s=X q=2 q=3", "repeated_field", "q"),
        ("b=buy s=X q=2 p=-1%", "not_supported", "p"),
        ("b=buy s=X q=2 t=limit", "missing_field", "fp"),
        ("b=buy s=X q=2 fp=100", "contradiction", "fp"),
        ("b=buy s=X q=2 t=post fp=100", "invalid_value", "t"),
        ("b=buy s=X q=2 sl=20", "not_supported", "sl"),
        ("b=buy s=X q=2 tp=1%-2%", "not_supported", "tp"),
        ("b=buy s=X q=2 sl=1% fsl=90", "contradiction", "fsl"),
        ("b=buy s=X q=2 ts=1%", "not_supported", "ts"),
        ("b=buy s=X q=2 d=1", "not_supported", "d"),
        ("b=buy s=X q=2 delay=5", "not_supported", "delay"),
        ("b=buy s=X q=2 dt=1h", "not_supported", "dt"),
        ("c=order s=X b=long", "not_supported", "b"),
        ("c=order s=X cm=1", "not_supported", "cm"),
        ("c=position s=X q=5 cm=1", "contradiction", "cm"),
        ("c=position s=X cmo=oldest", "not_supported", "cmo"),
        ("b=buy s=X q=1|b=buy s=Y q=1", "several_orders", "command 2"),
        ("c=position s=X|b=buy s=Y q=1", "several_orders", "command 2"),
        ("c=position e=a s=X|b=buy s=X q=1", "several_orders", "command 2"),
        ("c=position s=X q=50%|b=buy s=X q=1", "several_orders", "command 2"),
        ("c=order s=X|c=position s=X|b=buy s=X q=1", "several_orders", "command 2"),
        ("c=position s=X d=1|b=buy s=X q=1", "not_supported", "close.d"),
    ],
)
def test_what_cannot_be_followed_is_refused_by_its_field(body: str, code: str, field: str) -> None:
    error = refusal(body, NAME)
    assert (error.code, error.field) == (code, field)


def test_its_template_is_read() -> None:
    content = read(filled(NAME), NAME)
    assert (content.action, content.quantity) == (Action.BUY, Decimal("0.25"))
