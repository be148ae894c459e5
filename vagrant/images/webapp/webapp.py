"""Answers every path with the host, the task and its own version; /health too.

LISTEN is its port (8080), VERSION the version that it reports (1), GRACE the seconds for which it continues to answer after SIGTERM (5). With MAINTENANCE
its service is put in maintenance in the Consul of its host at SIGTERM, so that balancers leave it out before it ends.
"""

import json
import os
import signal
import socket
import sys
import threading
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

me = {
    "host": os.environ.get("HOST", socket.gethostname()),
    "task": os.environ.get("MESOS_TASK_ID", ""),
    "version": os.environ.get("VERSION", "1"),
}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # One write per answer: a second one would wait for the acknowledgement of the first.
    wbufsize = -1

    def do_GET(self):
        body = json.dumps({**me, "path": self.path}).encode() + b"\n"
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    # The default backlog of five would reset connections of a burst.
    request_queue_size = 256


def maintenance():
    """Puts the services that Registrator made of this container's ports in maintenance."""
    consul = f"http://{os.environ['HOST']}:8500/v1/agent"
    ports = {int(port) for port in os.environ.get("PORTS", "").split(",") if port}
    with urllib.request.urlopen(f"{consul}/services", timeout=3) as answer:
        services = json.load(answer)
    for name, service in services.items():
        if service["Port"] in ports:
            url = f"{consul}/service/maintenance/{name}?enable=true&reason=ending"
            urllib.request.urlopen(urllib.request.Request(url, method="PUT"), timeout=3).close()


def main():
    server = Server(("", int(os.environ.get("LISTEN", "8080"))), Handler)

    def end():
        if os.environ.get("MAINTENANCE"):
            try:
                maintenance()
            except (OSError, ValueError, KeyError) as error:
                print(f"no maintenance: {error}", file=sys.stderr, flush=True)
        threading.Timer(float(os.environ.get("GRACE", "5")), server.shutdown).start()

    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=end).start())
    server.serve_forever()


main()
