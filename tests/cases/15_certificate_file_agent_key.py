# CertificateFile names a certificate whose private key only the agent holds, without IdentityFile: accepted, as ssh does.
from rig import *
key("ca"); key("a"); sh("ssh-keygen", "-q", "-s", f"{T}/ca", "-I", "u", "-n", ME, f"{T}/a.pub"); shutil.move(f"{T}/a-cert.pub", f"{T}/mine.pub")
a = subprocess.Popen(["ssh-agent", "-D", "-a", f"{T}/agent"], stdout=subprocess.DEVNULL); running.append(a); time.sleep(0.5); e = {"SSH_AUTH_SOCK": f"{T}/agent"}; sh("ssh-add", f"{T}/a", env=env(e))
n = sshd(f"TrustedUserCAKeys {T}/ca.pub\n"); c = config(f"Host *\n CertificateFile {T}/mine.pub\n UserKnownHostsFile {known(n)}\n")
s = ssh(c, ADDR, "-p", str(n), "-l", ME, e=e); w = status(inventory(n, conf=c), e=e); verdict(s and w is None, "let in", w or "let in")
