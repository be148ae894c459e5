package framework

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"sort"
	"strconv"
	"strings"

	"github.com/go-zookeeper/zk"
)

// Master is what the leading master wrote about itself.
type Master struct {
	ID       string `json:"id"`
	Hostname string `json:"hostname"`
	Port     int    `json:"port"`
	Version  string `json:"version"`
	Address  struct {
		Hostname string `json:"hostname"`
		IP       string `json:"ip"`
		Port     int    `json:"port"`
	} `json:"address"`
	Node string `json:"-"`
}

// Endpoint is host:port of the master's HTTP.
func (m Master) Endpoint() string {
	if m.Address.IP == "" {
		return net.JoinHostPort(m.Hostname, strconv.Itoa(m.Port))
	}
	return net.JoinHostPort(m.Address.IP, strconv.Itoa(m.Address.Port))
}

// UI is the address that a browser should use.
func (m Master) UI() string { return fmt.Sprintf("http://%s:%d/", m.Hostname, m.Port) }

// ErrNoMaster means that no master leads.
var ErrNoMaster = errors.New("no leading master")

// Detect finds the leading master: the lowest json.info_ of the group. The
// channel fires when the group changes; it is nil when there is no group yet.
func Detect(conn *zk.Conn, path string) (Master, <-chan zk.Event, error) {
	children, _, changed, err := conn.ChildrenW(path)
	if errors.Is(err, zk.ErrNoNode) {
		return Master{}, nil, ErrNoMaster
	}
	if err != nil {
		return Master{}, nil, err
	}
	var infos []string
	for _, child := range children {
		if strings.HasPrefix(child, "json.info_") {
			infos = append(infos, child)
		}
	}
	if len(infos) == 0 {
		return Master{}, changed, ErrNoMaster
	}
	sort.Strings(infos)
	data, _, err := conn.Get(path + "/" + infos[0])
	if err != nil {
		return Master{}, changed, err
	}
	master := Master{Node: infos[0]}
	if err := json.Unmarshal(data, &master); err != nil {
		return Master{}, changed, err
	}
	return master, changed, nil
}

// ParseZK splits zk://[user:pass@]host:port,…/path into servers and path.
func ParseZK(url string) ([]string, string, error) {
	rest, found := strings.CutPrefix(url, "zk://")
	if !found {
		return nil, "", fmt.Errorf("%s is no zk:// URL", url)
	}
	hosts, path, _ := strings.Cut(rest, "/")
	if at := strings.LastIndex(hosts, "@"); at >= 0 {
		hosts = hosts[at+1:]
	}
	return Servers(hosts), "/" + strings.Trim(path, "/"), nil
}

// Servers splits a list of hosts and adds the default port.
func Servers(hosts string) []string {
	var servers []string
	for _, host := range strings.Split(hosts, ",") {
		if host = strings.TrimSpace(host); host == "" {
			continue
		}
		if !strings.Contains(host, ":") {
			host += ":2181"
		}
		servers = append(servers, host)
	}
	return servers
}
