# shellcheck shell=sh
# Prints "SERVICE HASH" for each service of toots' compose file, as the host's own docker-compose
# hashes it; nothing without docker-compose.
cd /etc/toots || exit 0
if command -v docker-compose >/dev/null; then docker-compose -f compose.yaml config '--hash=*'
elif docker compose version >/dev/null 2>&1; then docker compose -p toots -f compose.yaml config '--hash=*'
fi
