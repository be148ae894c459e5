package agent

import (
	"net/http"
	"strings"

	"toots.test/standins/internal/mesos"
)

const agentMessage = "agent::Call"

// Calls a real agent knows and the stand-in does not implement.
var unplayed = map[string]bool{"SET_LOGGING_LEVEL": true, "LIST_FILES": true, "READ_FILE": true, "LAUNCH_NESTED_CONTAINER": true,
	"WAIT_NESTED_CONTAINER": true, "KILL_NESTED_CONTAINER": true, "REMOVE_NESTED_CONTAINER": true, "LAUNCH_NESTED_CONTAINER_SESSION": true,
	"ATTACH_CONTAINER_INPUT": true, "ATTACH_CONTAINER_OUTPUT": true, "LAUNCH_CONTAINER": true, "WAIT_CONTAINER": true, "KILL_CONTAINER": true,
	"REMOVE_CONTAINER": true, "ADD_RESOURCE_PROVIDER_CONFIG": true, "UPDATE_RESOURCE_PROVIDER_CONFIG": true, "REMOVE_RESOURCE_PROVIDER_CONFIG": true,
	"MARK_RESOURCE_PROVIDER_GONE": true, "PRUNE_IMAGES": true}

// Handler serves everything an agent serves.
func (a *Agent) Handler() http.Handler { return mesos.Guard(a.serve) }

func (a *Agent) serve(w http.ResponseWriter, r *http.Request) {
	if a.serveStandin(w, r) {
		return
	}
	path := strings.TrimSuffix(r.URL.Path, "/")
	if !strings.HasPrefix(path, "/slave(1)/") && mesos.Common(w, r, path) {
		return
	}
	switch strings.TrimPrefix(path, "/slave(1)") {
	case "/health":
		mesos.Empty(w, http.StatusOK)
	case "/version":
		mesos.JSON(w, r, mesos.ThisBuild())
	case "/flags":
		mesos.JSON(w, r, object{"flags": a.cfg.Flags})
	case "/metrics/snapshot":
		a.view(w, r, func() any { return a.metrics() })
	case "/system/stats.json":
		mesos.JSON(w, r, mesos.SystemStats())
	case "/containerizer/debug":
		mesos.JSON(w, r, object{"pending": []object{}})
	case "/state":
		a.recovered(w, r, func() any { return a.stateView() })
	case "/containers":
		a.recovered(w, r, func() any { return a.containersView(true) })
	case "/monitor/statistics":
		a.recovered(w, r, func() any { return a.containersView(false) })
	case "/api/v1":
		a.operator(w, r)
	default:
		mesos.NotFound(w)
	}
}

func (a *Agent) view(w http.ResponseWriter, r *http.Request, make func() any) {
	a.mu.Lock()
	value := make()
	a.mu.Unlock()
	mesos.JSON(w, r, value)
}

// recovered serves what waits until executors are back.
func (a *Agent) recovered(w http.ResponseWriter, r *http.Request, make func() any) {
	a.mu.Lock()
	recovering := a.recovering
	a.mu.Unlock()
	if recovering {
		mesos.Text(w, http.StatusServiceUnavailable, "Agent has not finished recovery")
		return
	}
	a.view(w, r, make)
}

func (a *Agent) operator(w http.ResponseWriter, r *http.Request) {
	reads := a.reads()
	call, protobuf, ok := mesos.ReadCall(w, r, agentMessage, func(kind string) bool { return reads[kind] != nil || unplayed[kind] })
	if !ok {
		return
	}
	var options struct{}
	switch {
	case reads[call.Type] == nil:
		mesos.Text(w, http.StatusNotImplemented, "This stand-in does not play "+call.Type)
		return
	case call.Type == "GET_METRICS" && !call.Field(w, agentMessage, &options):
		return
	case protobuf && call.Type == "GET_HEALTH":
		mesos.HealthProtobuf(w)
		return
	case protobuf:
		mesos.Text(w, http.StatusNotImplemented, "This stand-in speaks JSON only")
		return
	}
	a.mu.Lock()
	value := reads[call.Type]()
	a.mu.Unlock()
	call.Reply(w, r, value)
}

// serveStandin takes the master's orders.
func (a *Agent) serveStandin(w http.ResponseWriter, r *http.Request) bool {
	switch r.URL.Path {
	case mesos.PathPing:
		mesos.Empty(w, http.StatusOK)
	case mesos.PathLaunch:
		order(w, r, func(message mesos.Launch) { go a.launch(message) })
	case mesos.PathKill:
		order(w, r, func(message mesos.Kill) { go a.kill(message) })
	case mesos.PathAck:
		order(w, r, a.acknowledge)
	case mesos.PathDrain:
		order(w, r, func(message *mesos.Drain) {
			a.mu.Lock()
			defer a.mu.Unlock()
			a.drain = message
		})
	case mesos.PathShutdown:
		order(w, r, func(why string) { go a.end(why) })
	default:
		return false
	}
	return true
}

func order[T any](w http.ResponseWriter, r *http.Request, do func(T)) {
	var message T
	if mesos.Receive(w, r, &message) {
		do(message)
		mesos.Empty(w, http.StatusOK)
	}
}
