"""Answers every path with the host, the task and its own version; /health with 200, or 503 from SIGTERM on.

PORT is where it listens (8080), VERSION what it says it is (1), GRACE how many seconds it goes on answering after SIGTERM (5).
"""

import json
import os
import signal
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ending = threading.Event()
me = {
    "host": os.environ.get("HOST", socket.gethostname()),
    "task": os.environ.get("MESOS_TASK_ID", ""),
    "version": os.environ.get("VERSION", "1"),
}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        body = json.dumps({**me, "path": self.path}).encode() + b"\n"
        self.send_response(503 if self.path == "/health" and ending.is_set() else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def main():
    server = ThreadingHTTPServer(("", int(os.environ.get("PORT", "8080"))), Handler)

    def end(*_):
        ending.set()
        threading.Timer(float(os.environ.get("GRACE", "5")), server.shutdown).start()

    signal.signal(signal.SIGTERM, end)
    server.serve_forever()


main()
