package marathon

import (
	"encoding/json"
	"net/http"
	"slices"
	"sort"
	"strings"
)

func missing(kind, id string, details bool) *Problem {
	p := &Problem{Status: 404, Message: kind + " '" + id + "' does not exist"}
	if details {
		p.Details = []any{}
	}
	return p
}

// appsRoute finds the action: the last part of the path may be one.
func (a *API) appsRoute(q *request) {
	rest := q.parts[2:]
	if len(rest) == 0 {
		a.allApps(q)
		return
	}
	for n := len(rest) - 1; n >= max(1, len(rest)-2); n-- {
		id := CleanID(strings.Join(rest[:n], "/"))
		switch q.method() + " " + rest[n] {
		case "GET tasks":
			a.appTasks(q, id)
		case "DELETE tasks":
			a.killTasks(q, id, strings.Join(rest[n+1:], "/"))
		case "POST restart":
			a.restart(q, id)
		case "GET versions":
			a.appVersions(q, id, strings.Join(rest[n+1:], "/"))
		default:
			continue
		}
		return
	}
	a.oneApp(q, CleanID(strings.Join(rest, "/")))
}

func (a *API) allApps(q *request) {
	switch q.method() {
	case http.MethodGet:
		a.listApps(q)
	case http.MethodPost:
		a.createApp(q)
	case http.MethodPut, http.MethodPatch:
		a.bulk(q)
	default:
		q.notFound()
	}
}

func (a *API) listApps(q *request) {
	c := a.Core
	c.lock.Lock()
	embed := q.query["embed"]
	list := []appView{}
	for _, id := range union(c.apps, nil) {
		app := c.apps[id]
		if !selected(app, q) {
			continue
		}
		v := c.view(app, false)
		if slices.Contains(embed, "apps.tasks") {
			tasks := c.tasksOf(app, false)
			v.Tasks = &tasks
		}
		if slices.Contains(embed, "apps.lastTaskFailure") {
			v.LastTaskFailure = c.failures[id]
		}
		if slices.Contains(embed, "apps.taskStats") {
			v.TasksStats = c.stats(app)
		}
		list = append(list, v)
	}
	q.jsonLocked(c, 200, map[string]any{"apps": list})
}

// selected applies ?cmd=, ?id= and ?label=key==value.
func selected(app *App, q *request) bool {
	if cmd := q.query.Get("cmd"); cmd != "" && !strings.Contains(app.Cmd, cmd) {
		return false
	}
	if id := q.query.Get("id"); id != "" && !strings.Contains(app.ID, id) {
		return false
	}
	for _, label := range strings.Split(q.query.Get("label"), ",") {
		key, value, compared := strings.Cut(label, "==")
		held, present := app.Labels[key]
		if label != "" && (!present || compared && held != value) {
			return false
		}
	}
	return true
}

func (a *API) createApp(q *request) {
	body, problem := q.body()
	var app *App
	if problem == nil {
		app, problem = ParseApp(body, "")
	}
	if problem != nil {
		q.problem(problem)
		return
	}
	shown := app.clone()
	d, problem := a.Core.Apply(Change{Force: q.force(), Edit: func(apps map[string]*App) *Problem {
		if apps[app.ID] != nil {
			reason := "An app with id [" + app.ID + "] already exists."
			a.Core.Bus.Publish("group_change_failed", map[string]any{"groupId": "/", "version": a.Core.nextVersion(), "reason": reason})
			return &Problem{Status: 409, Message: reason}
		}
		apps[app.ID] = app
		return nil
	}})
	if problem != nil {
		q.problem(problem)
		return
	}
	// The answer shows the app as it was sent: service ports come afterwards.
	shown.Version = d.Version
	a.posted(q, shown)
	q.w.Header().Set("Location", "http://"+q.r.Host+app.ID)
	q.w.Header().Set("Marathon-Deployment-Id", d.ID)
	q.json(201, appView{App: shown, Deployments: []idRef{{d.ID}}})
}

func (a *API) posted(q *request, app *App) {
	client, _, _ := strings.Cut(q.r.RemoteAddr, ":")
	a.Core.Bus.Publish("api_post_event", map[string]any{"clientIp": client, "uri": q.r.URL.Path, "appDefinition": app.clone()})
}

// bulk writes several apps at once; it adds no default port.
func (a *API) bulk(q *request) {
	body, problem := q.body()
	var value any
	if problem == nil {
		value, problem = readJSON(body)
	}
	list, ok := value.([]any)
	if problem == nil && !ok {
		problem = invalid(detail{"/", []string{"error.expected.jsarray"}})
	}
	if problem != nil {
		q.problem(problem)
		return
	}
	d, problem := a.Core.Apply(Change{Force: q.force(), Edit: func(apps map[string]*App) *Problem {
		for _, entry := range list {
			object, _ := entry.(map[string]any)
			id, _ := object["id"].(string)
			var app *App
			var problem *Problem
			if present := apps[CleanID(id)]; present != nil && id != "" {
				app, problem = mergeObject(present, object)
			} else {
				app, problem = appOf(entry, "", false)
			}
			if problem != nil {
				return problem
			}
			apps[app.ID] = app
		}
		return nil
	}})
	if problem != nil {
		q.problem(problem)
		return
	}
	q.deployed(200, d)
}

func (a *API) oneApp(q *request, id string) {
	switch q.method() {
	case http.MethodGet:
		a.showApp(q, id)
	case http.MethodPut, http.MethodPatch:
		a.putApp(q, id)
	case http.MethodDelete:
		d, problem := a.Core.Apply(Change{Force: q.force(), Edit: func(apps map[string]*App) *Problem {
			if apps[id] == nil {
				return missing("App", id, false)
			}
			delete(apps, id)
			return nil
		}})
		if problem != nil {
			q.problem(problem)
			return
		}
		q.deployed(200, d)
	default:
		q.notFound()
	}
}

func (a *API) showApp(q *request, id string) {
	c := a.Core
	c.lock.Lock()
	if group, wild := strings.CutSuffix(id, "/*"); wild {
		list := []appView{}
		for _, member := range union(c.apps, nil) {
			if strings.HasPrefix(member, group+"/") {
				list = append(list, c.view(c.apps[member], true))
			}
		}
		q.jsonLocked(c, 200, map[string]any{"*": list})
		return
	}
	app := c.apps[id]
	if app == nil {
		c.unlock()
		q.problem(missing("App", id, true))
		return
	}
	q.jsonLocked(c, 200, map[string]any{"app": c.view(app, true)})
}

// putApp changes an app or makes it; PATCH only changes.
func (a *API) putApp(q *request, id string) {
	body, problem := q.body()
	if problem != nil {
		q.problem(problem)
		return
	}
	status := http.StatusOK
	var changed *App
	d, problem := a.Core.Apply(Change{Force: q.force(), Edit: func(apps map[string]*App) *Problem {
		var app *App
		var problem *Problem
		if version, given := versionOf(body); given && apps[id] != nil {
			app, problem = a.Core.atVersion(id, version)
		} else if apps[id] != nil {
			app, problem = Merge(apps[id], body)
		} else if q.r.Method == http.MethodPatch {
			return missing("App", id, false)
		} else {
			app, problem = ParseApp(body, id)
			status = http.StatusCreated
		}
		if problem == nil {
			apps[id], changed = app, app
		}
		return problem
	}})
	if problem != nil {
		q.problem(problem)
		return
	}
	if status == http.StatusCreated {
		q.w.Header().Set("Location", "http://"+q.r.Host+id)
	}
	a.posted(q, changed)
	q.deployed(status, d)
}

// versionOf is the version that a change asks to go back to.
func versionOf(body []byte) (string, bool) {
	var change map[string]any
	if json.Unmarshal(body, &change) != nil {
		return "", false
	}
	version, given := change["version"].(string)
	return version, given
}

// atVersion is an app as an earlier version had it; the caller holds the lock.
func (c *Core) atVersion(id, version string) (*App, *Problem) {
	for _, app := range c.versions[id] {
		if app.Version == version {
			return app.clone(), nil
		}
	}
	return nil, missing("App", id, false)
}

func (a *API) restart(q *request, id string) {
	d, problem := a.Core.Apply(Change{Force: q.force(), Restart: []string{id}, Edit: func(apps map[string]*App) *Problem {
		if apps[id] == nil {
			return missing("App", id, false)
		}
		return nil
	}})
	if problem != nil {
		q.problem(problem)
		return
	}
	q.deployed(200, d)
}

func (a *API) appTasks(q *request, id string) {
	c := a.Core
	c.lock.Lock()
	app := c.apps[id]
	if app == nil {
		c.unlock()
		q.problem(missing("App", id, true))
		return
	}
	q.jsonLocked(c, 200, map[string]any{"tasks": c.tasksOf(app, false)})
}

func (a *API) appVersions(q *request, id, version string) {
	c := a.Core
	c.lock.Lock()
	list := c.versions[id]
	if c.apps[id] == nil {
		c.unlock()
		q.problem(missing("App", id, true))
		return
	}
	names := []string{}
	for _, app := range list {
		names = append(names, app.Version)
		if app.Version == version {
			q.jsonLocked(c, 200, app)
			return
		}
	}
	sort.Strings(names)
	if version != "" {
		c.unlock()
		q.problem(&Problem{Status: 404, Message: "App '" + id + "' with version '" + version + "' does not exist", Details: []any{}})
		return
	}
	q.jsonLocked(c, 200, map[string]any{"versions": names})
}
