# The login shell is fish, then tcsh (packages fish, tcsh): the host is observed.
from rig import *
wrong = []
for shell in ("fish", "tcsh"):
    n = sshd(f'ForceCommand {shutil.which(shell)} -c "$SSH_ORIGINAL_COMMAND"\n'); e = status(inventory(n, kh=known(n), ident=f"{T}/user")); wrong += [(shell, e)] if e else []
verdict(not wrong, "read twice", wrong)
