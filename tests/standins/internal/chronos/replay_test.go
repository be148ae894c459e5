package chronos

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"

	"toots.test/standins/internal/framework"
	"toots.test/standins/internal/recording"
)

// memory is a store for tests.
type memory struct {
	jobs map[string]*Job
	id   string
}

func (m *memory) SaveJob(j *Job) error           { m.jobs[j.Name] = j; return nil }
func (m *memory) DeleteJob(name string) error    { delete(m.jobs, name); return nil }
func (m *memory) SaveFrameworkID(i string) error { m.id = i; return nil }
func (m *memory) FrameworkID() (string, error)   { return m.id, nil }
func (m *memory) Jobs() ([]*Job, error) {
	var list []*Job
	for _, job := range m.jobs {
		list = append(list, job)
	}
	return list, nil
}

func newAPI(t *testing.T) *API {
	t.Helper()
	core, err := NewCore(&memory{jobs: map[string]*Job{}})
	if err != nil {
		t.Fatal(err)
	}
	return &API{Core: core, Self: "127.0.0.1:14401", Defaults: Defaults{CPUs: 0.1, Mem: 128, Disk: 256, User: "root"}}
}

func load(t *testing.T, file string) []recording.Exchange {
	t.Helper()
	exchanges, err := recording.Load("../../testdata/chronos/" + file)
	if err != nil {
		t.Fatal(err)
	}
	return exchanges
}

// ask sends a recorded request over the wire: whether an answer is chunked and
// whether its body comes is part of the comparison.
func ask(t *testing.T, server *httptest.Server, e recording.Exchange) recording.Exchange {
	t.Helper()
	target := e.URL
	if at := strings.Index(strings.TrimPrefix(target, "http://"), "/"); at >= 0 {
		target = strings.TrimPrefix(target, "http://")[at:]
	}
	request, err := http.NewRequest(e.Method, server.URL, strings.NewReader(e.Body))
	if err != nil {
		t.Fatal(err)
	}
	path, query, _ := strings.Cut(target, "?")
	request.URL.Path, request.URL.RawQuery = path, query
	request.Header = e.Request
	client := http.Client{Timeout: 200 * time.Millisecond, Transport: &http.Transport{DisableCompression: true, DisableKeepAlives: true}}
	answer, err := client.Do(request)
	if err != nil {
		t.Fatalf("%s: %v", e.Name, err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	text := string(body)
	if err != nil {
		text = hung
	}
	if len(answer.TransferEncoding) > 0 {
		answer.Header.Set("Transfer-Encoding", answer.TransferEncoding[0])
	}
	return recording.Exchange{Status: answer.StatusCode, Header: answer.Header, Answer: text}
}

const hung = "(no body came)"

func compare(t *testing.T, want, got recording.Exchange) {
	t.Helper()
	if got.Status != want.Status {
		t.Errorf("%s: %d, recorded %d: %s", want.Name, got.Status, want.Status, got.Answer)
		return
	}
	for _, name := range []string{"Content-Type", "Access-Control-Allow-Origin", "Access-Control-Allow-Credentials", "Server", "Transfer-Encoding"} {
		if got.Header.Get(name) != want.Header.Get(name) {
			t.Errorf("%s: %s is %q, recorded %q", want.Name, name, got.Header.Get(name), want.Header.Get(name))
		}
	}
	recorded, err := recording.Shape(want.Answer)
	if err != nil || want.Header.Get("Content-Type") != "application/json" {
		return
	}
	answered, err := recording.Shape(got.Answer)
	if err != nil {
		t.Errorf("%s: %v in %q", want.Name, err, got.Answer)
		return
	}
	for _, difference := range recording.Differences(recorded, answered, func(path string) bool {
		return strings.Contains(path, "container") // one job of several has one
	}) {
		t.Errorf("%s: %s", want.Name, difference)
	}
}

// pings allows for the charset that Jetty leaves out of answers to HEAD.
func pings(e *recording.Exchange) {
	if e.Name == "HEAD_ping" {
		e.Header.Set("Content-Type", "text/plain;charset=iso-8859-1")
	}
}

func TestLeaderEmpty(t *testing.T) {
	server := httptest.NewServer(newAPI(t))
	defer server.Close()
	for _, e := range load(t, "leader-empty.txt") {
		pings(&e)
		compare(t, e, ask(t, server, e))
	}
}

// TestLeader replays the recorded session; without a master no task runs.
func TestLeader(t *testing.T) {
	server := httptest.NewServer(newAPI(t))
	defer server.Close()
	for _, e := range load(t, "leader.txt") {
		compare(t, e, ask(t, server, e))
	}
}

func TestStandby(t *testing.T) {
	api := newAPI(t)
	leader := httptest.NewServer(api)
	defer leader.Close()
	standby := &Standby{Self: "127.0.0.1:14402", Leads: func() bool { return false }, client: &http.Client{},
		Leader: func() (string, error) { return strings.TrimPrefix(leader.URL, "http://"), nil }, Fatal: func(error) {}}
	server := httptest.NewServer(standby)
	defer server.Close()
	for _, e := range load(t, "standby.txt") {
		if e.Name == "GET__" {
			continue // Jetty refuses it before the proxy
		}
		// An error with a length was recorded as hanging until the client gave up.
		withoutBody := e.Status == http.StatusNotFound
		pings(&e)
		if post, _ := recording.ByName(load(t, "standby.txt"), "POST_iso8601"); e.Name == "DELETE_job" {
			ask(t, server, post)
		}
		got := ask(t, server, e)
		if withoutBody {
			if got.Answer != hung || got.Status != http.StatusNotFound {
				t.Errorf("%s: %d %q, recorded as hanging", e.Name, got.Status, got.Answer)
			}
			continue
		}
		compare(t, e, got)
	}
}

func TestStandbyDiesWithTheLeadersNode(t *testing.T) {
	var failure error
	standby := &Standby{Self: "a", Leads: func() bool { return false }, Fatal: func(err error) { failure = err },
		Leader: func() (string, error) { return "", zk.ErrNoNode }}
	standby.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/ping", nil))
	if failure != zk.ErrNoNode {
		t.Errorf("failure %v", failure)
	}
}

func TestEnvironment(t *testing.T) {
	recorded, err := os.ReadFile("../../testdata/chronos/task-env.txt")
	if err != nil {
		t.Fatal(err)
	}
	job, err := ParseJob([]byte(load(t, "leader.txt")[0].Body), Defaults{CPUs: 0.1, Mem: 128, Disk: 256, User: "root"})
	if err != nil {
		t.Fatal(err)
	}
	r := &run{job: job.Name, due: time.UnixMilli(1795340468663)}
	r.task = r.id()
	task := taskFor(job, r, "127.0.0.1", nil)
	got := map[string]string{}
	for _, variable := range task.Command.Environment.Variables {
		got[variable.Name] = variable.Value
	}
	count := 0
	for _, line := range strings.Split(strings.TrimSpace(string(recorded)), "\n") {
		name, value, _ := strings.Cut(line, "=")
		if strings.HasPrefix(name, "MESOS_") || strings.HasPrefix(name, "LIBPROCESS_") || name == "PATH" || name == "PWD" {
			continue
		}
		count++
		if got[name] != value {
			t.Errorf("%s is %q, recorded %q", name, got[name], value)
		}
	}
	if count != len(got) {
		t.Errorf("%d variables, recorded %d: %v", len(got), count, got)
	}
}

func TestSchedules(t *testing.T) {
	now := time.Date(2026, 11, 22, 9, 41, 8, 878e6, time.UTC)
	for text, want := range map[string]string{
		"R1//PT24H":                     "R0/2026-11-23T09:41:08.878Z/PT24H",
		"R3//PT4S":                      "R2/2026-11-22T09:41:12.878Z/PT4S",
		"R/2026-11-22T09:00:00Z/PT1H":   "R/2026-11-22T10:00:00.000Z/PT1H",
		"R/2026-01-31T00:00:00Z/P1DT1M": "",
	} {
		schedule, err := ParseSchedule(text, now)
		if err != nil || !schedule.Due(now) {
			t.Errorf("%s: %v", text, err)
			continue
		}
		next := schedule.Next(now)
		if want != "" && next.String() != want {
			t.Errorf("%s: next %s, want %s", text, next, want)
		}
		if !next.Start.After(now) {
			t.Errorf("%s: next %s is not after now", text, next)
		}
	}
	for _, bad := range []string{"nonsense", "R//", "R/2026/PT1H/x", "Rx//PT1H", "R/tomorrow/PT1H", "R//1H"} {
		if _, err := ParseSchedule(bad, now); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}

// TestFailedTasksAreRetriedAndParentsRelease follows a run without a master.
func TestFailedTasksAreRetriedAndParentsRelease(t *testing.T) {
	api := newAPI(t)
	c := api.Core
	c.FailureRetry = 0
	empty := ""
	once := "R1//PT1H"
	c.Put(&Job{Name: "parent", Command: "true", Retries: 1, Schedule: &once, ScheduleTimeZone: &empty})
	c.Put(&Job{Name: "child", Command: "true", Parents: []string{"parent"}})
	finish := func(state string) {
		t.Helper()
		c.useOffer(framework.Offer{ID: framework.Value{Value: "o"}})
		for id, r := range c.runs {
			if r.task != "" {
				c.update(framework.Status{TaskID: framework.Value{Value: id}, State: state})
				return
			}
		}
		t.Fatal("nothing runs")
	}
	finish("TASK_FAILED")
	if c.jobs["parent"].ErrorCount != 0 || !c.busy("parent") {
		t.Errorf("a first failure is not retried: %+v", c.jobs["parent"])
	}
	time.Sleep(2 * time.Millisecond)
	finish("TASK_FAILED")
	if c.jobs["parent"].ErrorCount != 1 || c.busy("parent") || c.statuses["parent"] != "failure" {
		t.Errorf("after the retries: %+v", c.jobs["parent"])
	}
	c.Run("parent", "")
	time.Sleep(2 * time.Millisecond)
	finish("TASK_FINISHED")
	if c.jobs["parent"].SuccessCount != 1 || !c.busy("child") {
		t.Errorf("success did not release the child: %+v", c.jobs["parent"])
	}
}
