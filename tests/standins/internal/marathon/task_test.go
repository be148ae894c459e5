package marathon

import (
	"encoding/json"
	"os"
	"sort"
	"strings"
	"testing"

	"toots.test/standins/internal/recording"
)

// recordedApp posts an app of the recorded session and returns its task.
func recordedApp(t *testing.T, name, id string, ports []int) (*App, *Instance) {
	t.Helper()
	e, found := recording.ByName(load(t, "leader.txt"), name)
	if !found {
		t.Fatalf("no exchange %s", name)
	}
	app, problem := ParseApp([]byte(e.Body), "")
	if problem != nil {
		t.Fatal(problem)
	}
	assignPorts(map[string]*App{app.ID: app}, app, Settings{PortMin: 10000, PortMax: 20000})
	app.Version = "2026-11-22T09:19:53.899Z"
	return app, &Instance{ID: id, AppID: app.ID, Attempt: 1, Host: "127.0.0.1", Ports: ports, AgentID: "S0"}
}

// variables that the agent adds or that name the moment.
func agents(name string) bool {
	switch name {
	case "PATH", "PWD", "MARATHON_APP_VERSION":
		return true
	}
	return strings.HasPrefix(name, "LIBPROCESS_") || strings.HasPrefix(name, "MESOS_") && name != "MESOS_TASK_ID"
}

func compareEnvironment(t *testing.T, recorded []string, got map[string]string) {
	t.Helper()
	want := map[string]string{}
	for _, line := range recorded {
		if name, value, ok := strings.Cut(line, "="); ok && !agents(name) {
			want[name] = value
		}
	}
	for name, value := range want {
		if got[name] != value {
			t.Errorf("%s is %q, recorded %q", name, got[name], value)
		}
	}
	for name, value := range got {
		if _, ok := want[name]; !ok && !agents(name) {
			t.Errorf("%s=%s was not recorded", name, value)
		}
	}
}

func TestEnvironmentOfACommand(t *testing.T) {
	app, i := recordedApp(t, "01_POST_app_cmd", "env.instance-e0e41aeb-e655-11f1-8c49-d2078cd3cf54", []int{31118, 31119})
	recorded, err := os.ReadFile("../../testdata/marathon/task-env-mesos-cmd.txt")
	if err != nil {
		t.Fatal(err)
	}
	compareEnvironment(t, strings.Split(string(recorded), "\n"), environment(app, i, ""))
}

func TestContainers(t *testing.T) {
	for _, c := range []struct {
		file, exchange, id string
		ports              []int
	}{
		{"docker-bridge.json", "70_POST_docker_bridge", "grp_dock.instance-319992ec-e656-11f1-8c49-d2078cd3cf54", []int{31665, 31666}},
		{"docker-host.json", "74_POST_docker_host", "grp_dhost.instance-3ea766bd-e656-11f1-8c49-d2078cd3cf54", []int{31472}},
	} {
		content, err := os.ReadFile("../../testdata/marathon/" + c.file)
		if err != nil {
			t.Fatal(err)
		}
		var recorded struct {
			Env          []string
			Labels       map[string]string
			PortBindings map[string][]struct{ HostPort string }
		}
		if err := json.Unmarshal(content, &recorded); err != nil {
			t.Fatal(err)
		}
		app, i := recordedApp(t, c.exchange, c.id, c.ports)
		env := environment(app, i, "")
		if !app.bridged() { // its service port was the next free one
			env["PORT_10005"] = env["PORT_10000"]
			delete(env, "PORT_10000")
		}
		compareEnvironment(t, recorded.Env, env)
		task := taskFor(app, i, nil, "")
		labels := map[string]string{}
		for _, parameter := range task.Container.Docker.Parameters {
			key, value, _ := strings.Cut(parameter.Value, "=")
			labels[key] = value
		}
		for key, value := range recorded.Labels {
			if labels[key] != value {
				t.Errorf("%s: label %s is %q, recorded %q", c.file, key, labels[key], value)
			}
		}
		if len(task.Container.Docker.PortMappings) != len(recorded.PortBindings) {
			t.Errorf("%s: mappings %+v", c.file, task.Container.Docker.PortMappings)
		}
		for _, mapping := range task.Container.Docker.PortMappings {
			bindings := recorded.PortBindings[itoa(mapping.ContainerPort)+"/"+mapping.Protocol]
			if len(bindings) != 1 || bindings[0].HostPort != itoa(mapping.HostPort) {
				t.Errorf("%s: %+v is not recorded", c.file, mapping)
			}
		}
	}
}

// put posts or changes an app and waits for the end of the deployment.
func put(t *testing.T, core *Core, body string) {
	t.Helper()
	_, problem := core.Apply(Change{Edit: func(apps map[string]*App) *Problem {
		app, problem := ParseApp([]byte(body), "")
		if problem == nil {
			apps[app.ID] = app
		}
		return problem
	}})
	if problem != nil {
		t.Fatal(problem)
	}
	idle(t, core)
}

// TestRollingReplacementKeepsTheOldUntilTheNewRun counts what runs after every
// event of a replacement.
func TestRollingReplacementKeepsTheOldUntilTheNewRun(t *testing.T) {
	core, _ := newCore(t, true)
	put(t, core, `{"id":"/a","cmd":"one","cpus":0.1,"mem":16,"instances":3}`)
	events, stop := core.Bus.Listen()
	defer stop()
	put(t, core, `{"id":"/a","cmd":"two","cpus":0.1,"mem":16,"instances":3}`)
	running, lowest, highest, started := 3, 3, 3, 0
	for len(events) > 0 {
		event := <-events
		var fields struct{ TaskStatus string }
		if event.Type != "status_update_event" || json.Unmarshal(event.Data, &fields) != nil {
			continue
		}
		switch fields.TaskStatus {
		case "TASK_RUNNING":
			running++
			started++
		case "TASK_KILLED":
			running--
		}
		lowest, highest = min(lowest, running), max(highest, running)
	}
	if running != 3 || lowest < 3 || highest > 6 || started != 3 {
		t.Errorf("running %d, lowest %d, highest %d, started %d", running, lowest, highest, started)
	}
}

func TestStateSurvivesTheLeader(t *testing.T) {
	core, _ := newCore(t, true)
	put(t, core, `{"id":"/g/a","cmd":"one","cpus":0.1,"mem":16,"instances":2}`)
	next, err := NewCore(core.Settings, core.store, &Bus{})
	if err != nil {
		t.Fatal(err)
	}
	ids := func(c *Core) string {
		var list []string
		for _, i := range c.of("/g/a") {
			list = append(list, i.TaskID()+i.State)
		}
		sort.Strings(list)
		return strings.Join(list, " ")
	}
	if ids(next) == "" || ids(next) != ids(core) || next.FrameworkID() != core.FrameworkID() || next.apps["/g/a"].Instances != 2 {
		t.Errorf("the next leader knows %q, this one %q", ids(next), ids(core))
	}
}

func TestBucketsAreThoseOfMarathon(t *testing.T) {
	// Measured in the tree of a real Marathon.
	for id, want := range map[string]string{"env": "d", "id": "b", "root": "2", "prod_web": "4", "prod_db": "a", "unk": "2", "stuck": "c", "put-new": "e"} {
		if got := bucket(id); got != want {
			t.Errorf("%s: bucket %s, want %s", id, got, want)
		}
	}
}
