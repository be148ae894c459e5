package master

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"toots.test/standins/internal/mesos"
)

// scheduler is a framework at the v1 API.
type scheduler struct {
	t      *testing.T
	url    string
	stream *bufio.Reader
	body   io.Closer
	header string
	id     string
}

func subscribe(t *testing.T, url, id string) *scheduler {
	t.Helper()
	info := `{"user":"root","name":"examfw","failover_timeout":60,"checkpoint":true,"roles":["dev"],"capabilities":[{"type":"MULTI_ROLE"},{"type":"PARTITION_AWARE"}]`
	if id != "" {
		info += `,"id":{"value":"` + id + `"}`
	}
	answer, err := http.Post(url+"/api/v1/scheduler", "application/json", strings.NewReader(`{"type":"SUBSCRIBE","subscribe":{"framework_info":`+info+`}}}`))
	if err != nil {
		t.Fatal(err)
	}
	if answer.StatusCode != 200 {
		text, _ := io.ReadAll(answer.Body)
		t.Fatalf("SUBSCRIBE answers %d %s", answer.StatusCode, text)
	}
	s := &scheduler{t: t, url: url, stream: bufio.NewReader(answer.Body), body: answer.Body, header: answer.Header.Get("Mesos-Stream-Id")}
	t.Cleanup(func() { _ = answer.Body.Close() })
	s.id = s.next("SUBSCRIBED")["subscribed"].(map[string]any)["framework_id"].(map[string]any)["value"].(string)
	return s
}

// next reads events until one of a type.
func (s *scheduler) next(kind string) map[string]any {
	s.t.Helper()
	for {
		line, err := s.stream.ReadString('\n')
		if err != nil {
			s.t.Fatalf("stream ended before %s: %v", kind, err)
		}
		length, err := strconv.Atoi(strings.TrimSpace(line))
		if err != nil {
			s.t.Fatalf("no RecordIO length: %q", line)
		}
		record := make([]byte, length)
		if _, err := io.ReadFull(s.stream, record); err != nil {
			s.t.Fatal(err)
		}
		var event map[string]any
		if err := json.Unmarshal(record, &event); err != nil {
			s.t.Fatal(err)
		}
		if event["type"] == kind {
			return event
		}
	}
}

func (s *scheduler) call(stream, format string, args ...any) (int, string) {
	s.t.Helper()
	body := fmt.Sprintf(`{"framework_id":{"value":"`+s.id+`"},`+format+`}`, args...)
	request, err := http.NewRequest("POST", s.url+"/api/v1/scheduler", strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	if stream != "" {
		request.Header.Set("Mesos-Stream-Id", stream)
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		s.t.Fatal(err)
	}
	defer answer.Body.Close()
	text, _ := io.ReadAll(answer.Body)
	return answer.StatusCode, string(text)
}

// fakeAgent takes orders and remembers them by path.
func fakeAgent(t *testing.T) (pid string, orders chan string) {
	t.Helper()
	orders = make(chan string, 100)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { orders <- r.URL.Path }))
	t.Cleanup(server.Close)
	return "slave(1)@" + strings.TrimPrefix(server.URL, "http://"), orders
}

func expect(t *testing.T, orders chan string, path string) {
	t.Helper()
	for deadline := time.After(5 * time.Second); ; {
		select {
		case got := <-orders:
			if got == path {
				return
			}
		case <-deadline:
			t.Fatalf("the agent was not told %s", path)
		}
	}
}

func post(t *testing.T, url, path string, body any) {
	t.Helper()
	if err := mesos.Post(t.Context(), 5*time.Second, strings.TrimPrefix(url, "http://"), path, body, nil); err != nil {
		t.Fatal(err)
	}
}

func status(id, agent, state string) mesos.TaskStatus {
	return mesos.TaskStatus{TaskID: mesos.ID{Value: id}, State: state, Source: "SOURCE_EXECUTOR", AgentID: &mesos.ID{Value: agent}, ExecutorID: &mesos.ID{Value: id},
		Timestamp: mesos.Seconds(time.Now()), UUID: mesos.NewUpdateUUID(), ContainerStatus: &mesos.ContainerStatus{ContainerID: &mesos.ID{Value: "c"},
			ExecutorPID: 1, NetworkInfos: []mesos.NetworkInfo{{IPAddresses: []mesos.IPAddress{{Protocol: "IPv4", IPAddress: "127.0.0.51"}}}}}}
}

// running is a leader with an agent, a framework with a running task `t1`, and a completed one.
func running(t *testing.T) (*Master, *scheduler, string, chan string) {
	t.Helper()
	master := leading(t)
	agent := addAgent(t, master)
	pid, orders := fakeAgent(t)
	master.mu.Lock()
	master.agents[agent].pid = pid
	master.mu.Unlock()
	server := httptest.NewServer(master.Handler())
	t.Cleanup(server.CloseClientConnections)
	s := subscribe(t, server.URL, "")
	for _, id := range []string{"t0", "t1"} {
		offer := s.next("OFFERS")["offers"].(map[string]any)["offers"].([]any)[0].(map[string]any)
		code, text := s.call(s.header, `"type":"ACCEPT","accept":{"offer_ids":[{"value":"%s"}],"operations":[{"type":"LAUNCH","launch":{"task_infos":[{"name":"%s","task_id":{"value":"%s"},"agent_id":{"value":"%s"},"resources":[{"name":"cpus","type":"SCALAR","scalar":{"value":0.5}},{"name":"mem","type":"SCALAR","scalar":{"value":64}}],"command":{"value":"sleep 9"}}]}}],"filters":{"refuse_seconds":0}}`,
			offer["id"].(map[string]any)["value"], id, id, agent)
		if code != 202 {
			t.Fatalf("ACCEPT answers %d %s", code, text)
		}
		expect(t, orders, mesos.PathLaunch)
		if id == "t0" {
			end := status(id, agent, "TASK_FAILED")
			end.ContainerStatus, end.Source, end.Reason, end.Message = nil, "SOURCE_AGENT", "REASON_EXECUTOR_TERMINATED", "Executor terminated"
			post(t, server.URL, mesos.PathUpdate, mesos.Update{FrameworkID: s.id, Status: end})
			s.next("UPDATE")
			continue
		}
		for _, state := range []string{"TASK_STARTING", "TASK_RUNNING"} {
			post(t, server.URL, mesos.PathUpdate, mesos.Update{FrameworkID: s.id, Status: status(id, agent, state)})
			s.next("UPDATE")
		}
	}
	master.mu.Lock()
	master.frameworks[s.id].suppressed = true
	for id := range master.offers {
		delete(master.offers, id)
	}
	master.mu.Unlock()
	return master, s, agent, orders
}

func TestALeaderWithATaskAnswersAsRecorded(t *testing.T) {
	master, _, _, _ := running(t)
	replay(t, master, "m-3-leader-with-task.txt", func(path string) bool {
		return storeOnce(path) || strings.HasPrefix(path, ".master/frameworks/") || strings.HasPrefix(path, ".master/task_failed/") ||
			strings.HasPrefix(path, ".unreachable.")
	})
}

func TestCallsNeedTheRightStreamID(t *testing.T) {
	_, s, _, _ := running(t)
	if code, text := s.call("", `"type":"REVIVE"`); code != 400 || text != "All non-subscribe calls should include the 'Mesos-Stream-Id' header" {
		t.Errorf("without: %d %s", code, text)
	}
	if code, _ := s.call("wrong", `"type":"REVIVE"`); code != 400 {
		t.Errorf("wrong: %d", code)
	}
}

func TestKillAcknowledgeAndReconcileReachTheirEnds(t *testing.T) {
	_, s, agent, orders := running(t)
	s.call(s.header, `"type":"ACKNOWLEDGE","acknowledge":{"agent_id":{"value":"%s"},"task_id":{"value":"t1"},"uuid":"x"}`, agent)
	expect(t, orders, mesos.PathAck)
	s.call(s.header, `"type":"RECONCILE","reconcile":{"tasks":[{"task_id":{"value":"t1"}},{"task_id":{"value":"nope"}}]}`)
	for _, want := range []string{"TASK_RUNNING", "TASK_UNKNOWN"} {
		got := s.next("UPDATE")["update"].(map[string]any)["status"].(map[string]any)
		if got["state"] != want || got["reason"] != "REASON_RECONCILIATION" {
			t.Errorf("reconciled %v, want %s", got, want)
		}
	}
	s.call(s.header, `"type":"KILL","kill":{"task_id":{"value":"t1"}}`)
	expect(t, orders, mesos.PathKill)
}

func TestAFrameworkComesBackWithItsIDAndTheOldStreamEnds(t *testing.T) {
	master, s, _, _ := running(t)
	again := subscribe(t, s.url, s.id)
	if again.id != s.id {
		t.Fatalf("came back as %s", again.id)
	}
	if text := s.next("ERROR")["error"].(map[string]any)["message"]; text != "Framework failed over" {
		t.Errorf("the old stream was told %v", text)
	}
	_ = again.body.Close()
	for range 500 {
		master.mu.Lock()
		connected := master.frameworks[s.id].connected()
		master.mu.Unlock()
		if !connected {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Error("a framework whose stream ended is still shown as connected")
}

func TestDrainKillsAndMarkGoneIsFinal(t *testing.T) {
	master, s, agent, orders := running(t)
	operator := func(body string) (int, string) {
		request := httptest.NewRequest("POST", "/api/v1", strings.NewReader(body))
		request.Header.Set("Content-Type", "application/json")
		recorder := httptest.NewRecorder()
		master.Handler().ServeHTTP(recorder, request)
		return recorder.Code, recorder.Body.String()
	}
	if code, text := operator(`{"type":"DRAIN_AGENT","drain_agent":{"agent_id":{"value":"` + agent + `"},"max_grace_period":{"seconds":3}}}`); code != 200 {
		t.Fatalf("DRAIN_AGENT answers %d %s", code, text)
	}
	expect(t, orders, mesos.PathKill)
	if _, text := operator(`{"type":"GET_AGENTS"}`); !strings.Contains(text, `"state":"DRAINING"`) || !strings.Contains(text, `"nanoseconds":3000000000`) {
		t.Errorf("while draining: %s", text)
	}
	if code, text := operator(`{"type":"REACTIVATE_AGENT","reactivate_agent":{"agent_id":{"value":"` + agent + `"}}}`); code != 400 || text != "Agent is still in the DRAINING state" {
		t.Errorf("REACTIVATE_AGENT answers %d %s", code, text)
	}
	post(t, s.url, mesos.PathUpdate, mesos.Update{FrameworkID: s.id, Status: status("t1", agent, "TASK_KILLED")})
	if _, text := operator(`{"type":"GET_AGENTS"}`); !strings.Contains(text, `"state":"DRAINED"`) {
		t.Errorf("after the last task: %s", text)
	}
	if code, text := operator(`{"type":"MARK_AGENT_GONE","mark_agent_gone":{"agent_id":{"value":"` + agent + `"}}}`); code != 200 {
		t.Fatalf("MARK_AGENT_GONE answers %d %s", code, text)
	}
	expect(t, orders, mesos.PathShutdown)
	var reply mesos.Registered
	message := mesos.Register{PID: "slave(1)@127.0.0.1:1", Info: mesos.AgentInfo{ID: &mesos.ID{Value: agent}, Hostname: "127.0.0.51"}}
	if err := mesos.Post(t.Context(), 5*time.Second, strings.TrimPrefix(s.url, "http://"), mesos.PathRegister, message, &reply); err != nil || !reply.Gone {
		t.Errorf("a gone agent that comes back is told %+v, %v", reply, err)
	}
}
