package agent

import (
	"strings"
	"testing"
	"time"

	flagdata "toots.test/standins/flags"
	"toots.test/standins/internal/flags"
	"toots.test/standins/internal/mesos"
	"toots.test/standins/internal/recording"
)

func testAgent(t *testing.T) *Agent {
	t.Helper()
	table, err := flags.LoadTable(flagdata.FS, "mesos-agent")
	if err != nil {
		t.Fatal(err)
	}
	values, err := table.Parse([]string{"--work_dir=/w", "--master=zk://h:1/m", "--ip=127.0.0.51", "--attributes=rack:r1;zone:z1", "--resources=cpus:2"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	resources, err := mesos.ParseResources("cpus:2;mem:1024;disk:1000;ports:[31000-31010]")
	if err != nil {
		t.Fatal(err)
	}
	attributes, err := ParseAttributes("rack:r1;zone:z1")
	if err != nil {
		t.Fatal(err)
	}
	return New(Config{Flags: values.Shown(), IP: "127.0.0.51", Hostname: "127.0.0.51", Port: 5051, WorkDir: t.TempDir(), Policy: "equal",
		Info: mesos.AgentInfo{Hostname: "127.0.0.51", Port: 5051, Resources: resources, Attributes: attributes, Checkpoint: true}, Mesos: true,
		Containers: "mesos", DockerSocket: "/nonexistent", SandboxDir: "/mnt/mesos/sandbox"})
}

func replay(t *testing.T, agent *Agent, file string, ignore func(string) bool) {
	t.Helper()
	blocks, err := recording.Load("../../../testdata/mesos/" + file)
	if err != nil {
		t.Fatal(err)
	}
	if len(blocks) < 15 {
		t.Fatalf("%s has only %d blocks", file, len(blocks))
	}
	for _, want := range blocks {
		got := recording.Replay(agent.Handler(), recording.MesosRequest(want.Name))
		for _, difference := range recording.Compare(want, got, ignore) {
			t.Errorf("%s %s: %s", file, want.Name, difference)
		}
	}
}

// chosen are flags the recorded agent was given and files it had.
func chosen(path string) bool { return strings.HasPrefix(path, ".flags") }

func registered(agent *Agent) {
	agent.Detected(&mesos.Address{Hostname: "127.0.0.13", IP: "127.0.0.13", Port: 5050})
	agent.entered(mesos.Registered{AgentID: "a-S0"}, "127.0.0.13:5050")
}

func TestARegisteredAgentAnswersAsRecorded(t *testing.T) {
	agent := testAgent(t)
	registered(agent)
	replay(t, agent, "a-registered.txt", chosen)
}

func TestAnAgentWithoutAMasterAnswersAsRecorded(t *testing.T) {
	agent := testAgent(t)
	agent.cfg.Info.Attributes = nil
	replay(t, agent, "a-no-master.txt", chosen)
}

func wait(t *testing.T, what string, done func() bool) {
	t.Helper()
	for range 500 {
		if done() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("%s did not happen within 5 s", what)
}

func task(id, command string) mesos.Launch {
	resources := mesos.Quantities{Scalars: map[string]float64{"cpus": 0.5, "mem": 64}}.List("", "dev")
	return mesos.Launch{
		Framework: mesos.FrameworkInfo{User: "root", Name: "examfw", ID: &mesos.ID{Value: "f1"}, FailoverTimeout: 60, Checkpoint: true, Roles: []string{"dev"},
			Capabilities: []mesos.Capability{{Type: "MULTI_ROLE"}}},
		Task: mesos.TaskInfo{Name: id, TaskID: mesos.ID{Value: id}, AgentID: mesos.ID{Value: "a-S0"}, Resources: resources, Command: &mesos.CommandInfo{Value: command}}}
}

func stateOf(agent *Agent, id string) string {
	agent.mu.Lock()
	defer agent.mu.Unlock()
	for _, run := range agent.state.Runs {
		if run.Task.TaskID.Value == id {
			return run.Task.State
		}
	}
	return ""
}

func TestAnAgentWithTasksAnswersAsRecorded(t *testing.T) {
	agent := testAgent(t)
	registered(agent)
	failed := task("t0", "exit 3")
	failed.Framework.ID = &mesos.ID{Value: "f0"}
	agent.launch(failed)
	if state := stateOf(agent, "t0"); state != "TASK_FAILED" {
		t.Fatalf("a command that exits with 3 is %s", state)
	}
	for range 3 {
		agent.state.Runs[0].Pending = nil
	}
	go agent.launch(task("t1", "sleep 60"))
	wait(t, "running", func() bool { return stateOf(agent, "t1") == "TASK_RUNNING" })
	defer wait(t, "killing", func() bool { return stateOf(agent, "t1") == "TASK_KILLED" })
	defer agent.kill(mesos.Kill{FrameworkID: "f1", TaskID: "t1"})
	replay(t, agent, "a-with-task.txt", func(path string) bool {
		return chosen(path) || strings.Contains(path, ".completed_") || strings.Contains(path, "command.arguments") || strings.Contains(path, "reason") ||
			strings.Contains(path, "message")
	})
}

func TestARestartedAgentKeepsItsIDAndItsTask(t *testing.T) {
	agent := testAgent(t)
	registered(agent)
	// The earlier agent lives on in this process and saves the end of the task too: the test waits for
	// it, or its write meets the removal of the work directory.
	launched := make(chan struct{})
	go func() {
		agent.launch(task("t1", "sleep 60"))
		close(launched)
	}()
	wait(t, "running", func() bool { return stateOf(agent, "t1") == "TASK_RUNNING" })
	cfg := agent.cfg
	cfg.Info.ID = nil
	again := New(cfg)
	if again.id() != "a-S0" || stateOf(again, "t1") != "TASK_RUNNING" || !again.recovering {
		t.Fatalf("id %q, task %s, recovering %v", again.id(), stateOf(again, "t1"), again.recovering)
	}
	got := recording.Replay(again.Handler(), recording.MesosRequest("state"))
	if got.Status != 503 || got.Answer != "Agent has not finished recovery" {
		t.Errorf("/state while recovering: %d %s", got.Status, got.Answer)
	}
	go again.recoverRuns()
	again.kill(mesos.Kill{FrameworkID: "f1", TaskID: "t1"})
	wait(t, "killing", func() bool { return stateOf(again, "t1") == "TASK_KILLED" })
	<-launched
}

func TestWhatMayChangeAtARestart(t *testing.T) {
	info := func(hostname, resources, attributes string) mesos.AgentInfo {
		list, err := mesos.ParseResources(resources)
		if err != nil {
			t.Fatal(err)
		}
		text, err := ParseAttributes(attributes)
		if err != nil {
			t.Fatal(err)
		}
		return mesos.AgentInfo{Hostname: hostname, Resources: list, Attributes: text}
	}
	old := info("h", "cpus:2;ports:[1-10]", "rack:r1")
	cases := []struct {
		policy string
		now    mesos.AgentInfo
		want   bool
	}{
		{"equal", old, true},
		{"equal", info("h", "cpus:3;ports:[1-10]", "rack:r1"), false},
		{"equal", info("h", "cpus:2;ports:[1-10]", "rack:r1;new:n"), false},
		{"additive", info("h", "cpus:3;ports:[1-20]", "rack:r1;new:n"), true},
		{"additive", info("h", "cpus:1;ports:[1-10]", "rack:r1"), false},
		{"additive", info("h", "cpus:2;ports:[1-10]", "rack:r2"), false},
		{"additive", info("other", "cpus:2;ports:[1-10]", "rack:r1"), false},
	}
	for i, c := range cases {
		if got := Compatible(c.policy, old, c.now); got != c.want {
			t.Errorf("case %d (%s): %v", i, c.policy, got)
		}
	}
	if _, err := ParseAttributes(":x"); err == nil {
		t.Error("an attribute without a key was taken")
	}
}
