"""Whoever can reach the door chooses the body: none may keep a process busy, whatever it holds."""

import contextlib
import time
from typing import Final

import pytest

from libs.common.domain.errors import AdmissionError
from libs.common.wire.dialects.recognition import FORM_TYPE, recognise
from libs.common.wire.masking import Masker

LARGEST: Final = 40_960
"""Bytes that a webhook may take at most."""

BOUND_S: Final = 1.0
"""Twenty times what the slowest takes, half of a post's deadline; what grows with the square takes far longer."""

# What is bounded is processor time, and a busy machine gives little of it.
pytestmark = pytest.mark.timeout(300)

MOTIFS = [
    "{{", "}}{{", "{{a ", "}}", "{", "[", "(", "=", ",", ";", "\n", "\t", " ", "/", "//", "a,", "a=;", "a=b&", "%7b", "%",
    '"', '\\"', '{"', '{"a":', "a b\n", "a ", "9", "0.", "e", "\u00a0", "'", "b=", "c=", "pos ", "limit:", ":", "|",
]  # fmt: skip
STARTS = [
    "",
    "x=",
    "a,buy,x",
    "a,buy,x,",
    "a,buy,x=",
    'a,buy,x="',
    "acct BTCUSDT buy ",
    "b=buy q=",
    '{"a":"',
    "KEY=",
    "// ",
]


def bodies() -> list[bytes]:
    found = []
    for start in STARTS:
        for motif in MOTIFS:
            text = start + motif * (LARGEST // len(motif))
            found += [text.encode()[: LARGEST - 1], text.encode()[: LARGEST - 1] + b"y"]
    return found


@pytest.mark.parametrize("content_type", ["text/plain", FORM_TYPE])
def test_no_body_takes_long_to_recognise_or_to_refuse(content_type: str) -> None:
    slowest: tuple[float, bytes] = (0.0, b"")
    for body in bodies():
        started_s = time.process_time()
        with contextlib.suppress(AdmissionError):
            recognise(body, content_type).read()
        slowest = max(slowest, (time.process_time() - started_s, body[:40]))
    assert slowest[0] < BOUND_S, slowest


def test_no_body_takes_long_to_mask() -> None:
    masker = Masker(["demo-secret-01"])
    slowest: tuple[float, bytes] = (0.0, b"")
    for body in bodies():
        started_s = time.process_time()
        masker.excerpt(body)
        masker.mask_json(body.decode("utf-8", "replace"))
        slowest = max(slowest, (time.process_time() - started_s, body[:40]))
    assert slowest[0] < BOUND_S, slowest
