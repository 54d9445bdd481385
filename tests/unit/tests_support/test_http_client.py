import asyncio

from tests.support.http_client import NO_ANSWER, post, send_many
from tests.support.ports import free_port


class Sink:
    """A server that notes each body and answers 200, or hangs up on the bodies it dislikes."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.connections = 0
        self.url = f"http://127.0.0.1:{free_port()}"

    async def __aenter__(self) -> "Sink":
        port = int(self.url.rpartition(":")[2])
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", port)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
                body = await reader.readexactly(length)
                self.bodies.append(body)
                if b"bad" in body:
                    break
                writer.write(
                    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                    b'5\r\n{"a":\r\n3\r\n 1}\r\n0\r\n\r\n'
                )
        except asyncio.IncompleteReadError:
            pass
        finally:
            writer.close()


async def test_a_lost_connection_is_told_and_never_tried_again():
    async with Sink() as sink:
        answers = await send_many(sink.url, ["good-1", "bad", "good-2"], connections=1)
    assert [answer.status for answer in answers] == [200, NO_ANSWER, 200]
    assert answers[1].error
    assert sink.bodies == [b'"good-1"', b'"bad"', b'"good-2"']


async def test_connections_are_kept_alive():
    async with Sink() as sink:
        answers = await send_many(sink.url, list(range(50)), connections=2)
    assert sink.connections == 2
    assert [answer.body for answer in answers] == [{"a": 1}] * 50


async def test_documents_of_one_lane_arrive_in_the_order_of_the_list():
    documents = [{"symbol": f"S{number % 7}", "n": number} for number in range(140)]
    async with Sink() as sink:
        import orjson

        await send_many(sink.url, documents, connections=4, lane_of=lambda document: document["symbol"])
        arrived = [orjson.loads(body) for body in sink.bodies]
    assert len(arrived) == 140
    for symbol in {document["symbol"] for document in documents}:
        numbers = [document["n"] for document in arrived if document["symbol"] == symbol]
        assert numbers == sorted(numbers)


async def test_nobody_listening_is_no_answer():
    answer = await post(f"http://127.0.0.1:{free_port()}", {})
    assert (answer.status, answer.body) == (NO_ANSWER, None)
