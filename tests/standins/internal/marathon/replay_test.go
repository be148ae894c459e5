package marathon

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"toots.test/standins/internal/jetty"
	"toots.test/standins/internal/recording"
)

func newAPI(t *testing.T, core *Core, ui string) *API {
	t.Helper()
	args := []string{"--master", "zk://127.0.0.1:21861/mesos", "--zk", "zk://127.0.0.1:21861/marathon", "--http_port", "18081", "--hostname", "127.0.0.1"}
	flags, err := ParseFlags(args)
	if err != nil {
		t.Fatal(err)
	}
	const self = "127.0.0.1:18081"
	return &API{Core: core, Self: self, Leader: func() string { return self }, Abdicate: func() {},
		Info: func() map[string]any { return Info(flags, self, self, core.FrameworkID(), ui, "root", "127.0.0.1") }}
}

func load(t *testing.T, file string) []recording.Exchange {
	t.Helper()
	exchanges, err := recording.Load("../../testdata/marathon/" + file)
	if err != nil {
		t.Fatal(err)
	}
	return exchanges
}

// accepts are the headers of the requests that were recorded with one.
var accepts = map[string]string{"20_GET_tasks_text": "text/plain", "91_GET_metrics_text": "text/plain", "91b_GET_ping_text": "text/plain",
	"91c_GET_ping_json": "application/json", "GET_events_sse": "text/event-stream"}

// ask repeats a recorded request.
func ask(handler http.Handler, e recording.Exchange, target string) (recording.Exchange, string) {
	r := httptest.NewRequest(e.Method, target, strings.NewReader(e.Body))
	r.RemoteAddr = "127.0.0.1:40000"
	for name, values := range e.Request {
		r.Header[name] = values
	}
	if accept := accepts[e.Name]; accept != "" {
		r.Header.Set("Accept", accept)
	}
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, r)
	reason := jetty.Reason(w.Header())
	return recording.Exchange{Status: w.Code, Header: w.Header(), Answer: w.Body.String()}, reason
}

// compareHeaders compares those that a client of Marathon may look at.
func compareHeaders(t *testing.T, want, got recording.Exchange) {
	t.Helper()
	for _, name := range []string{"Content-Type", "X-Marathon-Leader", "X-Marathon-Via", "X-Frame-Options", "Expires"} {
		if want.Header.Get(name) != headerOf(got.Header, name) {
			t.Errorf("%s: %s is %q, recorded %q", want.Name, name, headerOf(got.Header, name), want.Header.Get(name))
		}
	}
	for _, name := range []string{"Marathon-Deployment-Id", "Location"} {
		if (want.Header.Get(name) == "") != (headerOf(got.Header, name) == "") {
			t.Errorf("%s: %s is %q, recorded %q", want.Name, name, headerOf(got.Header, name), want.Header.Get(name))
		}
	}
}

func headerOf(h http.Header, name string) string {
	for key, values := range h {
		if strings.EqualFold(key, name) && len(values) > 0 {
			return values[0]
		}
	}
	return ""
}

func compareBody(t *testing.T, want, got recording.Exchange, ignore func(string) bool) {
	t.Helper()
	if want.Header.Get("Content-Type") != "application/json" {
		return
	}
	recorded, err := recording.Shape(want.Answer)
	if err != nil {
		return // an answer to HEAD has no body
	}
	answered, err := recording.Shape(got.Answer)
	if err != nil {
		t.Errorf("%s: %v in %s", want.Name, err, got.Answer)
		return
	}
	for _, difference := range recording.Differences(recorded, answered, ignore) {
		t.Errorf("%s: %s", want.Name, difference)
	}
}

func TestLeaderEmpty(t *testing.T) {
	core, _ := newCore(t, true)
	api := newAPI(t, core, "http://127.0.0.1:5050/")
	for _, e := range load(t, "leader-empty.txt") {
		got, _ := ask(api, e, e.URL)
		if got.Status != e.Status {
			t.Errorf("%s: %d, recorded %d: %s", e.Name, got.Status, e.Status, got.Answer)
			continue
		}
		compareHeaders(t, e, got)
		compareBody(t, e, got, nil)
	}
}

func TestLeaderWithoutMesos(t *testing.T) {
	core, _ := newCore(t, false)
	core.SetFrameworkID("0af32cbb-4137-4818-90da-e879d997414f-0001")
	api := newAPI(t, core, "")
	api.Self = "127.0.0.1:18082"
	post, _ := recording.ByName(load(t, "leader-no-mesos-master.txt"), "POST_app")
	ask(api, post, post.URL)
	for _, e := range load(t, "leader-no-mesos-master.txt") {
		if e.Name == "POST_app" {
			continue
		}
		got, _ := ask(api, e, e.URL)
		if got.Status != e.Status {
			t.Errorf("%s: %d, recorded %d", e.Name, got.Status, e.Status)
			continue
		}
		compareHeaders(t, e, got)
		// At the first reading nothing was deployed yet; the app itself is compared in the others.
		compareBody(t, e, got, func(path string) bool {
			return e.Name == "GET_v2_deployments" || strings.HasPrefix(path, ".queue[].app.")
		})
	}
}

var taskInPath = regexp.MustCompile(`[a-z0-9]+\.instance-[^?/]+`)

// TestLeader replays the recorded session in its order on apps that run.
func TestLeader(t *testing.T) {
	core, _ := newCore(t, true)
	api := newAPI(t, core, "http://127.0.0.1:5050/")
	deployments := map[string]string{}
	compared := 0
	for _, e := range load(t, "leader.txt") {
		if e.Name == "02_GET_app_right_after" || e.Name == "03_GET_deployments_during" || e.Name == "31_GET_deployments_restart" {
			continue // moments that pass too quickly here
		}
		if unplayable(e.Name) {
			continue
		}
		e.URL = strings.ReplaceAll(e.URL, ":18082", ":18081")
		e.Header.Set("X-Marathon-Leader", strings.ReplaceAll(e.Header.Get("X-Marathon-Leader"), ":18082", ":18081"))
		got, reason := ask(api, e, sameTask(core, sameDeployment(deployments, e.URL)))
		compared++
		if got.Status != e.Status {
			t.Errorf("%s: %d, recorded %d: %s", e.Name, got.Status, e.Status, got.Answer)
			continue
		}
		if got.Status == 422 && reason != "" {
			t.Errorf("%s: reason phrase %q", e.Name, reason)
		}
		if id := e.Header.Get("Marathon-Deployment-Id"); id != "" {
			deployments[id] = headerOf(got.Header, "Marathon-Deployment-Id")
		}
		compareHeaders(t, e, got)
		compareBody(t, e, got, func(path string) bool { return volatileField(e.Name, path) })
		settle(t, core, e.Name)
	}
	if compared < 80 {
		t.Errorf("only %d exchanges compared", compared)
	}
}

// settle lets deployments end that had ended when the next request was recorded.
func settle(t *testing.T, core *Core, name string) {
	t.Helper()
	time.Sleep(2 * time.Millisecond)
	switch name {
	case "44_PUT_locked", "41_POST_stuck", "42_GET_queue_stuck", "43_GET_app_stuck", "44b_GET_deployments_stuck", "a0_POST_stuck", "a3_POST_stuck3":
		time.Sleep(50 * time.Millisecond) // an offer must have been refused
		idle(t, core, "/stuck", "/stuck2", "/stuck3", "/hc")
	case "45_PUT_locked_force", "47_DELETE_app":
		idle(t, core)
	default:
		idle(t, core, "/stuck", "/stuck2", "/stuck3", "/hc")
	}
}

// unplayable are exchanges that need a failing task or a check that runs.
func unplayable(name string) bool {
	switch name {
	case "77_GET_app_fails", "78_GET_queue_fails", "79_GET_app_hc", "80_GET_app_hc_tasks", "99f_POST_content_type_text", "99e_POST_text":
		return true // the last two were not recorded with the body that was sent
	}
	return false
}

// volatileField are differences of the moment, not of the form.
func volatileField(name, path string) bool {
	switch {
	case strings.Contains(path, ".tasksStats") || strings.Contains(path, "lifeTime"):
		return true // lifetimes of nothing are left out
	case strings.HasSuffix(path, ".lastUsedOfferAt") || strings.HasSuffix(path, ".lastUnusedOfferAt"):
		return true
	case strings.Contains(path, ".env") || strings.Contains(path, ".labels."):
		return name != "01_POST_app_cmd"
	}
	return false
}

func sameDeployment(known map[string]string, target string) string {
	for recorded, own := range known {
		target = strings.ReplaceAll(target, recorded, own)
	}
	return target
}

// sameTask puts an own task of the app in place of the recorded one.
func sameTask(core *Core, target string) string {
	if !strings.Contains(target, "/tasks/") {
		return target
	}
	parsed, err := url.Parse(target)
	if err != nil {
		return target
	}
	recorded := taskInPath.FindString(parsed.Path)
	core.lock.Lock()
	defer core.lock.Unlock()
	for _, i := range core.instances {
		if prefix, _, _ := strings.Cut(recorded, "."); recorded != "" && strings.HasPrefix(i.ID, prefix+".") {
			return strings.ReplaceAll(target, recorded, i.TaskID())
		}
	}
	return target
}

func TestStandby(t *testing.T) {
	core, _ := newCore(t, true)
	api := newAPI(t, core, "http://127.0.0.1:5050/")
	leader := httptest.NewServer(api)
	defer leader.Close()
	address := strings.TrimPrefix(leader.URL, "http://")
	standby := NewStandby("127.0.0.1:18082", time.Second, time.Second)
	standby.Leader, standby.Leads = func() string { return address }, func() bool { return false }
	for _, e := range load(t, "standby.txt") {
		if e.Name == "GET_ping_loop" {
			e.Method, e.URL = "GET", "http://127.0.0.1:18082/ping"
			e.Request.Set("X-Marathon-Via", "1.1 127.0.0.1:18082")
		}
		if e.Name == "DELETE_app" {
			post, _ := recording.ByName(load(t, "standby.txt"), "POST_app")
			ask(standby, post, post.URL)
			idle(t, core)
		}
		got, reason := ask(standby, e, e.URL)
		if e.Name == "DELETE_app" {
			idle(t, core)
		}
		if got.Status != e.Status {
			t.Errorf("%s: %d %s, recorded %d: %s", e.Name, got.Status, reason, e.Status, got.Answer)
			continue
		}
		compareHeaders(t, e, got)
		compareBody(t, e, got, nil)
		for _, name := range []string{"x-frame-options", "marathon-deployment-id"} {
			if headerOf(got.Header, name) != "" && got.Header[name] == nil {
				t.Errorf("%s: %s is not in lower case: %v", e.Name, name, got.Header)
			}
		}
		if location := got.Header.Get("Location"); e.Name == "GET_events_sse" && location != leader.URL+"/v2/events" {
			t.Errorf("redirected to %s", location)
		}
	}
}

func TestNoLeader(t *testing.T) {
	standby := NewStandby("127.0.0.1:18081", time.Second, time.Second)
	standby.Leader, standby.Leads = func() string { return "" }, func() bool { return false }
	for _, e := range load(t, "no-leader.txt")[:1] {
		begin := time.Now()
		got, reason := ask(standby, e, e.URL)
		if got.Status != e.Status || reason != "Could not determine the current leader" {
			t.Errorf("%d %s", got.Status, reason)
		}
		if waited := time.Since(begin); waited < 2500*time.Millisecond || waited > 3500*time.Millisecond {
			t.Errorf("answered after %v, recorded 2.76 s", waited)
		}
		compareHeaders(t, e, got)
	}
	standby.Leader = func() string { return "127.0.0.1:1" }
	got, reason := ask(standby, recording.Exchange{Method: "GET"}, "/ping")
	if got.Status != http.StatusBadGateway || reason != "Connection to leader refused." {
		t.Errorf("dead leader: %d %s", got.Status, reason)
	}
}

func TestZKPattern(t *testing.T) {
	for url, valid := range map[string]bool{
		"zk://h:2181/marathon": true, "zk://u:p@h1:1,h2:2/a/b": true, "zk://h/m": true, "h:2181/marathon": false, "zk://h:2181": false, "zk://h:2181/": false,
	} {
		_, err := ParseFlags([]string{"--master", "m", "--zk", url})
		if (err == nil) != valid {
			t.Errorf("%s: %v", url, err)
		}
		if err != nil && !strings.HasPrefix(err.Error(), "[scallop] Error: Bad arguments for option 'zk': '"+url+"' - "+url+" is not a valid zk url") {
			t.Errorf("%s: %v", url, err)
		}
	}
	got := Arguments([]string{"MARATHON_HTTP_PORT=1", "MARATHON_HA=", "MARATHON_APP_ID=/x", "PATH=/bin"}, []string{"--master", "m"})
	if strings.Join(got, " ") != "--http_port 1 --ha --master m" {
		t.Errorf("environment gave %v", got)
	}
}
