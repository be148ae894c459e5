package registrator

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
)

// fakeAgent holds services as a Consul agent does.
type fakeAgent struct {
	lock     sync.Mutex
	services map[string]string
}

func (f *fakeAgent) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.lock.Lock()
	defer f.lock.Unlock()
	const prefix = "/v1/agent/service/deregister/"
	switch {
	case r.URL.Path == "/v1/agent/service/register":
		var body struct{ ID, Name string }
		if json.NewDecoder(r.Body).Decode(&body) != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		f.services[body.ID] = body.Name
	case strings.HasPrefix(r.URL.Path, prefix):
		delete(f.services, strings.TrimPrefix(r.URL.Path, prefix))
	case r.URL.Path == "/v1/agent/services":
		listing := map[string]any{}
		for id, name := range f.services {
			listing[id] = map[string]string{"Service": name}
		}
		_ = json.NewEncoder(w).Encode(listing)
	}
}

// fakeEngine runs the containers whose exit code is below zero.
func fakeEngine(exitCodes map[string]int) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/containers/json" {
			var ids []string
			for id, code := range exitCodes {
				if code < 0 {
					ids = append(ids, fmt.Sprintf(`{"Id":%q}`, id))
				}
			}
			fmt.Fprintf(w, "[%s]", strings.Join(ids, ","))
			return
		}
		id := strings.Split(r.URL.Path, "/")[2]
		fmt.Fprintf(w, `{"Id":%q,"Name":"/c-%s","State":{"ExitCode":%d},"Config":{"Image":"debian:12"},
			"NetworkSettings":{"Ports":{"80/tcp":[{"HostIp":"0.0.0.0","HostPort":"18801"}]}}}`, id, id, exitCodes[id])
	}
}

func newTestBridge(t *testing.T, exitCodes map[string]int, held map[string]string) (*Bridge, *fakeAgent) {
	t.Helper()
	agent := &fakeAgent{services: held}
	consul := httptest.NewServer(agent)
	engine := httptest.NewServer(fakeEngine(exitCodes))
	t.Cleanup(consul.Close)
	t.Cleanup(engine.Close)
	uri, err := url.Parse(strings.Replace(consul.URL, "http", "consul", 1))
	if err != nil {
		t.Fatal(err)
	}
	docker, err := NewDockerClient(strings.Replace(engine.URL, "http", "tcp", 1))
	if err != nil {
		t.Fatal(err)
	}
	settings := Settings{Hostname: "host1", HostIP: "10.1.2.3"}
	return &Bridge{Docker: docker, Consul: NewConsulClient(uri), Settings: settings, Deregister: "always"}, agent
}

func TestCleanupRemovesOnlyOwnVanishedServices(t *testing.T) {
	bridge, agent := newTestBridge(t, map[string]int{"a": -1}, map[string]string{
		"host1:gone:80": "debian", "otherhost:c:80": "foreign2", "foreign": "foreign",
	})
	bridge.Cleanup = true
	bridge.Sync(false)
	want := []string{"host1:c-a:80", "otherhost:c:80", "foreign"}
	if len(agent.services) != len(want) {
		t.Errorf("agent holds %v, want %v", agent.services, want)
	}
	for _, id := range want {
		if _, ok := agent.services[id]; !ok {
			t.Errorf("%s is missing in %v", id, agent.services)
		}
	}
}

func TestDeathRemovesServicesAsDeregisterSays(t *testing.T) {
	for _, c := range []struct {
		deregister string
		exit       int
		kept       bool
	}{{"always", 3, false}, {"on-success", 3, true}, {"on-success", 0, false}, {"on-success", 137, false}} {
		exitCodes := map[string]int{"a": -1}
		bridge, agent := newTestBridge(t, exitCodes, map[string]string{})
		bridge.Deregister = c.deregister
		bridge.Add("a")
		if len(agent.services) != 1 {
			t.Fatalf("not registered: %v", agent.services)
		}
		exitCodes["a"] = c.exit
		bridge.Remove("a")
		if kept := len(agent.services) == 1; kept != c.kept {
			t.Errorf("%+v: agent holds %v", c, agent.services)
		}
	}
}
