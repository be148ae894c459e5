# `Include conf.d/*` where conf.d also holds a folder: the folder is skipped, as ssh does.
from rig import *
n = sshd(); os.makedirs(f"{T}/conf.d/old"); c = config(f"Include {T}/conf.d/*\nHost h1\n HostName {ADDR}\n Port {n}\n User {ME}\n IdentityFile {T}/user\n UserKnownHostsFile {known(n)}\n")
s = ssh(c, "h1"); e = status(inventory(conf=c, ssh="h1", user=None)); verdict(s and e is None, "let in", e or "let in")
