package master

import (
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	flagdata "toots.test/standins/flags"
	"toots.test/standins/internal/flags"
	"toots.test/standins/internal/mesos"
	"toots.test/standins/internal/recording"
)

func recordedFlags(t *testing.T) map[string]string {
	t.Helper()
	table, err := flags.LoadTable(flagdata.FS, "mesos-master")
	if err != nil {
		t.Fatal(err)
	}
	values, err := table.Parse([]string{"--ip=127.0.0.11", "--quorum=2", "--work_dir=/w", "--zk=zk://127.0.0.1:2181/mesos"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return values.Shown()
}

func testMaster(t *testing.T) *Master {
	t.Helper()
	replica := MemoryReplica()
	return New(Config{Flags: recordedFlags(t), IP: "127.0.0.11", Hostname: "127.0.0.11", Port: 5050, PingTimeout: time.Hour, MaxPings: 5,
		Reregister: time.Hour, Allocation: time.Hour, Fetch: 5 * time.Second, Store: 5 * time.Second, Replica: replica, Peers: together{},
		Ensemble: func() int { return 3 }, Quorum: 1, StoreText: "20secs", MaxCompleted: 1000, MaxCompletedFW: 50})
}

// leading is a master whose registry is recovered.
func leading(t *testing.T) *Master {
	t.Helper()
	master := testMaster(t)
	settle([]*Replica{master.cfg.Replica}, 1)
	info := master.Info()
	master.Detected(&info)
	for range 500 {
		master.mu.Lock()
		ready := len(master.runs) > 0
		master.mu.Unlock()
		if ready && master.registrar.Recovered() {
			return master
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("the registry was not recovered")
	return nil
}

func replay(t *testing.T, master *Master, file string, ignore func(string) bool) {
	t.Helper()
	blocks, err := recording.Load("../../../testdata/mesos/" + file)
	if err != nil {
		t.Fatal(err)
	}
	if len(blocks) < 15 {
		t.Fatalf("%s has only %d blocks", file, len(blocks))
	}
	for _, want := range blocks {
		got := recording.Replay(master.Handler(), recording.MesosRequest(want.Name))
		for _, difference := range recording.Compare(want, got, ignore) {
			t.Errorf("%s %s: %s", file, want.Name, difference)
		}
	}
}

func TestALeaderAnswersAsRecorded(t *testing.T) { replay(t, leading(t), "m-3-leader.txt", nil) }

func TestAFollowerAnswersAsRecorded(t *testing.T) {
	master := testMaster(t)
	other := New(Config{IP: "127.0.0.11", Hostname: "127.0.0.11", Port: 5050, Replica: MemoryReplica()}).Info()
	master.Detected(&other)
	replay(t, master, "m-3-nonleader.txt", idle)
}

func TestWithoutALeaderItAnswersAsRecorded(t *testing.T) {
	replay(t, testMaster(t), "m-no-leader.txt", idle)
}

func TestALeaderThatWaitsForItsRegistryAnswersAsRecorded(t *testing.T) {
	master := testMaster(t)
	info := master.Info()
	info.Hostname = "127.0.0.71"
	master.leader, master.elected = &info, time.Now()
	replay(t, master, "m-leader-registry-not-recovered.txt", idle)
}

// idle leaves out allocator times: a real allocator runs without a leader too.
func idle(path string) bool { return strings.Contains(path, "allocator/mesos/allocation_run") }

func TestALeaderWithAnAgentAnswersAsRecorded(t *testing.T) {
	master := leading(t)
	addAgent(t, master)
	replay(t, master, "m-3-leader-with-agent.txt", storeOnce)
}

// The recorded agent had been away and back; the statistics of writes begin with the second write, which it made.
func storeOnce(path string) bool {
	return strings.Contains(path, "reregistered_time") || strings.Contains(path, "registrar/state_store_ms/") || idle(path) ||
		strings.Contains(path, ".unreachable") || path == ".slaves.slaves[].info.resources[].role"
}

func addAgent(t *testing.T, master *Master) string {
	t.Helper()
	resources, err := mesos.ParseResources("cpus:2;mem:1024;disk:1000;ports:[31000-31010]")
	if err != nil {
		t.Fatal(err)
	}
	body, _ := mesos.Encode(mesos.Register{PID: "slave(1)@127.0.0.1:1", Info: mesos.AgentInfo{Hostname: "127.0.0.51", Port: 5051, Checkpoint: true,
		Resources: resources, Attributes: []mesos.Attribute{{Name: "rack", Type: "TEXT", Text: mesos.ID{Value: "r1"}},
			{Name: "zone", Type: "TEXT", Text: mesos.ID{Value: "z1"}}}}})
	recorder := httptest.NewRecorder()
	master.Handler().ServeHTTP(recorder, httptest.NewRequest("POST", mesos.PathRegister, strings.NewReader(body)))
	if recorder.Code != 200 {
		t.Fatalf("register answers %d %s", recorder.Code, recorder.Body)
	}
	master.mu.Lock()
	defer master.mu.Unlock()
	for id, one := range master.agents {
		one.connected = true
		return id
	}
	t.Fatal("no agent registered")
	return ""
}
