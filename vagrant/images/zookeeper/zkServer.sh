#!/bin/sh
# start-foreground: the server in the foreground, with /conf/zoo.cfg.
[ "$1" = start-foreground ] || { echo "only start-foreground is here" >&2; exit 1; }
# The distribution's own class path leaves out what the AdminServer needs.
cp=/conf:$(find /usr/share/java -name '*.jar' \( -name 'zookeeper*' -o -name 'jetty9-*' -o -name 'servlet-api*' -o -name 'jackson-*' -o -name 'slf4j-api*' \
  -o -name 'slf4j-simple*' -o -name 'netty-*' -o -name 'metrics-*' -o -name 'commons-cli*' -o -name 'commons-io*' -o -name 'snappy*' -o -name 'jline*' -o -name 'audience*' \) | tr '\n' ':')
# shellcheck disable=SC2086 # flags are words
exec java -Dorg.slf4j.simpleLogger.logFile=System.out $JVMFLAGS $SERVER_JVMFLAGS -cp "$cp" org.apache.zookeeper.server.quorum.QuorumPeerMain /conf/zoo.cfg
