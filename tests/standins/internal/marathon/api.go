package marathon

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"toots.test/standins/internal/jetty"
)

// API answers as the leader does.
type API struct {
	Core *Core
	Self string // host:port
	Info func() map[string]any
	// Leader is the id of the leader, empty when there is none.
	Leader func() string
	// Abdicate gives up the leadership.
	Abdicate func()
}

// request is one call with what its handlers need.
type request struct {
	w     http.ResponseWriter
	r     *http.Request
	parts []string // of the path without empty ones
	query url.Values
}

const maxBody = 8 << 20

// ServeHTTP sets the headers of every answer and finds the handler. Paths are
// not cleaned by a mux: clients write /v2/apps//id.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("X-Marathon-Leader", "http://"+a.Self)
	h.Set("X-Frame-Options", "DENY")
	h["X-XSS-Protection"] = []string{"1; mode=block"}
	h.Set("Cache-Control", "no-cache, no-store, must-revalidate")
	h.Set("Pragma", "no-cache")
	h.Set("Expires", "0")
	q := &request{w: w, r: r, query: r.URL.Query()}
	for _, part := range strings.Split(r.URL.Path, "/") {
		if part != "" {
			q.parts = append(q.parts, part)
		}
	}
	if r.Method == http.MethodOptions {
		h.Del("Cache-Control")
		h.Del("Expires")
		jetty.SetReason(w, "Request failed.")
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	a.route(q)
}

func (q *request) part(n int) string {
	if n < len(q.parts) {
		return q.parts[n]
	}
	return ""
}

// method is the method with HEAD seen as GET.
func (q *request) method() string {
	if q.r.Method == http.MethodHead {
		return http.MethodGet
	}
	return q.r.Method
}

func (a *API) route(q *request) {
	switch q.part(0) {
	case "ping":
		q.ping()
	case "", "ui", "api-console", "help":
		a.pages(q)
	case "metrics":
		a.metrics(q)
	case "logging":
		q.json(200, map[string]string{"ROOT": "INFO"})
	case "v2":
		a.version2(q)
	default:
		q.notFound()
	}
}

func (a *API) version2(q *request) {
	key := q.method() + " " + q.part(1)
	switch {
	case key == "GET events":
		a.events(q)
	case q.part(1) == "apps":
		a.appsRoute(q)
	case q.part(1) == "groups":
		a.groupsRoute(q)
	case key == "GET info":
		q.json(200, a.Info())
	case q.part(1) == "leader":
		a.leader(q)
	case q.part(1) == "tasks":
		a.tasksRoute(q)
	case q.part(1) == "deployments":
		a.deploymentsRoute(q)
	case key == "GET queue":
		a.Core.lock.Lock()
		queue := a.Core.queue()
		q.jsonLocked(a.Core, 200, map[string]any{"queue": queue})
	case key == "DELETE queue":
		a.resetDelay(q)
	case key == "GET pods":
		q.json(200, []any{})
	case key == "GET plugins":
		q.json(200, map[string]any{"plugins": []any{}})
	default:
		q.notFound()
	}
}

func (q *request) notFound() { q.problem(&Problem{Status: 500, Message: "URI not found"}) }

// accepts reports whether the client takes JSON.
func (q *request) accepts() bool {
	accept := q.r.Header.Get("Accept")
	return accept == "" || strings.Contains(accept, "json") || strings.Contains(accept, "*/*") || strings.Contains(accept, "application/*")
}

// encode leaves < and > as they are.
func encode(value any) ([]byte, error) {
	var body bytes.Buffer
	encoder := json.NewEncoder(&body)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(value)
	return bytes.TrimRight(body.Bytes(), "\n"), err
}

func (q *request) json(status int, value any) {
	if !q.accepts() {
		status, value = http.StatusNotAcceptable, map[string]string{"message": "Not Acceptable"}
	}
	body, err := encode(value)
	if err != nil {
		jetty.Error(q.w, q.r, http.StatusInternalServerError, "Server Error")
		return
	}
	q.raw(status, "application/json", body)
}

// jsonLocked encodes under the core's lock, which it releases before writing.
func (q *request) jsonLocked(c *Core, status int, value any) {
	body, err := encode(value)
	c.unlock()
	if err != nil {
		jetty.Error(q.w, q.r, http.StatusInternalServerError, "Server Error")
		return
	}
	q.json(status, json.RawMessage(body))
}

func (q *request) raw(status int, kind string, body []byte) {
	q.w.Header().Set("Content-Type", kind)
	if q.r.Method == http.MethodGet && status == http.StatusOK {
		q.w.Header().Add("Vary", "Accept-Encoding, User-Agent")
	}
	q.w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	if status == 422 {
		jetty.SetReason(q.w, "")
	}
	q.w.WriteHeader(status)
	if q.r.Method != http.MethodHead {
		_, _ = q.w.Write(body)
	}
}

func (q *request) problem(p *Problem) {
	body := map[string]any{"message": p.Message}
	if p.Details != nil {
		body["details"] = p.Details
	}
	for key, value := range p.Extra {
		body[key] = value
	}
	encoded, _ := encode(body)
	q.raw(p.Status, "application/json", encoded)
}

// body reads a request's JSON; another content type is refused.
func (q *request) body() ([]byte, *Problem) {
	kind := q.r.Header.Get("Content-Type")
	if kind != "" && !strings.Contains(kind, "json") {
		return nil, &Problem{Status: 415, Message: "Unsupported Media Type"}
	}
	body, err := io.ReadAll(io.LimitReader(q.r.Body, maxBody))
	if err != nil {
		return nil, &Problem{Status: 400, Message: "Invalid JSON", Details: err.Error()}
	}
	return body, nil
}

func (q *request) force() bool { return q.query.Get("force") == "true" }

// deployed answers a change that was accepted.
func (q *request) deployed(status int, d *Deployment) {
	q.w.Header().Set("Marathon-Deployment-Id", d.ID)
	q.json(status, map[string]string{"deploymentId": d.ID, "version": d.Version})
}

func (q *request) ping() {
	q.w.Header().Add("Vary", "Accept")
	if strings.Contains(q.r.Header.Get("Accept"), "json") {
		q.raw(200, "application/json", []byte(`"pong"`))
		return
	}
	q.raw(200, "text/plain", []byte("pong"))
}

// pages redirects as the real program does; the web interface is left out.
func (a *API) pages(q *request) {
	target := ""
	switch {
	case len(q.parts) == 0:
		target = "http://" + q.r.Host + "/ui/"
	case !strings.HasSuffix(q.r.URL.Path, "/") && len(q.parts) == 1 && q.part(0) != "help":
		target = "/" + q.part(0) + "/"
	default:
		q.w.Header().Del("Expires")
		jetty.Error(q.w, q.r, http.StatusNotFound, "Not Found")
		return
	}
	q.w.Header().Set("Location", target)
	q.w.Header().Set("Content-Length", "0")
	q.w.WriteHeader(http.StatusFound)
}

func (a *API) leader(q *request) {
	switch q.method() {
	case http.MethodGet:
		leader := a.Leader()
		if leader == "" {
			q.problem(&Problem{Status: 404, Message: "There is no leader", Details: []any{}})
			return
		}
		q.json(200, map[string]string{"leader": leader})
	case http.MethodDelete:
		for _, option := range []string{"backup", "restore"} {
			uri := q.query.Get(option)
			if uri != "" && !strings.HasPrefix(uri, "file:") && !strings.HasPrefix(uri, "s3:") {
				q.problem(notValid("Invalid URI or unsupported scheme: " + uri))
				return
			}
		}
		q.problem(&Problem{Status: 200, Message: "Leadership abdicated", Details: []any{}})
		a.Abdicate()
	default:
		q.notFound()
	}
}

func (a *API) resetDelay(q *request) {
	id := CleanID(strings.Join(q.parts[2:max(2, len(q.parts)-1)], "/"))
	a.Core.lock.Lock()
	defer a.Core.unlock()
	found := false
	for _, i := range a.Core.of(id) {
		if !i.launched() {
			i.notBefore, found = i.since, true
		}
	}
	if !found {
		body, _ := json.Marshal(map[string]any{"message": "Application " + id + " not found in tasks queue.", "details": []any{}})
		q.raw(404, "application/octet-stream", body)
		return
	}
	q.w.WriteHeader(http.StatusNoContent)
}
