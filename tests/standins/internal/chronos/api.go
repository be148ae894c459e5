package chronos

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"sort"
	"strconv"
	"strings"
	"time"

	"toots.test/standins/internal/jetty"
)

// API answers as the leader does.
type API struct {
	Core     *Core
	Defaults Defaults
	Self     string
}

const serverName = "Jetty(9.3.6.v20151106)"

// ServeHTTP finds the handler.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Server", serverName)
	if strings.HasPrefix(r.URL.Path, "//") {
		jetty.SetReason(w, "Bad URI")
		w.Header().Set("Connection", "close")
		w.Header().Set("Content-Length", "0")
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	if r.URL.Path == "/ping" {
		ping(w, r)
		return
	}
	w.Header().Set("Access-Control-Allow-Origin", "*")
	rest, found := strings.CutPrefix(r.URL.Path, "/v1/scheduler/")
	method := r.Method
	if method == http.MethodHead {
		method = http.MethodGet
	}
	switch {
	case found:
		a.scheduler(w, r, method, strings.Split(strings.Trim(rest, "/"), "/"))
	case r.URL.Path == "/metrics":
		w.Header().Set("Cache-Control", "must-revalidate,no-cache,no-store")
		a.metrics(w, r)
	case r.URL.Path == "/logging":
		page(w, "<html><body>logging</body></html>\n")
	default:
		jetty.Error(w, r, http.StatusNotFound, "Not Found")
	}
}

func page(w http.ResponseWriter, text string) {
	w.Header().Set("Content-Type", "text/html;charset=iso-8859-1")
	w.Header().Set("Content-Length", strconv.Itoa(len(text)))
	_, _ = io.WriteString(w, text)
}

func ping(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "must-revalidate,no-cache,no-store")
	w.Header().Set("Access-Control-Allow-Credentials", "true")
	w.Header().Set("Content-Type", "text/plain;charset=iso-8859-1")
	w.Header().Set("Content-Length", "5")
	if r.Method != http.MethodHead {
		_, _ = io.WriteString(w, "pong\n")
	}
}

func (a *API) scheduler(w http.ResponseWriter, r *http.Request, method string, parts []string) {
	last := parts[len(parts)-1]
	switch method + " " + strings.Join(parts[:len(parts)-1], "/") {
	case "GET ", "POST ":
		a.plain(w, r, method, last)
	case "GET jobs":
		switch last {
		case "search":
			a.list(w, r, r.URL.Query().Get("name"))
		case "summary":
			a.summary(w, r)
		default:
			jetty.Error(w, r, http.StatusNotFound, "Not Found")
		}
	case "GET job":
		a.oneJob(w, r, last)
	case "PUT job":
		a.done(w, r, a.Core.Run(last, r.URL.Query().Get("arguments")), "Job", last)
	case "DELETE job":
		a.done(w, r, a.Core.Delete(last), "JobSchedule", last)
	case "GET job/stat":
		a.stat(w, r, last)
	case "PUT job/success":
		if !a.Core.Success(last) {
			a.missing(w, r, "Job", last)
			return
		}
		chunked(w, r, http.StatusOK, "application/json", []byte("marked job "+last+" as successful: true"))
	case "DELETE task/kill":
		a.done(w, r, a.Core.Kill(last), "JobSchedule", last)
	case "GET stats":
		chunked(w, r, http.StatusOK, "application/json", []byte("[]"))
	case "GET graph":
		a.graph(w, r, last)
	default:
		jetty.Error(w, r, http.StatusNotFound, "Not Found")
	}
}

func (a *API) plain(w http.ResponseWriter, r *http.Request, method, name string) {
	switch method + " " + name {
	case "GET jobs":
		a.list(w, r, "")
	case "GET leader":
		answer(w, r, http.StatusOK, map[string]string{"leader": a.Self})
	case "POST iso8601":
		a.post(w, r, false)
	case "POST dependency":
		a.post(w, r, true)
	default:
		jetty.Error(w, r, http.StatusNotFound, "Not Found")
	}
}

// chunked answers without a length, as Jersey does.
func chunked(w http.ResponseWriter, r *http.Request, status int, kind string, body []byte) {
	w.Header().Set("Content-Type", kind)
	if r.Method == http.MethodHead || len(body) == 0 {
		w.Header().Set("Content-Length", "0")
		w.WriteHeader(status)
		return
	}
	w.WriteHeader(status)
	if flusher, ok := w.(http.Flusher); ok {
		flusher.Flush()
	}
	_, _ = w.Write(body)
}

func answer(w http.ResponseWriter, r *http.Request, status int, value any) {
	body, err := json.Marshal(value)
	if err != nil {
		jetty.Error(w, r, http.StatusInternalServerError, "Server Error")
		return
	}
	chunked(w, r, status, "application/json", body)
}

func refuse(w http.ResponseWriter, r *http.Request, status int, message string) {
	answer(w, r, status, map[string]string{"message": message, "status": http.StatusText(status)})
}

func (a *API) missing(w http.ResponseWriter, r *http.Request, kind, name string) {
	refuse(w, r, http.StatusBadRequest, fmt.Sprintf("java.lang.IllegalArgumentException: requirement failed: %s '%s' not found", kind, name))
}

func (a *API) done(w http.ResponseWriter, r *http.Request, ok bool, kind, name string) {
	if !ok {
		a.missing(w, r, kind, name)
		return
	}
	noContent(w)
}

func noContent(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusNoContent)
}

func (a *API) post(w http.ResponseWriter, r *http.Request, dependent bool) {
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err == nil && len(strings.TrimSpace(string(body))) == 0 {
		refuse(w, r, http.StatusInternalServerError, `java.lang.NullPointerException: Cannot invoke "org.apache.mesos.chronos.scheduler.jobs.ScheduleBasedJob.name()" because "newJob" is null`)
		return
	}
	job, err := ParseJob(body, a.Defaults)
	if err != nil || job.Name == "" {
		w.Header().Set("Connection", "close")
		jetty.Error(w, r, http.StatusInternalServerError, "Server Error")
		return
	}
	if !jobName.MatchString(job.Name) {
		refuse(w, r, http.StatusBadRequest, `java.lang.IllegalArgumentException: requirement failed: the job's name is invalid. Allowed names: '([\w\.-]+)'`)
		return
	}
	if dependent {
		if len(job.Parents) == 0 {
			refuse(w, r, http.StatusInternalServerError, "java.lang.Exception: Error, parent does not exist")
			return
		}
		job.Schedule, job.ScheduleTimeZone = nil, nil
	} else if err := a.fixSchedule(job); err != nil {
		refuse(w, r, http.StatusBadRequest, err.Error())
		return
	}
	a.Core.Put(job)
	noContent(w)
}

// fixSchedule: no schedule is one run now, an empty start is now.
func (a *API) fixSchedule(job *Job) error {
	job.Parents = nil
	now, zone := time.Now(), ""
	if job.ScheduleTimeZone == nil {
		job.ScheduleTimeZone = &zone
	}
	if job.Schedule == nil {
		text := "R1//PT24H"
		job.Schedule = &text
	}
	schedule, err := ParseSchedule(*job.Schedule, now)
	if err != nil {
		return err
	}
	if strings.Contains(*job.Schedule, "//") {
		text := schedule.String()
		job.Schedule = &text
	}
	return nil
}

// names lists the jobs in order. A job whose parent is unknown was accepted and
// stored, but never enters the graph that the API shows.
func (c *Core) names() []string {
	names := make([]string, 0, len(c.jobs))
	for name, job := range c.jobs {
		known := true
		for _, parent := range job.Parents {
			known = known && c.jobs[parent] != nil
		}
		if known {
			names = append(names, name)
		}
	}
	sort.Strings(names)
	return names
}

func (a *API) list(w http.ResponseWriter, r *http.Request, contains string) {
	a.Core.lock.Lock()
	jobs := []Job{}
	for _, name := range a.Core.names() {
		if strings.Contains(name, contains) {
			jobs = append(jobs, *a.Core.jobs[name])
		}
	}
	a.Core.unlock()
	answer(w, r, http.StatusOK, jobs)
}

func (a *API) oneJob(w http.ResponseWriter, r *http.Request, name string) {
	a.Core.lock.Lock()
	job := a.Core.jobs[name]
	var copied Job
	if job != nil {
		copied = *job
	}
	a.Core.unlock()
	if job == nil {
		a.missing(w, r, "Job", name)
		return
	}
	answer(w, r, http.StatusOK, copied)
}

// state is what runs of a job: idle, queued or a count.
func (c *Core) state(name string) string {
	running, queued := 0, false
	for _, r := range c.runs {
		if r.job == name && r.task != "" {
			running++
		}
		queued = queued || r.job == name && r.task == ""
	}
	switch {
	case running > 0:
		return fmt.Sprintf("%d running", running)
	case queued:
		return "queued"
	}
	return "idle"
}

func (a *API) summary(w http.ResponseWriter, r *http.Request) {
	c := a.Core
	c.lock.Lock()
	list := []map[string]any{}
	for _, name := range c.names() {
		job := c.jobs[name]
		schedule, parents := "", []string{}
		if job.Schedule != nil {
			schedule = *job.Schedule
			if parsed, err := ParseSchedule(schedule, time.Now()); err == nil {
				schedule = parsed.String()
			}
		}
		parents = append(parents, job.Parents...)
		list = append(list, map[string]any{"name": name, "status": c.statuses[name], "state": c.state(name),
			"schedule": schedule, "parents": parents, "disabled": job.Disabled})
	}
	c.unlock()
	answer(w, r, http.StatusOK, map[string]any{"jobs": list})
}

func (a *API) stat(w http.ResponseWriter, r *http.Request, name string) {
	c := a.Core
	c.lock.Lock()
	known := c.jobs[name] != nil
	times := []float64{}
	for _, d := range c.durations[name] {
		times = append(times, float64(d.Milliseconds()))
	}
	c.unlock()
	if !known {
		a.missing(w, r, "Job", name)
		return
	}
	sort.Float64s(times)
	at := func(fraction float64) Float {
		if len(times) == 0 {
			return 0
		}
		return Float(times[min(len(times)-1, int(fraction*float64(len(times))))])
	}
	sum := 0.0
	for _, t := range times {
		sum += t / float64(len(times))
	}
	answer(w, r, http.StatusOK, map[string]any{"taskStatHistory": []any{}, "histogram": map[string]any{
		"75thPercentile": at(0.75), "95thPercentile": at(0.95), "98thPercentile": at(0.98), "99thPercentile": at(0.99),
		"median": at(0.5), "mean": Float(sum), "count": len(times)}})
}

func (a *API) graph(w http.ResponseWriter, r *http.Request, form string) {
	c := a.Core
	c.lock.Lock()
	var nodes, links strings.Builder
	number := map[string]int{}
	for n, name := range c.names() {
		number[name] = n + 1
		if form == "dot" {
			fmt.Fprintf(&nodes, "  %d [ label=%q ];\n", n+1, name)
		} else {
			fmt.Fprintf(&nodes, "node,%s,%s,%s\n", name, c.statuses[name], c.state(name))
		}
	}
	for _, name := range c.names() {
		for _, parent := range c.jobs[name].Parents {
			if form == "dot" && number[parent] > 0 {
				fmt.Fprintf(&links, "  %d -> %d;\n", number[parent], number[name])
			} else if number[parent] > 0 {
				fmt.Fprintf(&links, "link,%s,%s\n", parent, name)
			}
		}
	}
	c.unlock()
	switch form {
	case "csv":
		chunked(w, r, http.StatusOK, "text/plain", []byte(nodes.String()+links.String()))
	case "dot":
		chunked(w, r, http.StatusOK, "text/plain", []byte("digraph G {\n"+nodes.String()+links.String()+"}\n"))
	default:
		jetty.Error(w, r, http.StatusNotFound, "Not Found")
	}
}

func (a *API) metrics(w http.ResponseWriter, r *http.Request) {
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	a.Core.lock.Lock()
	jobs := len(a.Core.jobs)
	a.Core.unlock()
	answer(w, r, http.StatusOK, map[string]any{
		"version": "3.0.0", "counters": map[string]any{}, "histograms": map[string]any{}, "meters": map[string]any{}, "timers": map[string]any{},
		"gauges": map[string]any{
			"jvm.memory.heap.used": map[string]any{"value": memory.HeapAlloc}, "jobs.count": map[string]any{"value": jobs},
		},
	})
}
