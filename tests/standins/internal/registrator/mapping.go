// Package registrator is the lab's stand-in for Registrator: it follows the Docker
// events of one host and keeps the services of the local Consul agent in step
// with the containers that publish ports.
//
// Owns: the mapping from a container to services (mapping.go), the Docker and
// Consul clients it needs (docker.go, consul.go), the bridge between both
// (bridge.go) and the command line (options.go). Imports nothing of the other
// stand-ins.
package registrator

import (
	"net"
	"path"
	"strconv"
	"strings"
)

// Service is one entry of the Consul agent as Registrator asks for it.
type Service struct {
	ID, Name, IP string
	Port         int
	Tags         []string
	Attrs        map[string]string
	TTL          int
	container    string // name without the leading slash; -cleanup compares it
}

// Settings are the flags that influence the mapping.
type Settings struct {
	Hostname  string
	HostIP    string
	Internal  bool
	ForceTags string
	TTL       int
}

// port is one container port and what is known of its publication.
type port struct {
	number, kind     string
	hostIP, hostPort string
	containerIP      string
}

// Services maps a container to the services that are to be registered for it;
// the second value names what was ignored and why.
func Services(c Container, s Settings) ([]Service, []string) {
	var ignored []string
	ports := portsOf(c)
	if len(ports) == 0 {
		return nil, []string{"no published ports"}
	}
	var published []port
	for _, p := range ports {
		if !s.Internal && p.hostPort == "" {
			ignored = append(ignored, "port "+p.number+" not published on host")
			continue
		}
		published = append(published, p)
	}
	var services []Service
	for _, p := range published {
		service, ok := newService(c, p, s, len(published) > 1)
		if !ok {
			ignored = append(ignored, "service on port "+p.number)
			continue
		}
		services = append(services, service)
	}
	return services, ignored
}

// portsOf lists exposed ports as if published under their own number (which is
// what host networking does) and lets the runtime's mappings override them; the
// runtime lists an unpublished port without a binding.
func portsOf(c Container) map[string]port {
	ports := map[string]port{}
	for key := range c.Config.ExposedPorts {
		number, _, _ := strings.Cut(key, "/")
		ports[key] = newPort(c, key, []Binding{{HostIP: "0.0.0.0", HostPort: number}})
	}
	for key, bindings := range c.NetworkSettings.Ports {
		ports[key] = newPort(c, key, bindings)
	}
	return ports
}

func newPort(c Container, key string, bindings []Binding) port {
	number, kind, found := strings.Cut(key, "/")
	if !found {
		kind = "tcp"
	}
	p := port{number: number, kind: kind, hostIP: "0.0.0.0", containerIP: c.NetworkSettings.IPAddress}
	if len(bindings) > 0 {
		p.hostPort = bindings[0].HostPort
		if bindings[0].HostIP != "" {
			p.hostIP = bindings[0].HostIP
		}
	}
	if p.containerIP == "" {
		for _, network := range c.NetworkSettings.Networks {
			p.containerIP = network.IPAddress
		}
	}
	return p
}

func newService(c Container, p port, s Settings, group bool) (Service, bool) {
	if s.HostIP == "" && !s.Internal && (p.hostIP == "0.0.0.0" || p.hostIP == "::") {
		if ip, err := net.ResolveIPAddr("ip", s.Hostname); err == nil {
			p.hostIP = ip.String()
		}
	}
	if s.HostIP != "" {
		p.hostIP = s.HostIP
	}
	attrs, fromPort := attributes(c, p.number)
	if attrs["ignore"] != "" {
		return Service{}, false
	}
	name := attrs["name"]
	if name == "" {
		name, _, _ = strings.Cut(path.Base(c.Config.Image), ":")
	}
	if group && !fromPort["name"] {
		name += "-" + p.number
	}
	container := strings.TrimPrefix(c.Name, "/")
	service := Service{
		ID: s.Hostname + ":" + container + ":" + p.number, Name: name,
		container: container, TTL: s.TTL, Attrs: attrs,
	}
	service.IP, service.Port = p.hostIP, atoi(p.hostPort)
	if s.Internal {
		service.IP, service.Port = p.containerIP, atoi(p.number)
	}
	lists := []string{attrs["tags"], s.ForceTags}
	if p.kind == "udp" {
		service.ID += ":udp"
		lists = append(lists, "udp")
	}
	service.Tags = combineTags(lists...)
	if attrs["id"] != "" {
		service.ID = attrs["id"]
	}
	for _, consumed := range []string{"id", "tags", "name"} {
		delete(attrs, consumed)
	}
	return service, true
}

// attributes reads SERVICE_* from the environment and then from the labels, so
// that labels win; a form with a port wins over one without. The second value
// tells which attributes came from the form with a port.
func attributes(c Container, number string) (map[string]string, map[string]bool) {
	pairs := append([]string{}, c.Config.Env...)
	for key, value := range c.Config.Labels {
		pairs = append(pairs, key+"="+value)
	}
	attrs, fromPort := map[string]string{}, map[string]bool{}
	for _, pair := range pairs {
		key, value, found := strings.Cut(pair, "=")
		key, isService := strings.CutPrefix(key, "SERVICE_")
		if !found || !isService {
			continue
		}
		key = strings.ToLower(key)
		if fromPort[key] {
			continue
		}
		prefix, rest, long := strings.Cut(key, "_")
		if _, err := strconv.Atoi(prefix); err == nil && long {
			if prefix == number {
				attrs[rest], fromPort[rest] = value, true
			}
			continue
		}
		attrs[key] = value
	}
	return attrs, fromPort
}

// combineTags splits at commas that are not escaped, keeps the spaces and drops
// empty and repeated tags. The order is left to the map on purpose: the real
// program promises none.
func combineTags(lists ...string) []string {
	set := map[string]bool{}
	for _, list := range lists {
		for _, tag := range splitEscaped(list) {
			if tag != "" {
				set[tag] = true
			}
		}
	}
	tags := make([]string, 0, len(set))
	for tag := range set {
		tags = append(tags, tag)
	}
	return tags
}

func splitEscaped(list string) []string {
	var tags []string
	var tag strings.Builder
	for i := 0; i < len(list); i++ {
		switch {
		case list[i] == '\\' && i+1 < len(list) && list[i+1] == ',':
			tag.WriteByte(',')
			i++
		case list[i] == ',':
			tags = append(tags, tag.String())
			tag.Reset()
		default:
			tag.WriteByte(list[i])
		}
	}
	return append(tags, tag.String())
}

func atoi(s string) int {
	n, _ := strconv.Atoi(s)
	return n
}
