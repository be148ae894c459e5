# usage: 09_unreadable_answer_is_yes.py TOOTS INVENTORY MACHINE ADDRESS
# needs the lab: changed
# An answer that is not UTF-8 to the question before a replacement is a no: exit 4, nothing replaced.
from rig import *
end, out, _ = terminal(["cluster", "up", "-i", sys.argv[2], "--output", "plain"], lambda p, fd: os.write(fd, b"\xf1o\n"), wait=8, limit=120)
verdict(b"[y/N]" in out and end == "exit 4", "exit 4", end)
