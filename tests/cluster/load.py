"""Posts alerts for a while, each until it is answered 200, and says what became of them.

Runs in a pod, which has Python's own library and nothing of the tests: `python -c <this file> URL RUN SECONDS RATE`, with the secret on
standard input. Writes one JSON document.
"""

import http.client
import json
import sys
import threading
import time
from collections import Counter
from typing import Any
from urllib.parse import urlsplit

SENDERS = 8
SYMBOLS = 7
GIVE_UP_S = 90


def main(url: str, run: str, seconds: float, rate: float) -> None:
    """Post `rate` alerts a second for `seconds`."""
    secret = sys.stdin.readline().strip()
    place = urlsplit(url)
    answers: Counter[str] = Counter()
    taken: Counter[str] = Counter()
    given_up: list[str] = []
    slowest_s = [0.0]
    lock = threading.Lock()
    begun = time.monotonic()

    def post(body: bytes) -> str:
        # A connection for each, so that whatever spreads connections spreads posts.
        connection = http.client.HTTPConnection(place.hostname or "", place.port or 80, timeout=5)
        try:
            connection.request("POST", "/webhook", body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            answer.read()
        except OSError:
            return "none"
        except http.client.HTTPException:
            return "none"
        finally:
            connection.close()
        return str(answer.status)

    def send(number: int) -> None:
        symbol = f"E2E{run}{number % SYMBOLS}".upper()
        alert: dict[str, Any] = {"secret": secret, "id": f"e2e-{run}-{number}", "symbol": symbol}
        body = json.dumps({**alert, "action": "buy", "price": "100", "quantity": "1"}).encode()
        first = time.monotonic()
        while time.monotonic() - first < GIVE_UP_S:
            status = post(body)
            with lock:
                answers[status] += 1
                slowest_s[0] = max(slowest_s[0], time.monotonic() - first)
                if status == "200":
                    taken[symbol] += 1
                    return
            time.sleep(
                0.2
            )  # the pause of a sender that was refused, which is its pace and no waiting for anything
        with lock:
            given_up.append(alert["id"])

    def sender(own: int) -> None:
        for number in range(own, int(seconds * rate), SENDERS):
            wait_s = begun + number / rate - time.monotonic()
            if wait_s > 0:
                time.sleep(wait_s)
            send(number)

    threads = [threading.Thread(target=sender, args=(own,)) for own in range(SENDERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    document = {"answers": answers, "taken": taken, "given_up": given_up, "slowest_s": slowest_s[0]}
    sys.stdout.write(json.dumps(document) + "\n")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], float(sys.argv[3]), float(sys.argv[4]))
