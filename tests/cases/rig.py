"""Shared by the cases: an sshd on loopback, an inventory that connects to it, and what ssh and toots answer.

Run as root: `NN_name.py TOOTS` exits 0 when toots behaves as expected, 1 when it does not. Needs OpenSSH and
Python only, unless a case says otherwise. Cases with a line "# needs the lab" are run by scenarios of tests/cluster."""
import atexit, json, os, pty, pwd, fcntl, shutil, socket, subprocess, sys, tempfile, time
TOOTS = os.path.abspath(sys.argv[1]); T = tempfile.mkdtemp(prefix="bugs."); os.chmod(T, 0o755); running = []; ADDR = "127.0.2.1"; ME = pwd.getpwuid(os.getuid()).pw_name
def sh(*a, timeout=60, **k): return subprocess.run(a, capture_output=True, text=True, errors="replace", timeout=timeout, **k)
def end():
    for p in running:
        p.terminate()
        try: p.wait(5)
        except subprocess.TimeoutExpired: p.kill()
    shutil.rmtree(T, ignore_errors=True)
atexit.register(end)
def key(name, kind="ed25519", *more, passphrase=""):
    if not os.path.exists(f"{T}/{name}"): sh("ssh-keygen", "-q", "-t", kind, *more, "-N", passphrase, "-f", f"{T}/{name}")
    return f"{T}/{name}"
def pub(name): return " ".join(open(f"{T}/{name}.pub").read().split()[:2])
def port():
    s = socket.socket(); s.bind((ADDR, 0)); n = s.getsockname()[1]; s.close(); return n
def sshd(more="", addr=ADDR, keys=("host",), authorized=("user",)):
    for k in keys: key(k)
    for k in authorized: key(k)
    n = port(); open(f"{T}/auth{n}", "w").writelines(open(f"{T}/{k}.pub").read() for k in authorized)
    conf = f"{T}/sshd{n}"; open(conf, "w").write("".join(f"HostKey {T}/{k}\n" for k in keys) + f"Port {n}\nListenAddress {addr}\nAuthorizedKeysFile {T}/auth{n}\nStrictModes no\nPidFile none\nUsePAM no\nPermitRootLogin yes\nMaxStartups 200\nSetEnv HOME={T}\n{more}")
    os.makedirs("/run/sshd", exist_ok=True); running.append(subprocess.Popen(["/usr/sbin/sshd", "-D", "-e", "-f", conf], stderr=open(f"{T}/sshd{n}.log", "w"), start_new_session=True)); time.sleep(0.5); return n
def known(n, name="host", addr=ADDR, add=False):
    f = f"{T}/known"; open(f, "a" if add else "w").write(f"[{addr}]:{n} {pub(name)}\n"); return f
def config(text): f = f"{T}/config"; open(f, "w").write(text); os.chmod(f, 0o600); return f
def inventory(n=None, conf=None, kh=None, ident=None, ssh=ADDR, user=ME):
    f = f"{T}/inventory.toml"; s = 'masters = ["m1", "m2", "m3"]\n[ssh]\n' + (f'user = "{user}"\n' if user else "")
    s += f'config_file = "{conf or "/dev/null"}"\n' + (f'known_hosts_files = ["{kh}"]\n' if kh else "") + (f'identity_files = ["{ident}"]\n' if ident else "")
    for i in (1, 2, 3): s += f'[hosts.m{i}]\naddress = "10.44.8.1{i}"\nssh = "{ssh}"\n' + (f"port = {n}\n" if n else "")
    open(f, "w").write(s); return f
def env(more=None): e = dict(os.environ, XDG_STATE_HOME=T, NO_COLOR="1"); e.pop("SSH_AUTH_SOCK", None); e.update(more or {}); return e
def toots(*a, e=None, **k): return sh(TOOTS, *a, env=env(e), **k)
def status(inv, *more, e=None):
    """None when the host was read, else toots' words."""
    r = toots("cluster", "status", "-i", inv, "--output", "json", "--connect-timeout", "8s", *more, e=e, timeout=120)
    try: return json.loads(r.stdout)["hosts"]["m1"].get("error")
    except (ValueError, KeyError): return f"rc {r.returncode}: {r.stderr[:300]}"
def ssh(conf, name, *more, e=None): return sh("ssh", "-F", conf, "-o", "BatchMode=yes", "-o", "ConnectTimeout=8", *more, name, "true", env=env(e)).returncode == 0
def terminal(cmd, act, wait=1.5, limit=30, e=None):
    """Runs toots on a terminal of its own; act(pid, fd) after `wait` s. How it ended, all output, the terminal."""
    pid, fd = pty.fork()
    if pid == 0: os.execve(TOOTS, [TOOTS] + cmd, dict(env(e), TERM="xterm"))
    fcntl.fcntl(fd, fcntl.F_SETFL, os.O_NONBLOCK); out = b""
    def drain(until):
        nonlocal out
        while time.time() < until:
            try: out += os.read(fd, 65536)
            except BlockingIOError: time.sleep(0.03)
            except OSError: return
    drain(time.time() + wait); act(pid, fd); t = time.time()
    while time.time() - t < limit:
        p, s = os.waitpid(pid, os.WNOHANG)
        if p: return (f"exit {os.WEXITSTATUS(s)}" if os.WIFEXITED(s) else f"signal {os.WTERMSIG(s)}"), out, fd
        drain(time.time() + 0.1)
    os.kill(pid, 9); os.waitpid(pid, 0); return "hang", out, fd
def verdict(right, want, got): print(("right" if right else "WRONG"), "| want:", want, "| got:", str(got)[:400]); sys.exit(0 if right else 1)
