"""What the receiver of the campaigns counts as received."""

import socket
from urllib.parse import urlsplit

import httpx

from verification.faults.receiver import Receiver


def test_a_request_that_broke_off_was_not_received():
    with Receiver() as receiver:
        address = urlsplit(receiver.url)
        with socket.create_connection((address.hostname, address.port)) as sender:
            sender.sendall(b"POST /in HTTP/1.1\r\ncontent-length: 100\r\nwebhook-id: 1\r\n\r\n{")
            sender.shutdown(socket.SHUT_WR)
            assert b"" == sender.recv(1_000)
        httpx.post(receiver.url, content=b"{}", headers={"webhook-id": "2"})

        assert ["2"] == [request.id for request in receiver.got]
