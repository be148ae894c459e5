"""An SSH server that sends single messages which no library offers to send. Arguments: what it does, its key file. Prints its port.

forged: answers a command with a good exit status for a channel that was never opened, and ends the command's own without one.
flood:  EXT_INFO messages without end, from the login on.
"""

import socket
import sys
import threading

import paramiko
from paramiko.common import MSG_CHANNEL_REQUEST, byte_chr


class Server(paramiko.ServerInterface):
    def __init__(self, transport):
        self.transport = transport

    def get_allowed_auths(self, username):
        return "publickey"

    def check_auth_publickey(self, username, key):
        return paramiko.AUTH_SUCCESSFUL

    def check_channel_request(self, kind, chanid):
        if sys.argv[1] == "flood":
            threading.Thread(target=self.flood, daemon=True).start()
        return paramiko.OPEN_SUCCEEDED

    def check_channel_exec_request(self, channel, command):
        if sys.argv[1] == "forged":
            threading.Thread(target=self.forged, args=(channel,), daemon=True).start()
        return True

    def flood(self):
        message = paramiko.Message()
        message.add_byte(byte_chr(7))
        message.add_int(0)
        try:
            while True:
                self.transport._send_message(message)
        except (OSError, EOFError):
            pass

    def forged(self, channel):
        message = paramiko.Message()
        message.add_byte(byte_chr(MSG_CHANNEL_REQUEST))
        message.add_int(4711)
        message.add_string("exit-status")
        message.add_boolean(False)
        message.add_int(0)
        self.transport._send_user_message(message)
        channel.sendall(b"out")
        channel.close()


listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
while True:
    client, _ = listener.accept()
    transport = paramiko.Transport(client)
    transport.add_server_key(paramiko.Ed25519Key(filename=sys.argv[2]))
    try:
        transport.start_server(server=Server(transport))
    except (paramiko.SSHException, EOFError):
        pass
