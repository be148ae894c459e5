#!/bin/sh
# start-foreground: the server in the foreground, with /conf/zoo.cfg.
[ "$1" = start-foreground ] || { echo "only start-foreground is here" >&2; exit 1; }
# The distribution's class path lacks what the AdminServer needs.
java=/usr/share/java
cp=/conf:$java/zookeeper.jar:$java/servlet-api.jar:$java/jetty9-util-ajax.jar:$java/slf4j-simple.jar
# shellcheck disable=SC2086 # flags are words
exec java $JVMFLAGS $SERVER_JVMFLAGS -cp "$cp" org.apache.zookeeper.server.quorum.QuorumPeerMain /conf/zoo.cfg
