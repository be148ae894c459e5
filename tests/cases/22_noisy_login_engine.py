# A profile prints a line, and the login may not use the Engine's socket (needs sudo, Docker and root): the Engine is read through sudo.
from rig import *
sh("useradd", "-m", "-p", "*", "-s", "/bin/bash", "bugsnoisy"); open(f"{T}/.bashrc", "w").write("echo Welcome\n")  # the rig's sshd sets HOME to its own folder
try:
    open("/etc/sudoers.d/bugsnoisy", "w").write("bugsnoisy ALL=(ALL) NOPASSWD: ALL\n"); os.chmod("/etc/sudoers.d/bugsnoisy", 0o440)
    n = sshd(); r = toots("cluster", "plan", "-i", inventory(n, kh=known(n), ident=f"{T}/user", user="bugsnoisy"), "--output", "plain")
finally: os.unlink("/etc/sudoers.d/bugsnoisy"); sh("userdel", "-r", "bugsnoisy")
bad = [l for l in r.stderr.splitlines() if "HTTP version" in l]; verdict(not bad, "no word of the Engine", bad[:1])
