import pytest

from libs.common.wire.signing import is_signed, sign_body, sign_request

BODY = (
    b'{"symbol":"ETHUSDT","exchange":"binance","strategy":"meanrev-2","signal":"BUY","side":"BUY","price":2411.35,'
    b'"size":0.25,"client_ref":"tv_2026-11-03T09:15:00Z_L1"}'
)
KEY = "demo-signing-key"
DIGEST = "722966ba10d538cfc3f07be1879f8142247a678b59281423ba27470c26ac4bc6"


def test_a_body_is_signed_with_hmac_sha256() -> None:
    assert sign_body(KEY, BODY) == f"sha256={DIGEST}"


@pytest.mark.parametrize("signature", [f"sha256={DIGEST}", DIGEST, f" {DIGEST.upper()} "])
def test_a_signature_is_known_with_and_without_its_scheme(signature: str) -> None:
    assert is_signed(KEY, BODY, signature)


@pytest.mark.parametrize("signature", ["", "sha256=", DIGEST[:-1], "0" * 64, "sha1=" + DIGEST, "\udc80"])
def test_anything_else_is_no_signature(signature: str) -> None:
    assert not is_signed(KEY, BODY, signature)


def test_a_request_without_a_body_signs_method_path_and_time() -> None:
    signature = sign_request(KEY, "GET", "/orders/abc", 1_780_000_000_000)
    assert is_signed(KEY, b"GET\n/orders/abc\n1780000000000", signature)
    assert signature != sign_request(KEY, "DELETE", "/orders/abc", 1_780_000_000_000)
