"""A gateway double on loopback: takes messages over HTTP and keeps each as a line of a file.

    gateway.py PORT_FILE MESSAGES_FILE

It answers `{"result": "ok"}`, and to a second message of the same id the same without keeping it.
"""

import http.server
import json
import os
import sys

seen = set()


class Gateway(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        message = json.loads(body)
        if message["id"] not in seen:
            seen.add(message["id"])
            with open(sys.argv[2], "a", encoding="utf-8") as messages:
                messages.write(json.dumps(message, ensure_ascii=False) + "\n")
        answer = b'{"result": "ok"}'
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Gateway)
with open(sys.argv[1] + ".new", "w", encoding="ascii") as file:
    file.write(str(server.server_address[1]))
os.rename(sys.argv[1] + ".new", sys.argv[1])
server.serve_forever()
