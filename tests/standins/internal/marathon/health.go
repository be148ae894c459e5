package marathon

import (
	"net"
	"net/http"
	"strings"
	"time"

	"toots.test/standins/internal/framework"
)

// Health is the result of one check of one instance.
type Health struct {
	Alive               bool   `json:"alive"`
	ConsecutiveFailures int    `json:"consecutiveFailures"`
	FirstSuccess        string `json:"firstSuccess,omitempty"`
	LastFailure         string `json:"lastFailure,omitempty"`
	LastFailureCause    string `json:"lastFailureCause,omitempty"`
	LastSuccess         string `json:"lastSuccess,omitempty"`
	InstanceID          string `json:"instanceId"`

	next    time.Time
	running bool
}

// healthy means running and, where there are checks, alive in all of them.
func (c *Core) healthy(app *App, i *Instance) bool {
	if i.State != "TASK_RUNNING" {
		return false
	}
	for n := range app.HealthChecks {
		if n >= len(i.Health) || !i.Health[n].Alive {
			return false
		}
	}
	return true
}

// probe is a check that is due.
type probe struct {
	instance *Instance
	task     string
	index    int
	check    HealthCheck
	address  string
}

// CheckHealth starts every check that is due; it returns at once.
func (c *Core) CheckHealth() {
	c.lock.Lock()
	defer c.unlock()
	now := time.Now()
	for _, i := range c.instances {
		app := c.apps[i.AppID]
		if app == nil || i.State != "TASK_RUNNING" || i.Stopping || c.outdated(app, i) {
			continue
		}
		for len(i.Health) < len(app.HealthChecks) {
			i.Health = append(i.Health, Health{})
		}
		for n, check := range app.HealthChecks {
			health := &i.Health[n]
			health.InstanceID = "instance [" + i.ID + "]"
			port, ok := checkPort(check, i)
			if check.Protocol == "COMMAND" || !ok || health.running || now.Before(health.next) {
				continue
			}
			if health.next.IsZero() {
				health.next = now.Add(time.Duration(check.IntervalSeconds) * time.Second)
				continue
			}
			health.next, health.running = now.Add(time.Duration(check.IntervalSeconds)*time.Second), true
			go c.run(probe{i, i.TaskID(), n, check, net.JoinHostPort(i.Host, itoa(port))})
		}
	}
}

func checkPort(check HealthCheck, i *Instance) (int, bool) {
	if check.Port != 0 {
		return check.Port, true
	}
	if check.PortIndex == nil || *check.PortIndex >= len(i.Ports) {
		return 0, false
	}
	return i.Ports[*check.PortIndex], true
}

// run asks the task. The MESOS_ kinds are asked from here too, although the
// real ones are asked by the executor: the answer is the same in a lab.
func (c *Core) run(p probe) {
	timeout := time.Duration(p.check.TimeoutSeconds) * time.Second
	cause := ""
	if strings.HasSuffix(p.check.Protocol, "TCP") {
		conn, err := net.DialTimeout("tcp", p.address, timeout)
		if err != nil {
			cause = err.Error()
		} else {
			conn.Close()
		}
	} else {
		client := http.Client{Timeout: timeout, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
		answer, err := client.Get("http://" + p.address + "/" + strings.TrimPrefix(p.check.Path, "/"))
		if err != nil {
			cause = err.Error()
		} else {
			answer.Body.Close()
			if answer.StatusCode >= 400 {
				cause = answer.Status
			}
		}
	}
	c.lock.Lock()
	defer c.unlock()
	if c.instances[p.instance.ID] != p.instance || p.instance.TaskID() != p.task || p.index >= len(p.instance.Health) {
		return
	}
	p.instance.Health[p.index].running = false
	c.result(p.instance, p.index, p.check, cause)
	c.advance()
}

// result counts; too many failures after the grace period end the task.
func (c *Core) result(i *Instance, index int, check HealthCheck, cause string) {
	health := &i.Health[index]
	before, now := health.Alive, Timestamp(time.Now())
	if cause == "" {
		health.Alive, health.ConsecutiveFailures, health.LastSuccess = true, 0, now
		orDefault(&health.FirstSuccess, now)
	} else {
		started, err := time.Parse("2006-01-02T15:04:05.000Z", i.StartedAt)
		grace := err == nil && time.Since(started) < time.Duration(check.GracePeriodSeconds)*time.Second
		if grace && health.FirstSuccess == "" {
			return
		}
		health.Alive, health.LastFailure, health.LastFailureCause = false, now, cause
		health.ConsecutiveFailures++
		c.Bus.Publish("failed_health_check_event", map[string]any{"appId": i.AppID, "instanceId": i.ID, "healthCheck": check})
	}
	if before != health.Alive {
		c.Bus.Publish("health_status_changed_event", map[string]any{"appId": i.AppID, "instanceId": i.ID, "version": i.Version, "alive": health.Alive})
		c.Bus.Publish("instance_health_changed_event", map[string]any{"instanceId": i.ID, "runSpecId": i.AppID, "healthy": health.Alive, "runSpecVersion": i.Version})
	}
	if !health.Alive && check.MaxConsecutiveFailures > 0 && health.ConsecutiveFailures >= check.MaxConsecutiveFailures {
		c.Bus.Publish("unhealthy_instance_kill_event", map[string]any{"appId": i.AppID, "instanceId": i.ID, "version": i.Version, "reason": cause, "host": i.Host, "slaveId": i.AgentID})
		task, agent := i.TaskID(), i.AgentID
		c.send(func(s *framework.Session) error { return s.Kill(task, agent) })
		health.ConsecutiveFailures = 0
	}
}

// commandHealth takes the executor's word for COMMAND checks.
func (c *Core) commandHealth(i *Instance, healthy *bool) {
	app := c.apps[i.AppID]
	if healthy == nil || app == nil {
		return
	}
	for n, check := range app.HealthChecks {
		if check.Protocol == "COMMAND" && n < len(i.Health) {
			cause := ""
			if !*healthy {
				cause = "command failed"
			}
			i.Health[n].InstanceID = "instance [" + i.ID + "]"
			c.result(i, n, check, cause)
		}
	}
}
