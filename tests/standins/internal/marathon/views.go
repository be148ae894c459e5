package marathon

import (
	"net"
	"sort"
	"time"
)

// taskView is a task as the API shows it.
type taskView struct {
	AppID              string              `json:"appId"`
	HealthCheckResults []Health            `json:"healthCheckResults"`
	Host               string              `json:"host"`
	ID                 string              `json:"id"`
	IPAddresses        []map[string]string `json:"ipAddresses"`
	Ports              []int               `json:"ports"`
	ServicePorts       []int               `json:"servicePorts"`
	SlaveID            string              `json:"slaveId"`
	State              string              `json:"state"`
	StagedAt           string              `json:"stagedAt"`
	StartedAt          string              `json:"startedAt,omitempty"`
	Version            string              `json:"version"`
	LocalVolumes       []any               `json:"localVolumes"`
	Role               string              `json:"role"`
}

type idRef struct {
	ID string `json:"id"`
}

// appView is an app with what runs of it.
type appView struct {
	*App
	TasksStaged     int            `json:"tasksStaged"`
	TasksRunning    int            `json:"tasksRunning"`
	TasksHealthy    int            `json:"tasksHealthy"`
	TasksUnhealthy  int            `json:"tasksUnhealthy"`
	Deployments     []idRef        `json:"deployments"`
	Tasks           *[]taskView    `json:"tasks,omitempty"`
	LastTaskFailure map[string]any `json:"lastTaskFailure,omitempty"`
	TasksStats      any            `json:"tasksStats,omitempty"`
}

func (i *Instance) addresses() []map[string]string {
	ips := i.IPs
	if len(ips) == 0 && net.ParseIP(i.Host) != nil {
		ips = []string{i.Host}
	}
	list := []map[string]string{}
	for _, ip := range ips {
		list = append(list, map[string]string{"ipAddress": ip, "protocol": "IPv4"})
	}
	return list
}

// task shows an instance that was launched. Only /v2/tasks fills servicePorts.
func (c *Core) task(i *Instance, app *App, servicePorts bool) taskView {
	view := taskView{
		AppID: i.AppID, HealthCheckResults: []Health{}, Host: i.Host, ID: i.TaskID(), IPAddresses: i.addresses(),
		Ports: append([]int{}, i.Ports...), ServicePorts: []int{}, SlaveID: i.AgentID, State: i.State,
		StagedAt: i.StagedAt, StartedAt: i.StartedAt, Version: i.Version, LocalVolumes: []any{}, Role: "*",
	}
	for _, health := range i.Health {
		if health.FirstSuccess != "" || health.LastFailure != "" {
			view.HealthCheckResults = append(view.HealthCheckResults, health)
		}
	}
	if servicePorts && app != nil {
		for _, port := range app.servicePorts() {
			view.ServicePorts = append(view.ServicePorts, *port)
		}
	}
	return view
}

func (c *Core) tasksOf(app *App, servicePorts bool) []taskView {
	tasks := []taskView{}
	for _, i := range c.of(app.ID) {
		if i.launched() {
			tasks = append(tasks, c.task(i, app, servicePorts))
		}
	}
	return tasks
}

// view counts the tasks of an app; full adds the tasks and the last failure.
func (c *Core) view(app *App, full bool) appView {
	v := appView{App: app.clone(), Deployments: []idRef{}}
	for _, i := range c.of(app.ID) {
		switch {
		case i.State == "TASK_STAGING" || i.State == "TASK_STARTING":
			v.TasksStaged++
		case i.State == "TASK_RUNNING":
			v.TasksRunning++
			if len(app.HealthChecks) > 0 && c.healthy(app, i) {
				v.TasksHealthy++
			} else if unhealthy(i) {
				v.TasksUnhealthy++
			}
		}
	}
	for _, d := range c.deployments {
		for _, id := range d.affected() {
			if id == app.ID {
				v.Deployments = append(v.Deployments, idRef{d.ID})
			}
		}
	}
	if full {
		tasks := c.tasksOf(app, false)
		v.Tasks, v.LastTaskFailure = &tasks, c.failures[app.ID]
	}
	return v
}

func unhealthy(i *Instance) bool {
	for _, health := range i.Health {
		if !health.Alive && health.LastFailure != "" {
			return true
		}
	}
	return false
}

// stats are the counts and life times that embed=apps.taskStats asks for.
func (c *Core) stats(app *App) any {
	v := c.view(app, false)
	var times []float64
	for _, i := range c.of(app.ID) {
		if started, err := time.Parse("2006-01-02T15:04:05.000Z", i.StartedAt); err == nil {
			times = append(times, time.Since(started).Seconds())
		}
	}
	inner := map[string]any{"counts": map[string]int{
		"staged": v.TasksStaged, "running": v.TasksRunning, "healthy": v.TasksHealthy, "unhealthy": v.TasksUnhealthy}}
	if len(times) == 0 {
		return map[string]any{}
	}
	sort.Float64s(times)
	sum := 0.0
	for _, t := range times {
		sum += t
	}
	inner["lifeTime"] = map[string]float64{"averageSeconds": sum / float64(len(times)), "medianSeconds": times[len(times)/2]}
	return map[string]any{
		"startedAfterLastScaling": map[string]any{"stats": inner}, "withLatestConfig": map[string]any{"stats": inner},
		"totalSummary": map[string]any{"stats": inner},
	}
}

func (d *Deployment) view() map[string]any {
	current := []map[string]any{}
	at := min(d.Current, len(d.Steps)-1)
	if at >= 0 {
		for _, action := range d.Steps[at].Actions {
			current = append(current, map[string]any{"action": action.Action, "app": action.App, "readinessCheckResults": []any{}})
		}
	}
	return map[string]any{
		"id": d.ID, "steps": d.Steps, "version": d.Version, "affectedApps": d.affected(), "affectedPods": []any{},
		"currentActions": current, "currentStep": at + 1, "totalSteps": len(d.Steps),
	}
}

// queue shows apps that wait for offers.
func (c *Core) queue() []map[string]any {
	list := []map[string]any{}
	for _, id := range union(c.apps, nil) {
		count, since, left := 0, time.Time{}, 0
		for _, i := range c.of(id) {
			if i.launched() {
				continue
			}
			count++
			if since.IsZero() || i.since.Before(since) {
				since = i.since
			}
			left = max(left, int(time.Until(i.notBefore).Seconds()))
		}
		if count == 0 {
			continue
		}
		summary := c.offers[id]
		if summary == nil {
			summary = &offerSummary{}
		}
		offers := map[string]any{"processedOffersCount": summary.processed, "unusedOffersCount": summary.unused,
			"rejectSummaryLastOffers": summary.list(), "rejectSummaryLaunchAttempt": summary.list()}
		if summary.lastUnused != "" {
			offers["lastUnusedOfferAt"] = summary.lastUnused
		}
		if summary.lastUsed != "" {
			offers["lastUsedOfferAt"] = summary.lastUsed
		}
		list = append(list, map[string]any{"count": count, "role": "*", "app": c.apps[id], "since": Timestamp(since),
			"delay": map[string]any{"timeLeftSeconds": left, "overdue": left == 0}, "processedOffersSummary": offers})
	}
	return list
}
