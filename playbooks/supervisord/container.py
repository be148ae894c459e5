"""What supervisord runs in the place of each container of the host.

  container.py run NAME       starts the container toots-NAME unless it runs, follows its log, and ends when it has stopped;
                              a TERM (the page's stop) stops the container
  container.py guarded NAME   the same, but a TERM does nothing: the container is a member of a quorum
  container.py watch NAME...  starts the program of every container that runs, so that the page shows what is so

Only the standard library is used, so that any image with supervisord will do.
"""

import http.client
import json
import os
import signal
import socket
import sys
import threading
import time
import xmlrpc.client

ENGINE = os.environ.get("TOOTS_ENGINE", "/var/run/docker.sock")
SUPERVISOR = "/run/supervisor.sock"
# A program that the watcher starts must only look on: between its look and the start somebody may have stopped the container.
LOOK_ON = "/run/look-on"


class Local(http.client.HTTPConnection):
    """HTTP over a socket of this host."""

    def __init__(self, path, timeout):
        super().__init__("localhost", timeout=timeout)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


def engine(method, path, timeout=30):
    """The Engine's answer: status and JSON; (0, None) when it does not answer."""
    connection = Local(ENGINE, timeout)
    try:
        connection.request(method, path)
        answer = connection.getresponse()
        body = answer.read()
        return answer.status, json.loads(body) if body else None
    except (OSError, http.client.HTTPException, ValueError):
        return 0, None
    finally:
        connection.close()


def state(name):
    """"running", "stopped", "absent", or "unknown" while the Engine does not answer."""
    status, container = engine("GET", "/containers/toots-%s/json" % name)
    if status == 404:
        return "absent"
    if status != 200:
        return "unknown"
    return "running" if container["State"]["Running"] or container["State"]["Restarting"] else "stopped"


def follow(name, tail):
    """Copies the container's log until it ends."""
    connection = Local(ENGINE, None)
    try:
        connection.request("GET", "/containers/toots-%s/logs?follow=1&stdout=1&stderr=1&tail=%d" % (name, tail))
        answer = connection.getresponse()
        while True:
            # Each piece has a head of eight bytes, the last four its length.
            head = answer.read(8)
            if len(head) < 8:
                return
            left = int.from_bytes(head[4:], "big")
            while left:
                piece = answer.read(min(left, 65536))
                if not piece:
                    return
                left -= len(piece)
                sys.stdout.buffer.write(piece)
            sys.stdout.buffer.flush()
    except (OSError, http.client.HTTPException):
        return
    finally:
        connection.close()


def follow_on(name):
    tail = 100
    while True:
        follow(name, tail)
        tail = 0
        time.sleep(1)


def run(name, guarded):
    def stop(_signal, _frame):
        if guarded:
            print("toots: %s is a member of a quorum and goes on; use: toots cluster" % name, flush=True)
            return
        # The Engine waits as long as the container was given; this one's end follows from the container's.
        threading.Thread(target=engine, args=("POST", "/containers/toots-%s/stop" % name, 120), daemon=True).start()

    signal.signal(signal.SIGTERM, stop)
    mark = os.path.join(LOOK_ON, name)
    only_look = os.path.exists(mark)
    if only_look:
        os.unlink(mark)
    elif state(name) == "stopped":
        status, answer = engine("POST", "/containers/toots-%s/start" % name)
        if status not in (204, 304):
            print("toots: the Engine does not start it: %s" % (answer or {}).get("message", status), flush=True)
            return 1
    threading.Thread(target=follow_on, args=(name,), daemon=True).start()
    gone = 0
    # A container that the Engine or toots starts again at once stays the same program.
    while gone < 5:
        gone = gone + 1 if state(name) in ("stopped", "absent") else 0
        time.sleep(1)
    return 0


class Transport(xmlrpc.client.Transport):
    def make_connection(self, host):
        return Local(SUPERVISOR, 10)


def watch(names):
    os.makedirs(LOOK_ON, exist_ok=True)
    while True:
        for name in names:
            if state(name) != "running":
                continue
            server = xmlrpc.client.ServerProxy("http://localhost", transport=Transport())
            try:
                if server.supervisor.getProcessInfo(name)["statename"] in ("STOPPED", "EXITED", "FATAL", "UNKNOWN"):
                    # The stop of a page may be under way: the container still runs for a moment.
                    time.sleep(1)
                    if state(name) == "running":
                        with open(os.path.join(LOOK_ON, name), "w", encoding="ascii"):
                            pass
                        server.supervisor.startProcess(name, False)
            except (OSError, http.client.HTTPException, xmlrpc.client.Error) as error:
                print("toots: %s: %s" % (name, error), flush=True)
        time.sleep(2)


if __name__ == "__main__":
    if sys.argv[1] == "watch":
        watch(sys.argv[2:])
    else:
        sys.exit(run(sys.argv[2], sys.argv[1] == "guarded"))
