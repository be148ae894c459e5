# ProxyJump %r@… and %n-gw: tokens are expanded for the jump host, as ssh does.
from rig import *
n = sshd(); g = sshd(addr="127.0.2.2"); known(n); k = known(g, addr="127.0.2.2", add=True); wrong = []
for jump in (f"%r@127.0.2.2:{g}", f"{ME}@%n-gw"):
    c = config(f"Host h1\n HostName {ADDR}\n Port {n}\n User {ME}\n ProxyJump {jump}\nHost h1-gw\n HostName 127.0.2.2\n Port {g}\nHost *\n IdentityFile {T}/user\n UserKnownHostsFile {k}\n")
    s = ssh(c, "h1"); e = status(inventory(conf=c, ssh="h1", user=None)); wrong += [(jump, s, e)] if not s or e else []
verdict(not wrong, "let in through both", wrong)
