package marathon

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"toots.test/standins/internal/framework"
)

// fakeMesos offers one agent forever and runs every task at once.
type fakeMesos struct {
	lock   sync.Mutex
	stream chan string
	tasks  map[string]framework.Task
	offers int
}

func (f *fakeMesos) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var call struct {
		Type   string
		Accept struct {
			Operations []struct {
				Launch struct {
					TaskInfos []framework.Task `json:"task_infos"`
				}
			}
		}
		Kill struct {
			TaskID framework.Value `json:"task_id"`
		}
	}
	if json.NewDecoder(r.Body).Decode(&call) != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	if call.Type == "SUBSCRIBE" {
		f.serve(w, r)
		return
	}
	w.WriteHeader(http.StatusAccepted)
	for _, operation := range call.Accept.Operations {
		for _, task := range operation.Launch.TaskInfos {
			f.lock.Lock()
			f.tasks[task.TaskID.Value] = task
			f.lock.Unlock()
			f.update(task.TaskID.Value, "TASK_STARTING")
			f.update(task.TaskID.Value, "TASK_RUNNING")
		}
	}
	if call.Type == "KILL" {
		f.update(call.Kill.TaskID.Value, "TASK_KILLED")
	}
}

func (f *fakeMesos) update(task, state string) {
	f.stream <- fmt.Sprintf(`{"type":"UPDATE","update":{"status":{"task_id":{"value":%q},"state":%q,"message":"","agent_id":{"value":"S0"},
		"uuid":"x","healthy":true,"container_status":{"network_infos":[{"ip_addresses":[{"protocol":"IPv4","ip_address":"127.0.0.1"}]}]}}}}`, task, state)
}

func (f *fakeMesos) serve(w http.ResponseWriter, r *http.Request) {
	send := func(record string) {
		fmt.Fprintf(w, "%d\n%s", len(record), record)
		w.(http.Flusher).Flush()
	}
	w.Header().Set("Mesos-Stream-Id", "1")
	send(`{"type":"SUBSCRIBED","subscribed":{"framework_id":{"value":"0af32cbb-4137-4818-90da-e879d997414f-0001"}}}`)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-r.Context().Done():
			return
		case record := <-f.stream:
			send(record)
		case <-tick.C:
			f.offers++
			send(fmt.Sprintf(`{"type":"OFFERS","offers":{"offers":[{"id":{"value":"O%d"},"agent_id":{"value":"S0"},"hostname":"127.0.0.1","resources":[
				{"name":"cpus","type":"SCALAR","scalar":{"value":8}},{"name":"mem","type":"SCALAR","scalar":{"value":8192}},
				{"name":"disk","type":"SCALAR","scalar":{"value":10000}},
				{"name":"ports","type":"RANGES","ranges":{"range":[{"begin":31000,"end":32000}]}}]}]}}`, f.offers))
		}
	}
}

// newCore is a core on a fake master; with mesos false none answers.
func newCore(t *testing.T, mesos bool) (*Core, *fakeMesos) {
	t.Helper()
	settings := Settings{PortMin: 10000, PortMax: 20000, MaxPerOffer: 5, DeclineOffers: time.Second}
	core, err := NewCore(settings, MemoryStore{}, &Bus{})
	if err != nil {
		t.Fatal(err)
	}
	fake := &fakeMesos{stream: make(chan string, 1000), tasks: map[string]framework.Task{}}
	if !mesos {
		return core, fake
	}
	server := httptest.NewServer(fake)
	session, err := framework.Subscribe(context.Background(), strings.TrimPrefix(server.URL, "http://"), framework.Info{Name: "marathon"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { session.Close(); server.Close() })
	event, err := session.Next()
	if err != nil || event.Type != "SUBSCRIBED" {
		t.Fatalf("first event %+v, %v", event, err)
	}
	core.SetFrameworkID(event.Subscribed.FrameworkID.Value)
	core.Connect(func() *framework.Session { return session })
	go func() {
		for {
			event, err := session.Next()
			if err != nil {
				return
			}
			core.Handle(session, event)
		}
	}()
	return core, fake
}

// idle waits until no deployment is in progress.
func idle(t *testing.T, c *Core, but ...string) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		c.Tick()
		c.lock.Lock()
		open := 0
		for _, d := range c.deployments {
			for _, app := range d.affected() {
				known := false
				for _, name := range but {
					known = known || name == app
				}
				if !known {
					open++
				}
			}
		}
		c.unlock()
		if open == 0 {
			return
		}
	}
	for _, d := range c.deployments {
		t.Errorf("deployment did not end: %+v at step %d", d.Steps, d.Current)
	}
	t.FailNow()
}
