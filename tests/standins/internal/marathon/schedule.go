package marathon

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"math"
	"sort"
	"strconv"
	"sync/atomic"
	"time"

	"toots.test/standins/internal/framework"
)

func itoa(n int) string { return strconv.Itoa(n) }

var clockSequence atomic.Uint64

// timeUUID makes a UUID of version 1, which is what instances are named by.
func timeUUID() string {
	const gregorian = 0x01b21dd213814000
	ticks := uint64(time.Now().UnixNano()/100) + gregorian + clockSequence.Add(1)
	var node [8]byte
	_, _ = rand.Read(node[:])
	node[0] = node[0]&0x3f | 0x80
	node[2] |= 1 // a random node carries the multicast bit
	return fmt.Sprintf("%08x-%04x-1%03x-%04x-%x", uint32(ticks), uint16(ticks>>32), uint16(ticks>>48)&0xfff,
		binary.BigEndian.Uint16(node[:2]), node[2:])
}

// reasons in the order in which Marathon tries offers.
var reasons = []string{"UnfulfilledRole", "UnfulfilledConstraint", "NoCorrespondingReservationFound", "AgentMaintenance",
	"InsufficientCpus", "InsufficientMemory", "InsufficientDisk", "InsufficientGpus", "InsufficientPorts", "DeclinedScarceResources"}

// offerSummary is what /v2/queue tells of the offers an app saw.
type offerSummary struct {
	processed, unused    int
	lastUnused, lastUsed string
	declined, tried      map[string]int
}

func (s *offerSummary) count(shortage string) {
	if s.declined == nil {
		s.declined, s.tried = map[string]int{}, map[string]int{}
	}
	s.processed++
	if shortage == "" {
		s.lastUsed = Timestamp(time.Now())
		return
	}
	s.unused++
	s.lastUnused = Timestamp(time.Now())
	for _, reason := range reasons {
		s.tried[reason]++
		if reason == shortage {
			s.declined[reason]++
			return
		}
	}
}

func (s *offerSummary) list() []map[string]any {
	list := []map[string]any{}
	for _, reason := range reasons {
		list = append(list, map[string]any{"reason": reason, "declined": s.declined[reason], "processed": s.tried[reason]})
	}
	return list
}

// Handle takes an event of the master.
func (c *Core) Handle(_ *framework.Session, event framework.Event) {
	c.lock.Lock()
	defer c.unlock()
	switch event.Type {
	case "OFFERS":
		for _, offer := range event.Offers.Offers {
			c.counters["offers.incoming"]++
			c.useOffer(offer)
		}
	case "UPDATE":
		status := event.Update.Status
		c.counters["task-updates"]++
		c.update(status)
		c.send(func(s *framework.Session) error { return s.Acknowledge(status) })
		c.advance()
	}
}

// Registered asks for the states of all tasks and for offers.
func (c *Core) Registered() {
	c.lock.Lock()
	defer c.unlock()
	tasks := map[string]string{}
	for _, i := range c.instances {
		if i.launched() {
			tasks[i.TaskID()] = i.AgentID
		}
		i.lastKill = time.Time{}
	}
	c.lastRevive = time.Time{}
	c.send(func(s *framework.Session) error { return s.Reconcile(tasks) })
	c.advance()
}

// pending lists instances that may be launched now.
func (c *Core) pending() []*Instance {
	var list []*Instance
	for _, i := range c.instances {
		if !i.launched() && c.apps[i.AppID] != nil && time.Now().After(i.notBefore) {
			list = append(list, i)
		}
	}
	sort.Slice(list, func(i, j int) bool { return list[i].since.Before(list[j].since) })
	return list
}

// askForOffers revives when something waits, at most every MinRevive.
func (c *Core) askForOffers() {
	if len(c.pending()) == 0 || time.Since(c.lastRevive) < c.Settings.MinRevive || c.Session() == nil {
		return
	}
	c.lastRevive = time.Now()
	c.counters["calls.revive"]++
	c.send(func(s *framework.Session) error { return s.Revive() })
}

func (c *Core) useOffer(offer framework.Offer) {
	pool := framework.NewPool(offer)
	var tasks []framework.Task
	for _, i := range c.pending() {
		if len(tasks) >= c.Settings.MaxPerOffer {
			break
		}
		app := c.apps[i.AppID]
		summary := c.offers[app.ID]
		if summary == nil {
			summary = &offerSummary{}
			c.offers[app.ID] = summary
		}
		need := framework.Need{CPUs: float64(app.CPUs), Mem: float64(app.Mem), Disk: float64(app.Disk), Ports: app.hostPorts()}
		shortage := pool.Shortage(need)
		if !c.constraintsHold(app, i, offer) {
			shortage = "UnfulfilledConstraint"
		}
		summary.count(shortage)
		if shortage != "" {
			continue
		}
		resources, ports, ok := pool.Take(need)
		if !ok {
			continue
		}
		c.provision(app, i, offer, ports)
		tasks = append(tasks, taskFor(app, i, resources, c.Settings.EnvPrefix))
	}
	if len(tasks) == 0 {
		c.counters["offers.declined"]++
		refuse := c.Settings.DeclineOffers
		c.send(func(s *framework.Session) error { return s.Decline([]framework.Value{offer.ID}, refuse) })
		return
	}
	c.counters["offers.used"]++
	c.send(func(s *framework.Session) error { return s.Launch(offer.ID, tasks) })
}

func (c *Core) provision(app *App, i *Instance, offer framework.Offer, ports []int) {
	i.Condition, i.State, i.Version = "Provisioned", "TASK_STAGING", app.Version
	i.AgentID, i.Host, i.Ports = offer.AgentID.Value, offer.Hostname, ports
	i.StagedAt, i.StartedAt, i.IPs = Timestamp(time.Now()), "", nil
	i.Health = make([]Health, len(app.HealthChecks))
	c.changed(i)
}

// update takes a task's state over.
func (c *Core) update(status framework.Status) {
	var i *Instance
	for _, candidate := range c.instances {
		if candidate.launched() && candidate.TaskID() == status.TaskID.Value {
			i = candidate
		}
	}
	if i == nil {
		c.unknownTask(status)
		return
	}
	for _, network := range status.Container.NetworkInfos {
		i.IPs = nil
		for _, address := range network.IPAddresses {
			i.IPs = append(i.IPs, address.IPAddress)
		}
	}
	c.publishStatus(i, status)
	switch {
	case status.Terminal() || status.State == "TASK_UNREACHABLE":
		c.ended(i, status)
		return
	case status.State == "TASK_RUNNING":
		if i.State != "TASK_RUNNING" {
			i.StartedAt, i.failures = Timestamp(time.Now()), 0
		}
		i.Condition = "Running"
		c.commandHealth(i, status.Healthy)
	case status.State == "TASK_STARTING":
		i.Condition = "Starting"
	case status.State == "TASK_KILLING":
		i.Condition = "Killing"
	}
	i.State = status.State
	c.changed(i)
}

// unknownTask kills what runs under our name and belongs to nothing.
func (c *Core) unknownTask(status framework.Status) {
	if !status.Terminal() && status.State != "TASK_UNREACHABLE" {
		c.send(func(s *framework.Session) error { return s.Kill(status.TaskID.Value, status.AgentID.Value) })
	}
}

func (c *Core) publishStatus(i *Instance, status framework.Status) {
	c.Bus.Publish("status_update_event", map[string]any{
		"slaveId": i.AgentID, "taskId": i.TaskID(), "taskStatus": status.State, "message": status.Message, "appId": i.AppID,
		"host": i.Host, "ipAddresses": i.addresses(), "ports": i.Ports, "version": i.Version,
	})
}

var conditions = map[string]string{"TASK_FINISHED": "Finished", "TASK_FAILED": "Failed", "TASK_KILLED": "Killed", "TASK_ERROR": "Error",
	"TASK_LOST": "Dropped", "TASK_DROPPED": "Dropped", "TASK_GONE": "Gone", "TASK_GONE_BY_OPERATOR": "Gone", "TASK_UNKNOWN": "Unknown",
	"TASK_UNREACHABLE": "Unreachable"}

// ended drops an instance that should end and schedules the others again under
// the same name with the next attempt.
func (c *Core) ended(i *Instance, status framework.Status) {
	c.announce(i, conditions[status.State])
	app := c.apps[i.AppID]
	if status.State == "TASK_FAILED" || status.State == "TASK_ERROR" || status.State == "TASK_LOST" {
		c.failures[i.AppID] = map[string]any{"appId": i.AppID, "host": i.Host, "message": status.Message, "state": status.State,
			"taskId": i.TaskID(), "timestamp": Timestamp(time.Now()), "version": i.Version, "slaveId": i.AgentID}
	}
	if app == nil || i.Stopping {
		c.drop(i)
		c.goneIfLast(i.AppID)
		return
	}
	delay := float64(app.BackoffSeconds) * math.Pow(float64(app.BackoffFactor), float64(i.failures))
	i.notBefore = time.Now().Add(time.Duration(min(delay, float64(app.MaxLaunchDelaySeconds)) * float64(time.Second)))
	i.failures++
	i.Attempt++
	i.Condition, i.State, i.Version, i.since = "Scheduled", "", app.Version, time.Now()
	i.AgentID, i.Host, i.Ports, i.IPs, i.StagedAt, i.StartedAt, i.Health = "", "", nil, nil, "", "", nil
	c.changed(i)
}

// constraintsHold checks UNIQUE, CLUSTER, LIKE-free constraints on hostname and
// attributes; GROUP_BY and MAX_PER are taken as fulfilled.
func (c *Core) constraintsHold(app *App, candidate *Instance, offer framework.Offer) bool {
	for _, constraint := range app.Constraints {
		if len(constraint) < 2 {
			continue
		}
		switch {
		case constraint[1] == "UNIQUE" && constraint[0] == "hostname":
			for _, other := range c.of(app.ID) {
				if other != candidate && other.launched() && other.Host == offer.Hostname {
					return false
				}
			}
		case (constraint[1] == "CLUSTER" || constraint[1] == "LIKE" || constraint[1] == "IS") && len(constraint) > 2:
			if attribute(offer, constraint[0]) != constraint[2] {
				return false
			}
		}
	}
	return true
}

func attribute(offer framework.Offer, name string) string {
	if name == "hostname" {
		return offer.Hostname
	}
	for _, a := range offer.Attrs {
		if a.Name == name && a.Text != nil {
			return a.Text.Value
		}
	}
	return ""
}
