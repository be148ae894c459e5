# The terminal closes during a run (laptop, dropped ssh session): toots finishes the current steps, never SIGABRT.
from rig import *
s = socket.socket(); s.bind((ADDR, 0)); s.listen(9)                    # takes connections and says nothing
i = inventory(s.getsockname()[1], kh="/dev/null")
end, _, _ = terminal(["cluster", "up", "-i", i, "--yes", "--connect-timeout", "4s"], lambda pid, fd: os.close(fd))
verdict(end != "signal 6", "ends in good order (exit 3 or 130) after the steps", end)
