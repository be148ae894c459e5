package marathon

import (
	"math"
	"time"

	"toots.test/standins/internal/framework"
)

func (c *Core) outdated(app *App, i *Instance) bool {
	return app.VersionInfo != nil && i.Version < app.VersionInfo.LastConfigChangeAt
}

// waiting reports whether a deployment has not reached the app's own step yet.
func (c *Core) waiting(app string) bool {
	for _, d := range c.deployments {
		last := -1
		for n, step := range d.Steps {
			for _, action := range step.Actions {
				if action.App == app {
					last = n
				}
			}
		}
		if last > d.Current {
			return true
		}
	}
	return false
}

// reconcile starts and stops instances so that each app gets what it wants.
func (c *Core) reconcile() {
	for _, i := range c.instances {
		if c.apps[i.AppID] == nil {
			c.stop(i)
		}
	}
	for _, app := range c.apps {
		if !c.waiting(app.ID) {
			c.reconcileApp(app)
		}
	}
}

func (c *Core) reconcileApp(app *App) {
	var old, current []*Instance
	healthy := 0
	for _, i := range c.of(app.ID) {
		if i.Stopping {
			c.stop(i) // repeats a kill that got no answer
			continue
		}
		if c.healthy(app, i) {
			healthy++
		}
		if c.outdated(app, i) {
			old = append(old, i)
		} else {
			current = append(current, i)
		}
	}
	capacity := int(math.Floor(float64(app.Instances) * (1 + float64(app.UpgradeStrategy.MaximumOverCapacity))))
	floor := int(math.Ceil(float64(app.Instances) * float64(app.UpgradeStrategy.MinimumHealthCapacity)))
	if len(old) > 0 && capacity <= app.Instances && floor >= app.Instances {
		capacity = app.Instances + 1 // otherwise the replacement could never begin
	}
	if len(old) == 0 {
		capacity = app.Instances
	}
	for len(current) < app.Instances && len(current)+len(old) < capacity {
		current = append(current, c.schedule(app))
	}
	for _, i := range old {
		if !c.healthy(app, i) {
			c.stop(i)
		} else if healthy > floor || app.Instances == 0 {
			healthy--
			c.stop(i)
		}
	}
	for n := len(current) - 1; n >= app.Instances; n-- {
		c.stop(current[n])
	}
}

func (c *Core) schedule(app *App) *Instance {
	i := &Instance{ID: fileName(app.ID) + ".instance-" + timeUUID(), AppID: app.ID, Version: app.Version, Attempt: 1, Condition: "Scheduled", since: time.Now()}
	c.instances[i.ID] = i
	c.changed(i)
	return i
}

// stop ends an instance: at once when nothing was launched, else by a kill that
// is repeated until the task's end is known.
func (c *Core) stop(i *Instance) {
	if !i.launched() {
		c.drop(i)
		c.goneIfLast(i.AppID)
		return
	}
	if time.Since(i.lastKill) < 10*time.Second {
		return
	}
	i.lastKill = time.Now()
	if !i.Stopping {
		i.Stopping = true
		c.saveInstance(i)
	}
	task, agent := i.TaskID(), i.AgentID
	c.send(func(s *framework.Session) error { return s.Kill(task, agent) })
}

func (c *Core) goneIfLast(app string) {
	if c.apps[app] == nil && len(c.of(app)) == 0 {
		c.Bus.Publish("app_terminated_event", map[string]any{"appId": app})
	}
}
