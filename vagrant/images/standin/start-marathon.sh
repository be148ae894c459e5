exec /usr/local/bin/program "$@"
