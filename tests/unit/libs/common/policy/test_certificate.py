import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.policy.certificate import EMAIL, is_tradingview

SUBJECT = r"CN=TradingView Webhooks,O=TradingView\, Inc.,L=Westerville,ST=Ohio,C=US"


@pytest.mark.parametrize(
    "subject",
    [
        SUBJECT,
        SUBJECT.replace("TradingView Webhooks", "webhook-server@tradingview.com"),
        r"C=US, ST=Ohio, L=Westerville, O=TradingView\2C Inc., CN=x",
        'O="TradingView, Inc.",CN=x',
        r"CN=a+O=TradingView\, Inc.",
    ],
)
def test_tradingviews_certificate_is_known_by_its_organisation_and_email(subject: str) -> None:
    assert is_tradingview(subject, EMAIL)
    assert is_tradingview(subject, f"other@example.com, {EMAIL.upper()}")


@pytest.mark.parametrize(
    "subject",
    [
        "",
        "CN=TradingView Webhooks",
        "O=TradingView",
        r"CN=x\,O=TradingView\, Inc.",
        r'CN="x,O=TradingView\, Inc."',
        r"O=Evil,O=TradingView\, Inc.",
        r"O=TradingView\, Inc.,O=Evil",
        r"OU=TradingView\, Inc.",
        r"O=TradingView\, Inc.;junk",
        r"xO=TradingView\, Inc.",
    ],
)
def test_what_only_looks_like_it_is_not(subject: str) -> None:
    assert not is_tradingview(subject, EMAIL)


@pytest.mark.parametrize("emails", ["", "webhook-server@tradingview.com.evil.example", "x" + EMAIL])
def test_the_organisation_alone_is_not_enough(emails: str) -> None:
    assert not is_tradingview(SUBJECT, emails)


@given(st.text(), st.text())
def test_no_text_breaks_it(subject: str, emails: str) -> None:
    assert is_tradingview(subject, emails) in {True, False}
