# A client of `toots tunnel` that reads nothing for 8 s and then the rest gets all 30 MB, and another
# client is answered within 1 s meanwhile, as with `ssh -D`.
from rig import *
import struct, threading
srv = socket.socket(); srv.bind((ADDR, 0)); srv.listen(50); SIZE = 30_000_000
def serve():
    while True:
        c, _ = srv.accept()
        def one(c=c):
            try: c.sendall(b"x" * (SIZE if c.recv(1) == b"B" else 10))
            except OSError: pass
            c.close()
        threading.Thread(target=one, daemon=True).start()
threading.Thread(target=serve, daemon=True).start()
n = sshd(); at = port(); p = subprocess.Popen([TOOTS, "tunnel", "-i", inventory(n, kh=known(n), ident=f"{T}/user"), "--listen", f"127.0.0.1:{at}"], env=env(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL); running.append(p); p.stdout.readline()
def client(word):
    s = socket.create_connection(("127.0.0.1", at)); s.sendall(b"\5\1\0"); s.recv(2); s.sendall(b"\5\1\0\1" + socket.inet_aton(ADDR) + struct.pack(">H", srv.getsockname()[1])); s.recv(64); s.sendall(word); s.settimeout(20); return s
def all_of(s):
    got = 0
    while (b := s.recv(65536)): got += len(b)
    return got
slow = client(b"B"); time.sleep(1); t = time.time(); all_of(client(b"s")); other = time.time() - t; time.sleep(7)
got = all_of(slow); verdict(got == SIZE and other < 1, f"{SIZE} bytes, other < 1 s", f"{got} bytes, other {other:.1f} s")
