// Package zkgroup keeps memberships in ZooKeeper groups the way Mesos does (mesos src/zookeeper/group.cpp): ephemeral
// sequential children of a persistent node, a watched list of them, and a client-side end of the session when no
// server was reached for the session timeout.
package zkgroup

import (
	"errors"
	"strings"
)

// URL is a parsed `zk://user:pass@host:port,host:port/path`.
type URL struct {
	Servers []string
	Auth    string // user:pass or empty
	Path    string // with a leading slash, "/" if none
}

// ErrNoPath is Mesos' refusal of a URL without a path.
var ErrNoPath = errors.New("Expecting a (chroot) path for ZooKeeper ('/' is not supported)")

// ParseURL reads a ZooKeeper URL with the real program's error messages.
func ParseURL(text string) (URL, error) {
	rest, ok := strings.CutPrefix(strings.TrimSpace(text), "zk://")
	if !ok {
		return URL{}, errors.New("Expecting 'zk://' at the beginning of the URL")
	}
	url := URL{Path: "/"}
	if slash := strings.Index(rest, "/"); slash >= 0 {
		rest, url.Path = rest[:slash], rest[slash:]
	}
	if at := strings.LastIndex(rest, "@"); at >= 0 {
		url.Auth, rest = rest[:at], rest[at+1:]
		if strings.Count(url.Auth, ":") != 1 {
			return URL{}, errors.New("Expecting 'username:password'")
		}
	}
	for _, server := range strings.Split(rest, ",") {
		if server != "" {
			url.Servers = append(url.Servers, server)
		}
	}
	if len(url.Path) > 1 {
		url.Path = strings.TrimSuffix(url.Path, "/")
	}
	return url, nil
}
