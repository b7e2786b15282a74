"""Raw LDAP binds, the other side of `bind`: what the directory takes by itself. Only the standard library.

    raw_binds.py PORT CA COUNT kept|each|searched

kept      binds over one connection with StartTLS, one after the other
each      a connection with StartTLS, a bind and an unbind for each
searched  as `each`, with a search for the entry over a kept connection before it, as a login needs it

Prints the median and the 99th percentile in milliseconds.
"""

import socket
import ssl
import sys
import time

START_TLS = b"1.3.6.1.4.1.1466.20037"


def tlv(tag, body):
    """A value of BER, definite length (X.690 8.1.3)."""
    size = len(body)
    if size < 128:
        return bytes([tag, size]) + body
    octets = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(octets)]) + octets + body


def text(value):
    return tlv(4, value.encode())


class Connection:
    """One connection, with StartTLS done (RFC 4511 4.14)."""

    def __init__(self, port, context):
        self.number = 0
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.ask(tlv(0x77, tlv(0x80, START_TLS)), 0x78)
        self.socket = context.wrap_socket(self.socket, server_hostname="127.0.0.1")

    def ask(self, operation, until):
        """Sends a request; the result code of the response with this tag."""
        self.number += 1
        self.socket.sendall(tlv(0x30, tlv(2, self.number.to_bytes(4, "big")) + operation))
        while True:
            body = self.message()
            # The number of the request first.
            rest = body[2 + body[1]:]
            if rest[0] == until:
                inner = rest[2:] if rest[1] < 128 else rest[2 + (rest[1] & 0x7F):]
                return inner[2]

    def exactly(self, size):
        octets = b""
        while len(octets) < size:
            more = self.socket.recv(size - len(octets))
            if not more:
                raise SystemExit("the directory closed the connection")
            octets += more
        return octets

    def message(self):
        size = self.exactly(2)[1]
        if size >= 128:
            size = int.from_bytes(self.exactly(size & 0x7F), "big")
        return self.exactly(size)

    def bind(self, number):
        name = f"uid=u{number},ou=people,dc=eco"
        body = tlv(2, b"\x03") + text(name) + tlv(0x80, f"pw{number}".encode())
        if self.ask(tlv(0x60, body), 0x61) != 0:
            raise SystemExit(f"{name} was refused")

    def bind_reader(self):
        body = tlv(2, b"\x03") + text("cn=reader,dc=eco") + tlv(0x80, b"readerpw")
        if self.ask(tlv(0x60, body), 0x61) != 0:
            raise SystemExit("the reader was refused")

    def search(self, number):
        found = tlv(0xA3, text("uid") + text(f"u{number}"))
        body = text("ou=people,dc=eco") + tlv(10, b"\x02") + tlv(10, b"\x00") + tlv(2, b"\x00") + tlv(2, b"\x00")
        body += tlv(1, b"\x00") + found + tlv(0x30, text("uid"))
        if self.ask(tlv(0x63, body), 0x65) != 0:
            raise SystemExit("the search was refused")

    def unbind(self):
        self.number += 1
        self.socket.sendall(tlv(0x30, tlv(2, self.number.to_bytes(4, "big")) + b"\x42\x00"))
        self.socket.close()


def main():
    port, ca, count, way = int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4]
    context = ssl.create_default_context(cafile=ca)
    kept = Connection(port, context)
    if way == "searched":
        kept.bind_reader()
    took = []
    for number in range(1, count + 1):
        begun = time.perf_counter()
        if way == "kept":
            kept.bind(number)
        else:
            if way == "searched":
                kept.search(number)
            own = Connection(port, context)
            own.bind(number)
        took.append(time.perf_counter() - begun)
        if way != "kept":
            own.unbind()
    took.sort()
    print(f"{took[count // 2] * 1000:.2f} {took[count * 99 // 100] * 1000:.2f}")


main()
