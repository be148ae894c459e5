# `vagrant ssh-config` writes UserKnownHostsFile /dev/null: --accept-new-host-keys connects and records nothing, as ssh does.
from rig import *
n = sshd(); c = config(f"Host *\n UserKnownHostsFile /dev/null\n GlobalKnownHostsFile /dev/null\n StrictHostKeyChecking no\n IdentitiesOnly yes\n IdentityFile {T}/user\n")
s = ssh(c, ADDR, "-p", str(n), "-l", ME); e = status(inventory(n, conf=c), "--accept-new-host-keys"); verdict(s and e is None, "let in", e or "let in")
