package marathon

import (
	"encoding/json"
	"net/http"
	"strings"

	"toots.test/standins/internal/framework"
)

func (a *API) tasksRoute(q *request) {
	switch {
	case q.method() == http.MethodGet && len(q.parts) == 2:
		c := a.Core
		c.lock.Lock()
		list := []taskView{}
		for _, id := range union(c.apps, nil) {
			list = append(list, c.tasksOf(c.apps[id], true)...)
		}
		q.jsonLocked(c, 200, map[string]any{"tasks": list})
	case q.method() == http.MethodPost && q.part(2) == "delete":
		a.deleteTasks(q)
	default:
		q.notFound()
	}
}

// deleteTasks kills the tasks that a body lists.
func (a *API) deleteTasks(q *request) {
	body, problem := q.body()
	if problem != nil {
		q.problem(problem)
		return
	}
	var wanted struct{ IDs []string }
	if err := json.Unmarshal(body, &wanted); err != nil {
		q.problem(&Problem{Status: 400, Message: "Invalid JSON", Details: err.Error()})
		return
	}
	for _, id := range wanted.IDs {
		if !strings.Contains(id, ".instance-") && !strings.Contains(id, ".marathon-") {
			q.problem(&Problem{Status: 400, Message: "Invalid task id '" + id + "'. [taskId " + id + " no valid identifier (of class java.lang.String)]"})
			return
		}
	}
	killed, d, problem := a.Core.kill("", wanted.IDs, q.query.Get("scale") == "true", q.force())
	a.killed(q, map[string]any{"tasks": killed}, d, problem)
}

// killTasks serves DELETE /v2/apps/<id>/tasks[/<task>].
func (a *API) killTasks(q *request, app, task string) {
	a.Core.lock.Lock()
	known := a.Core.apps[app] != nil
	a.Core.unlock()
	if !known {
		q.problem(missing("App", app, true))
		return
	}
	var ids []string
	if task != "" {
		ids = []string{task}
	}
	killed, d, problem := a.Core.kill(app, ids, q.query.Get("scale") == "true", q.force())
	if task != "" && problem == nil && len(killed) == 0 {
		q.problem(missing("Task", task, true))
		return
	}
	if task != "" && problem == nil && d == nil {
		q.json(200, map[string]any{"task": killed[0]})
		return
	}
	a.killed(q, map[string]any{"tasks": killed}, d, problem)
}

func (a *API) killed(q *request, tasks map[string]any, d *Deployment, problem *Problem) {
	switch {
	case problem != nil:
		q.problem(problem)
	case d != nil:
		q.deployed(200, d)
	default:
		q.json(200, tasks)
	}
}

// kill ends tasks of one app or of all; with scale the apps shrink by as many.
func (c *Core) kill(app string, ids []string, scale, force bool) ([]taskView, *Deployment, *Problem) {
	wanted := map[string]bool{}
	for _, id := range ids {
		wanted[id] = true
	}
	killed, shrink := []taskView{}, map[string]int{}
	c.lock.Lock()
	for _, id := range union(c.apps, nil) {
		if app != "" && id != app {
			continue
		}
		for _, i := range c.of(id) {
			if !i.launched() || len(ids) > 0 && !wanted[i.TaskID()] {
				continue
			}
			killed = append(killed, c.task(i, c.apps[id], false))
			shrink[id]++
			task, agent := i.TaskID(), i.AgentID
			i.Stopping = scale || i.Stopping
			c.send(func(s *framework.Session) error { return s.Kill(task, agent) })
		}
	}
	c.unlock()
	if !scale || len(killed) == 0 {
		return killed, nil, nil
	}
	d, problem := c.Apply(Change{Force: force, Edit: func(apps map[string]*App) *Problem {
		for id, count := range shrink {
			apps[id].Instances = max(0, apps[id].Instances-count)
		}
		return nil
	}})
	return killed, d, problem
}

func (a *API) deploymentsRoute(q *request) {
	switch {
	case q.method() == http.MethodGet && len(q.parts) == 2:
		a.Core.lock.Lock()
		list := []map[string]any{}
		for _, d := range a.Core.deployments {
			list = append(list, d.view())
		}
		q.jsonLocked(a.Core, 200, list)
	case q.method() == http.MethodDelete && len(q.parts) == 3:
		d, problem := a.Core.Cancel(q.part(2), q.force())
		switch {
		case problem != nil:
			q.problem(problem)
		case d == nil:
			q.w.Header().Set("Content-Length", "0")
			q.w.WriteHeader(http.StatusAccepted)
		default:
			q.deployed(200, d)
		}
	default:
		q.notFound()
	}
}
