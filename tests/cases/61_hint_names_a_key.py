# A hint after a failed login must name a key that the inventory takes, or a flag.
from rig import *
n = sshd(); key("stranger"); r = toots("cluster", "plan", "-i", inventory(n, kh=known(n), ident=f"{T}/stranger"), "--output", "plain")
hints = [l for l in r.stderr.splitlines() if "hint:" in l and "password" in l]; verdict(bool(hints) and not any("password = true" in h for h in hints), "--ask-password", hints[:1])
