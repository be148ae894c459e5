package marathon

import (
	"fmt"
	"sort"

	"toots.test/standins/internal/latch"
)

// Action of a deployment step.
type Action struct {
	Action string `json:"action"`
	App    string `json:"app"`
}

// Step is a set of actions that run in parallel.
type Step struct {
	Actions []Action `json:"actions"`
}

// Deployment is a plan in progress. Before holds the affected apps as they were,
// for a rollback; nil is an app that did not exist.
type Deployment struct {
	ID, Version string
	Steps       []Step
	Current     int
	Before      map[string]*App
	Announced   bool
}

func (d *Deployment) affected() []string {
	seen, list := map[string]bool{}, []string{}
	for _, step := range d.Steps {
		for _, action := range step.Actions {
			if !seen[action.App] {
				seen[action.App] = true
				list = append(list, action.App)
			}
		}
	}
	return list
}

func (d *Deployment) plan() map[string]any {
	return map[string]any{"id": d.ID, "steps": d.Steps, "version": d.Version}
}

// Change is a new set of apps, made from the present one.
type Change struct {
	// Edit works on copies; it may refuse.
	Edit func(apps map[string]*App) *Problem
	// Restart lists apps that are replaced without a change.
	Restart []string
	Force   bool
	DryRun  bool
}

// Apply plans a change, stores it and starts the deployment.
func (c *Core) Apply(change Change) (*Deployment, *Problem) {
	c.lock.Lock()
	defer c.unlock()
	next := map[string]*App{}
	for id, app := range c.apps {
		next[id] = app.clone()
	}
	if problem := change.Edit(next); problem != nil {
		return nil, problem
	}
	d := c.planFor(next, change.Restart)
	if change.DryRun {
		return d, nil
	}
	if problem := c.lockCheck(d, change.Force); problem != nil {
		c.Bus.Publish("deployment_failed", map[string]any{"id": d.ID, "plan": d.plan(), "reason": problem.Message})
		return nil, problem
	}
	c.commit(next, d, change.Restart)
	c.Bus.Publish("group_change_success", map[string]any{"groupId": "/", "version": d.Version})
	c.advance()
	return d, nil
}

// planFor compares the sets: removed apps stop first, new ones start, then each
// dependency level scales or restarts.
func (c *Core) planFor(next map[string]*App, restart []string) *Deployment {
	d := &Deployment{ID: latch.UUID(), Version: c.nextVersion(), Steps: []Step{}, Before: map[string]*App{}}
	restarted := map[string]bool{}
	for _, id := range restart {
		restarted[id] = true
	}
	var stop, start Step
	levels := map[int]*Step{}
	for _, id := range union(c.apps, next) {
		before, after := c.apps[id], next[id]
		var action string
		switch {
		case after == nil:
			stop.Actions = append(stop.Actions, Action{"StopApplication", id})
		case before == nil:
			start.Actions = append(start.Actions, Action{"StartApplication", id})
			action = "ScaleApplication"
		case before.configuration() != after.configuration() || restarted[id]:
			action = "RestartApplication"
		case before.Instances != after.Instances:
			action = "ScaleApplication"
		default:
			continue
		}
		d.Before[id] = before
		if action != "" {
			level := depth(next, id, 0)
			if levels[level] == nil {
				levels[level] = &Step{}
			}
			levels[level].Actions = append(levels[level].Actions, Action{action, id})
		}
	}
	for _, step := range []Step{stop, start} {
		if len(step.Actions) > 0 {
			d.Steps = append(d.Steps, step)
		}
	}
	for level := 0; len(levels) > 0 && level <= len(next); level++ {
		if levels[level] != nil {
			d.Steps = append(d.Steps, *levels[level])
		}
	}
	return d
}

// depth of an app in the dependencies; the limit guards against a circle.
func depth(apps map[string]*App, id string, limit int) int {
	app := apps[id]
	if app == nil || limit > len(apps) {
		return 0
	}
	deepest := 0
	for _, dependency := range app.Dependencies {
		if apps[dependency] != nil {
			deepest = max(deepest, 1+depth(apps, dependency, limit+1))
		}
	}
	return deepest
}

func union(a, b map[string]*App) []string {
	seen := map[string]bool{}
	for id := range a {
		seen[id] = true
	}
	for id := range b {
		seen[id] = true
	}
	list := make([]string, 0, len(seen))
	for id := range seen {
		list = append(list, id)
	}
	sort.Strings(list)
	return list
}

const lockedText = "App is locked by one or more deployments. Override with the option '?force=true'. View details at '/v2/deployments/<DEPLOYMENT_ID>'."

// lockCheck refuses a change to apps that are being deployed, or cancels those
// deployments when forced.
func (c *Core) lockCheck(d *Deployment, force bool) *Problem {
	touched := map[string]bool{}
	for _, app := range d.affected() {
		touched[app] = true
	}
	var kept, blocking []*Deployment
	for _, other := range c.deployments {
		conflict := false
		for _, app := range other.affected() {
			conflict = conflict || touched[app]
		}
		if conflict {
			blocking = append(blocking, other)
		} else {
			kept = append(kept, other)
		}
	}
	if len(blocking) == 0 {
		return nil
	}
	if !force {
		ids := []map[string]string{}
		for _, other := range blocking {
			ids = append(ids, map[string]string{"id": other.ID})
		}
		return &Problem{Status: 409, Message: lockedText, Extra: map[string]any{"deployments": ids}}
	}
	c.deployments = kept
	for _, other := range blocking {
		c.cancelled(other)
	}
	return nil
}

func (c *Core) cancelled(d *Deployment) {
	c.remove("deployment", d.ID)
	c.Bus.Publish("deployment_failed", map[string]any{"id": d.ID, "plan": d.plan(), "reason": "The upgrade has been cancelled"})
}

// commit takes the new set over: versions, service ports, storage.
func (c *Core) commit(next map[string]*App, d *Deployment, restart []string) {
	for _, id := range d.affected() {
		before, after := c.apps[id], next[id]
		if after == nil {
			delete(c.versions, id)
			delete(c.failures, id)
			delete(c.offers, id)
			c.remove("apps", fileName(id))
			continue
		}
		info := VersionInfo{d.Version, d.Version}
		if before != nil && before.VersionInfo != nil {
			same := before.configuration() == after.configuration()
			if same && before.Instances != after.Instances {
				info.LastConfigChangeAt = before.VersionInfo.LastConfigChangeAt
			} else if same && len(restart) > 0 {
				info.LastScalingAt = before.VersionInfo.LastScalingAt
			}
		}
		after.Version, after.VersionInfo = d.Version, &info
		assignPorts(next, after, c.Settings)
		c.versions[id] = append(c.versions[id], after)
		c.put("apps", fileName(id), after)
		c.put("apps", fileName(id)+"@"+d.Version, after)
		if before == nil {
			c.healthChecksAdded(after)
		}
	}
	c.apps, c.version = next, d.Version
	c.deployments = append(c.deployments, d)
	c.put("deployment", d.ID, d)
	c.saveRoot()
}

func (c *Core) saveRoot() {
	r := root{Version: c.version}
	for group := range c.groups {
		r.Groups = append(r.Groups, group)
	}
	c.put("group", "root", r)
}

func (c *Core) healthChecksAdded(app *App) {
	for _, check := range app.HealthChecks {
		c.Bus.Publish("add_health_check_event", map[string]any{"appId": app.ID, "healthCheck": check, "version": app.Version})
	}
}

// assignPorts gives the lowest free service ports.
func assignPorts(apps map[string]*App, app *App, settings Settings) {
	used := map[int]bool{}
	for _, other := range apps {
		for _, port := range other.servicePorts() {
			used[*port] = true
		}
	}
	next := settings.PortMin
	for _, port := range app.servicePorts() {
		for *port == 0 && next <= settings.PortMax {
			if !used[next] {
				*port, used[next] = next, true
			}
			next++
		}
	}
}

// advance moves deployments and instances as far as they can go now.
func (c *Core) advance() {
	for again := true; again; {
		again = false
		c.reconcile()
		for _, d := range append([]*Deployment{}, c.deployments...) {
			again = c.step(d) || again
		}
	}
	c.askForOffers()
}

// step finishes the current step of a deployment when it is done.
func (c *Core) step(d *Deployment) bool {
	if d.Current < len(d.Steps) {
		step := d.Steps[d.Current]
		if !d.Announced {
			d.Announced = true
			c.Bus.Publish("deployment_info", map[string]any{"plan": d.plan(), "currentStep": step})
		}
		for _, action := range step.Actions {
			if !c.done(action) {
				return false
			}
		}
		c.Bus.Publish("deployment_step_success", map[string]any{"plan": d.plan(), "currentStep": step})
		d.Current, d.Announced = d.Current+1, false
		if d.Current < len(d.Steps) {
			c.put("deployment", d.ID, d)
			return true
		}
	}
	for i, other := range c.deployments {
		if other == d {
			c.deployments = append(append([]*Deployment{}, c.deployments[:i]...), c.deployments[i+1:]...)
		}
	}
	c.remove("deployment", d.ID)
	c.counters["deployments"]++
	c.Bus.Publish("deployment_success", map[string]any{"id": d.ID, "plan": d.plan()})
	return true
}

func (c *Core) done(action Action) bool {
	app := c.apps[action.App]
	switch {
	case action.Action == "StartApplication":
		return true
	case action.Action == "StopApplication" || app == nil:
		return app != nil || len(c.of(action.App)) == 0
	}
	instances := c.of(action.App)
	for _, i := range instances {
		if i.Stopping || !c.healthy(app, i) || (action.Action == "RestartApplication" && c.outdated(app, i)) {
			return false
		}
	}
	return len(instances) == app.Instances
}

// Cancel ends a deployment: by force it just stops, else it is turned back.
func (c *Core) Cancel(id string, force bool) (*Deployment, *Problem) {
	c.lock.Lock()
	var found *Deployment
	for n, d := range c.deployments {
		if d.ID == id {
			found = d
			if force {
				c.deployments = append(append([]*Deployment{}, c.deployments[:n]...), c.deployments[n+1:]...)
				c.cancelled(d)
			}
		}
	}
	c.unlock()
	if found == nil {
		return nil, &Problem{Status: 404, Message: fmt.Sprintf("DeploymentPlan %s does not exist", id), Details: []any{}}
	}
	if force {
		return nil, nil
	}
	return c.Apply(Change{Force: true, Edit: func(apps map[string]*App) *Problem {
		for app, before := range found.Before {
			if before == nil {
				delete(apps, app)
			} else {
				apps[app] = before.clone()
			}
		}
		return nil
	}})
}
