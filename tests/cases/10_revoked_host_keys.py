# RevokedHostKeys in ssh_config names the key that the host presents: refused, as ssh does.
from rig import *
n = sshd(); open(f"{T}/revoked", "w").write(pub("host") + "\n"); k = known(n)
c = config(f"Host *\n RevokedHostKeys {T}/revoked\n UserKnownHostsFile {k}\n GlobalKnownHostsFile /dev/null\n IdentityFile {T}/user\n")
s = ssh(c, ADDR, "-p", str(n), "-l", ME); e = status(inventory(n, conf=c)); verdict(not s and e is not None and "revoke" in e, "trust …: revoked", e or "let in")
