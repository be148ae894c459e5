# shellcheck shell=sh
# Connects standard input and output to the Engine (Docker 18.09 and later), for users who may not open
# its socket.
exec docker system dial-stdio
