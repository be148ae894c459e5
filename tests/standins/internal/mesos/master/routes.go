package master

import (
	"net/http"
	"strings"

	"toots.test/standins/internal/mesos"
)

// Handler serves everything a master serves.
func (m *Master) Handler() http.Handler { return mesos.Guard(m.serve) }

func (m *Master) serve(w http.ResponseWriter, r *http.Request) {
	if m.serveStandin(w, r) || m.serveLocal(w, r) {
		return
	}
	path := strings.TrimSuffix(r.URL.Path, "/")
	path = "/" + strings.TrimPrefix(strings.TrimPrefix(path, "/master"), "/")
	if strings.HasPrefix(path, "/quota/") {
		path = "/quota"
	}
	serve, known := m.leaderRoutes()[path]
	if !known {
		mesos.NotFound(w)
		return
	}
	if m.toLeader(w, r) {
		return
	}
	if strings.HasPrefix(path, "/api/v1") && !m.registrar.Recovered() {
		mesos.Text(w, http.StatusServiceUnavailable, "Master has not finished recovery")
		return
	}
	serve(w, r)
}

// serveStandin is the stand-ins' own protocol.
func (m *Master) serveStandin(w http.ResponseWriter, r *http.Request) bool {
	switch r.URL.Path {
	case mesos.PathRegister:
		m.register(w, r)
	case mesos.PathAttach:
		m.attach(w, r)
	case mesos.PathUnregister:
		m.unregister(w, r)
	case mesos.PathUpdate:
		m.update(w, r)
	default:
		return m.cfg.Replica.serveLog(w, r)
	}
	return true
}

// serveLocal is what every master answers itself.
func (m *Master) serveLocal(w http.ResponseWriter, r *http.Request) bool {
	path := strings.TrimSuffix(r.URL.Path, "/")
	switch path {
	case "/health", "/master/health":
		mesos.Empty(w, http.StatusOK)
	case "/redirect", "/master/redirect":
		m.redirect(w)
	case "/version":
		mesos.JSON(w, r, mesos.ThisBuild())
	case "/flags", "/master/flags":
		mesos.JSON(w, r, object{"flags": m.cfg.Flags})
	case "/metrics/snapshot":
		m.mu.Lock()
		metrics := m.metrics()
		m.mu.Unlock()
		mesos.JSON(w, r, metrics)
	case "/system/stats.json":
		mesos.JSON(w, r, mesos.SystemStats())
	case "/registrar(1)/registry":
		mesos.JSON(w, r, m.registrar.Registry().shown())
	default:
		return mesos.Common(w, r, path)
	}
	return true
}

// redirect tells where the leader is, without scheme and path.
func (m *Master) redirect(w http.ResponseWriter) {
	m.mu.Lock()
	leader := m.leader
	m.mu.Unlock()
	if leader == nil {
		mesos.Text(w, http.StatusServiceUnavailable, "No leader elected")
		return
	}
	w.Header()["Location"] = []string{"//" + hostPort(leader.Hostname, leader.Port)}
	mesos.Empty(w, http.StatusTemporaryRedirect)
}

// toLeader sends a request for the leader there; false if this master leads.
func (m *Master) toLeader(w http.ResponseWriter, r *http.Request) bool {
	m.mu.Lock()
	leader, leads := m.leader, m.leads()
	m.mu.Unlock()
	if leads {
		return false
	}
	if leader == nil {
		mesos.Text(w, http.StatusServiceUnavailable, "No leader elected")
		return true
	}
	target := "//" + hostPort(leader.Hostname, leader.Port) + "/master/" + strings.TrimPrefix(strings.TrimPrefix(r.URL.EscapedPath(), "/master"), "/")
	if r.URL.RawQuery != "" {
		target += "?" + r.URL.RawQuery
	}
	w.Header()["Location"] = []string{target}
	mesos.Empty(w, http.StatusTemporaryRedirect)
	return true
}

// view serves a document made with mu held, whatever the method.
func (m *Master) view(make func() object) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		m.mu.Lock()
		value := make()
		m.mu.Unlock()
		mesos.JSON(w, r, value)
	}
}

func posting(serve http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost {
			mesos.MethodNotAllowed(w, "POST", r.Method)
			return
		}
		serve(w, r)
	}
}

func (m *Master) leaderRoutes() map[string]http.HandlerFunc {
	missing := func(what string) http.HandlerFunc {
		return posting(func(w http.ResponseWriter, _ *http.Request) {
			mesos.Text(w, http.StatusBadRequest, "Missing '"+what+"' query parameter in the request body")
		})
	}
	return map[string]http.HandlerFunc{
		"/api/v1": m.operator, "/api/v1/scheduler": m.scheduler,
		"/state": m.view(m.stateView), "/state-summary": m.view(m.summaryView), "/slaves": m.view(m.slavesView),
		"/frameworks": m.view(m.frameworksView), "/tasks": m.view(m.tasksView), "/roles": m.view(m.rolesView),
		"/maintenance/schedule": func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPost {
				m.postSchedule(w, r)
				return
			}
			mesos.JSON(w, r, m.scheduleView())
		},
		"/maintenance/status": m.view(m.statusView),
		"/machine/down":       posting(func(w http.ResponseWriter, r *http.Request) { m.machines(w, r, false) }),
		"/machine/up":         posting(func(w http.ResponseWriter, r *http.Request) { m.machines(w, r, true) }),
		"/reserve":            missing("slaveId"), "/unreserve": missing("slaveId"),
		"/create-volumes": missing("slaveId"), "/destroy-volumes": missing("slaveId"),
		"/teardown": posting(m.teardown), "/quota": m.quota, "/weights": m.weights,
	}
}

func (m *Master) teardown(w http.ResponseWriter, r *http.Request) {
	id := r.PostFormValue("frameworkId")
	if id == "" {
		mesos.Text(w, http.StatusBadRequest, "Missing 'frameworkId' query parameter in the request body")
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	fw, known := m.frameworks[id]
	if !known {
		mesos.Text(w, http.StatusBadRequest, "No framework found with specified ID")
		return
	}
	m.removeFramework(fw)
	mesos.Empty(w, http.StatusOK)
}

// quota answers as a master without quotas; setting one is not played.
func (m *Master) quota(w http.ResponseWriter, r *http.Request) {
	switch r.Method {
	case http.MethodPost:
		var body object
		if readBody(w, r, "Failed to parse set quota request JSON '': ", &body) {
			mesos.Text(w, http.StatusNotImplemented, "This stand-in does not play quotas")
		}
	case http.MethodDelete:
		mesos.Text(w, http.StatusBadRequest, "Failed to parse remove quota request for path '/master/quota': expected 3 tokens, found 2 tokens")
	default:
		mesos.JSON(w, r, object{})
	}
}

func (m *Master) weights(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodPut {
		m.putWeights(w, r)
		return
	}
	weights := m.registrar.Registry().Weights
	if weights == nil {
		weights = []Weight{}
	}
	mesos.JSON(w, r, weights)
}
