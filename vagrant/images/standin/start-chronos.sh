# The real image's start script takes its port from PORT0.
exec /usr/local/bin/program "$@" --http_port "$PORT0"
