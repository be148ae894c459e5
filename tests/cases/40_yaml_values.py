# Unquoted scalars of a job in YAML reach Chronos as written (needs root: a network namespace with a program in Chronos' place).
# Environment variables "NO", "1.10", "0755", "12345e7", "y"; arguments "-m", "0644", "on".
import os, sys
if os.environ.get("INSIDE") != "1": os.environ["INSIDE"] = "1"; os.execvp("unshare", ["unshare", "-n", sys.executable] + [os.path.abspath(sys.argv[0]), os.path.abspath(sys.argv[1])])
from rig import *
import http.server, threading
sh("sh", "-c", "ip link set lo up; for i in 1 2 3; do ip addr add 10.44.8.1$i/32 dev lo; done"); sent = []
class H(http.server.BaseHTTPRequestHandler):
    def any(self):
        body = self.rfile.read(int(self.headers.get("content-length") or 0)); sent.append((self.command, body))
        out = json.dumps({"leader": "10.44.8.11:4400"} if "leader" in self.path else []).encode() if self.command == "GET" else b""
        self.send_response(200 if self.command == "GET" else 204); self.send_header("content-length", str(len(out))); self.end_headers(); self.wfile.write(out)
    do_GET = do_POST = do_PUT = any
    def log_message(self, *a): pass
for i in (1, 2, 3): threading.Thread(target=http.server.ThreadingHTTPServer((f"10.44.8.1{i}", 4400), H).serve_forever, daemon=True).start()
n = sshd(addr="10.44.8.11"); f = f"{T}/job.yaml"
open(f, "w").write('name: j\nschedule: R/2030-01-01T00:00:00Z/PT1H\ncommand: x\nenvironmentVariables:\n- {name: A, value: NO}\n- {name: B, value: 1.10}\n- {name: C, value: 0755}\n- {name: D, value: 12345e7}\n- {name: E, value: y}\narguments: [-m, 0644, on]\n')
r = toots("job", "deploy", "-i", inventory(n, kh=known(n, addr="10.44.8.11"), ident=f"{T}/user", ssh="10.44.8.11"), f)
got = [json.loads(b) for c, b in sent if c != "GET"]; values = [e["value"] for e in got[0]["environmentVariables"]] + got[0]["arguments"] if got else []
verdict((r.returncode == 2 and not got) or values == ["NO", "1.10", "0755", "12345e7", "y", "-m", "0644", "on"], "texts as written, or exit 2", values or r.stderr)
