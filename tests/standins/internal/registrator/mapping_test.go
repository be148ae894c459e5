package registrator

import (
	"bufio"
	"encoding/json"
	"os"
	"reflect"
	"regexp"
	"sort"
	"strings"
	"testing"
)

type recordedService struct {
	Address, ID, Service string
	Port                 int
	Meta                 map[string]string
	Tags                 []string
}

type recordedContainer struct {
	name, run, section string
	services           []recordedService
	checks             []map[string]any
}

// readRecorded reads what Consul held after each container of the recording.
func readRecorded(t *testing.T) []recordedContainer {
	t.Helper()
	file, err := os.Open("../../testdata/registrator/recorded.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var containers []recordedContainer
	var name, section string
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		line := lines.Text()
		if i := strings.Index(line, "=== "); i >= 0 {
			name = line[i+4:]
			if strings.HasPrefix(name, "-") || name == "no -ip" {
				section = name
			}
			continue
		}
		if run, ok := strings.CutPrefix(line, "docker run "); ok {
			containers = append(containers, recordedContainer{name: name, run: run, section: section})
			continue
		}
		if len(containers) == 0 || containers[len(containers)-1].name != name {
			continue
		}
		last := &containers[len(containers)-1]
		if check, ok := strings.CutPrefix(line, "check "); ok {
			var value map[string]any
			if err := json.Unmarshal([]byte(check), &value); err != nil {
				t.Fatal(err)
			}
			last.checks = append(last.checks, value)
		} else if strings.HasPrefix(line, "{") {
			var value recordedService
			if err := json.Unmarshal([]byte(line), &value); err != nil {
				t.Fatal(err)
			}
			last.services = append(last.services, value)
		}
	}
	return containers
}

var option = regexp.MustCompile(`(?:^| )(-p|-e|-l|--expose|--network) `)

// containerOf builds the Engine's inspection from the recorded command line; a
// random host port is taken from what was registered.
func containerOf(t *testing.T, r recordedContainer) Container {
	t.Helper()
	options, found := strings.CutSuffix(r.run, "debian:12 sleep 1000")
	if !found {
		t.Fatalf("unexpected command %q", r.run)
	}
	options = strings.TrimSuffix(options, " ")
	var c Container
	c.Name, c.Config.Image = "/"+r.name, "debian:12"
	c.Config.Labels = map[string]string{}
	c.Config.ExposedPorts = map[string]struct{}{}
	c.NetworkSettings.Ports = map[string][]Binding{}
	c.NetworkSettings.IPAddress = "172.17.0.2"
	hostNetwork := false
	spans := option.FindAllStringSubmatchIndex(options, -1)
	for i, span := range spans {
		end := len(options)
		if i+1 < len(spans) {
			end = spans[i+1][0]
		}
		value := options[span[1]:end]
		switch options[span[2]:span[3]] {
		case "-e":
			c.Config.Env = append(c.Config.Env, value)
		case "-l":
			key, text, _ := strings.Cut(value, "=")
			c.Config.Labels[key] = text
		case "--network":
			hostNetwork = value == "host"
		case "--expose":
			c.Config.ExposedPorts[value+"/tcp"] = struct{}{}
			if !hostNetwork {
				c.NetworkSettings.Ports[value+"/tcp"] = nil
			}
		case "-p":
			publish(&c, value, r)
		}
	}
	return c
}

func publish(c *Container, value string, r recordedContainer) {
	value, kind, found := strings.Cut(value, "/")
	if !found {
		kind = "tcp"
	}
	parts := strings.Split(value, ":")
	binding := Binding{HostIP: "0.0.0.0"}
	if len(parts) == 3 {
		binding.HostIP, parts = parts[0], parts[1:]
	}
	hosts, ports := []string{""}, strings.Split(parts[len(parts)-1], "-")
	if len(parts) == 2 {
		hosts = strings.Split(parts[0], "-")
	} else {
		hosts[0] = "32769"
	}
	for i, port := range ports {
		binding.HostPort = hosts[i]
		c.NetworkSettings.Ports[port+"/"+kind] = []Binding{binding}
		c.Config.ExposedPorts[port+"/"+kind] = struct{}{}
	}
}

func TestMappingOfRecordedContainers(t *testing.T) {
	compared := 0
	for _, r := range readRecorded(t) {
		if r.section == "-explicit" || r.section == "-tags" {
			// -explicit is no flag of v7; of -tags only a refused call was recorded.
			t.Logf("skipped: %s belongs to the section %s", r.name, r.section)
			continue
		}
		settings := Settings{Hostname: "host1", HostIP: "10.1.2.3"}
		settings.Internal = r.section == "-internal"
		if settings.Internal {
			settings.HostIP = ""
		}
		if r.section == "no -ip" {
			settings.HostIP = "127.0.0.1"
		}
		services, _ := Services(containerOf(t, r), settings)
		compared++
		if strings.Contains(r.run, "CHECK_SCRIPT") {
			// Consul refuses script checks, so the recording holds no service.
			if len(services) != 1 || checkOf(services[0])["Args"] == nil {
				t.Errorf("%s: want one service with a script check, got %+v", r.name, services)
			}
			continue
		}
		compareServices(t, r, services)
	}
	if compared != 33 {
		t.Errorf("%d containers compared, the recording holds 33 besides the skipped", compared)
	}
}

func compareServices(t *testing.T, r recordedContainer, services []Service) {
	t.Helper()
	sort.Slice(services, func(i, j int) bool { return services[i].ID < services[j].ID })
	if len(services) != len(r.services) {
		t.Errorf("%s: want %d services, got %+v", r.name, len(r.services), services)
		return
	}
	for i, want := range r.services {
		got := services[i]
		sort.Strings(want.Tags)
		sort.Strings(got.Tags)
		same := recordedService{Address: got.IP, ID: got.ID, Service: got.Name, Port: got.Port, Meta: got.Attrs, Tags: got.Tags}
		if !reflect.DeepEqual(same, want) {
			t.Errorf("%s:\n got %+v\nwant %+v", r.name, same, want)
		}
	}
	if len(r.checks) == 0 {
		return
	}
	check := checkOf(services[0])
	if check == nil {
		t.Errorf("%s: no check", r.name)
		return
	}
	for _, field := range []string{"Interval", "Timeout"} {
		got, _ := check[field].(string)
		if got != r.checks[0][field] {
			t.Errorf("%s: %s is %q, recorded %q", r.name, field, got, r.checks[0][field])
		}
	}
	kind := strings.ToUpper(r.checks[0]["Type"].(string))
	if check[kind] == nil {
		t.Errorf("%s: no %s check in %v", r.name, kind, check)
	}
}
