# A key with a passphrase and the live view: the question stays on the screen until it is answered.
from rig import *
key("locked", passphrase="secret words"); n = sshd(authorized=("locked",)); i = inventory(n, kh=known(n), ident=f"{T}/locked")
end, out, _ = terminal(["cluster", "plan", "-i", i, "--output", "live"], lambda p, fd: os.kill(p, 9), wait=3)
after = out.partition(b"passphrase of")[2]
verdict(bool(after) and b"\x1b[J" not in after, "no redraw between the question and its answer", f"{after.count(bytes([27])+b'[J')} redraws in 3 s")
