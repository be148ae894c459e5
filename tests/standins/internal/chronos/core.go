package chronos

import (
	"fmt"
	"log"
	"slices"
	"sort"
	"strings"
	"sync"
	"time"

	"toots.test/standins/internal/framework"
)

// run is one attempt of a job that waits for an offer or runs.
type run struct {
	job, arguments string
	due            time.Time
	attempt        int
	task, agent    string // empty before the launch
	started        time.Time
}

func (r *run) id() string {
	return fmt.Sprintf("ct:%d:%d:%s:%s", r.due.UnixMilli(), r.attempt, r.job, r.arguments)
}

// Core is the leader's state. Methods with a capital letter lock; calls to the
// master wait in the outbox until the lock is released.
type Core struct {
	Session      func() *framework.Session
	FailureRetry time.Duration
	MinRevive    time.Duration

	lock        sync.Mutex
	store       Store
	jobs        map[string]*Job
	runs        map[string]*run
	ready       map[string]map[string]bool // parents that succeeded, by child
	statuses    map[string]string
	durations   map[string][]time.Duration
	frameworkID string
	lastRevive  time.Time
	outbox      []func(*framework.Session) error
}

// NewCore loads what an earlier leader left.
func NewCore(store Store) (*Core, error) {
	c := &Core{store: store, Session: func() *framework.Session { return nil }, jobs: map[string]*Job{}, runs: map[string]*run{},
		ready: map[string]map[string]bool{}, statuses: map[string]string{}, durations: map[string][]time.Duration{},
		FailureRetry: time.Minute, MinRevive: 5 * time.Second}
	jobs, err := store.Jobs()
	if err != nil {
		return nil, err
	}
	for _, job := range jobs {
		c.jobs[job.Name] = job
		c.statuses[job.Name] = statusOf(job)
	}
	c.frameworkID, err = store.FrameworkID()
	return c, err
}

func statusOf(job *Job) string {
	switch {
	case job.LastSuccess == "" && job.LastError == "":
		return "fresh"
	case job.LastSuccess > job.LastError:
		return "success"
	}
	return "failure"
}

func (c *Core) unlock() {
	calls := c.outbox
	c.outbox = nil
	session := c.Session()
	c.lock.Unlock()
	for _, call := range calls {
		if session == nil {
			return
		}
		if err := call(session); err != nil {
			log.Printf("call to the master failed: %v", err)
		}
	}
}

// Connect tells where the present subscription is found.
func (c *Core) Connect(session func() *framework.Session) {
	c.lock.Lock()
	defer c.unlock()
	c.Session = session
}

func (c *Core) send(call func(*framework.Session) error) { c.outbox = append(c.outbox, call) }

func (c *Core) save(job *Job) {
	if err := c.store.SaveJob(job); err != nil {
		log.Printf("failed to store job %s: %v", job.Name, err)
	}
}

// Put adds or replaces a job and keeps the counts of the one before.
func (c *Core) Put(job *Job) {
	c.lock.Lock()
	defer c.unlock()
	if before := c.jobs[job.Name]; before != nil {
		job.SuccessCount, job.ErrorCount = before.SuccessCount, before.ErrorCount
		job.LastSuccess, job.LastError, job.ErrorsSinceLastSuccess = before.LastSuccess, before.LastError, before.ErrorsSinceLastSuccess
	}
	c.jobs[job.Name] = job
	c.statuses[job.Name] = statusOf(job)
	c.save(job)
	c.tick()
}

// Delete removes a job, takes its name off its children and ends its tasks.
func (c *Core) Delete(name string) bool {
	c.lock.Lock()
	defer c.unlock()
	if c.jobs[name] == nil {
		return false
	}
	c.orphan(name)
	delete(c.jobs, name)
	c.kill(name)
	for id, r := range c.runs {
		if r.job == name && r.task == "" {
			delete(c.runs, id)
		}
	}
	if err := c.store.DeleteJob(name); err != nil {
		log.Printf("failed to remove job %s: %v", name, err)
	}
	return true
}

// orphan takes a parent's name off its children; one that has no other parent
// continues with the parent's schedule.
func (c *Core) orphan(parent string) {
	for _, child := range c.jobs {
		at := slices.Index(child.Parents, parent)
		if at < 0 {
			continue
		}
		child.Parents = slices.Delete(slices.Clone(child.Parents), at, at+1)
		if len(child.Parents) == 0 {
			child.Schedule, child.ScheduleTimeZone = c.jobs[parent].Schedule, c.jobs[parent].ScheduleTimeZone
		}
		delete(c.ready[child.Name], parent)
		c.save(child)
	}
}

// Kill ends the tasks of a job.
func (c *Core) Kill(name string) bool {
	c.lock.Lock()
	defer c.unlock()
	if c.jobs[name] == nil {
		return false
	}
	c.kill(name)
	return true
}

func (c *Core) kill(name string) {
	for _, r := range c.runs {
		if r.job == name && r.task != "" {
			task, agent := r.task, r.agent
			c.send(func(s *framework.Session) error { return s.Kill(task, agent) })
		}
	}
}

// Run queues a job now.
func (c *Core) Run(name, arguments string) bool {
	c.lock.Lock()
	defer c.unlock()
	if c.jobs[name] == nil {
		return false
	}
	c.queue(&run{job: name, arguments: arguments, due: time.Now()})
	c.askForOffers()
	return true
}

func (c *Core) queue(r *run) { c.runs[r.id()] = r }

// Success marks a job as if it had succeeded.
func (c *Core) Success(name string) bool {
	c.lock.Lock()
	defer c.unlock()
	job := c.jobs[name]
	if job == nil {
		return false
	}
	c.succeeded(job)
	return true
}

// Tick queues what is due.
func (c *Core) Tick() {
	c.lock.Lock()
	defer c.unlock()
	c.tick()
}

func (c *Core) tick() {
	now := time.Now()
	for _, job := range c.jobs {
		if job.Schedule == nil || job.Disabled {
			continue
		}
		schedule, err := ParseSchedule(*job.Schedule, now)
		if err != nil || !schedule.Due(now) {
			continue
		}
		if job.Concurrent || !c.busy(job.Name) {
			c.queue(&run{job: job.Name, due: now})
		}
		text := schedule.Next(now).String()
		job.Schedule = &text
		c.save(job)
	}
	c.askForOffers()
}

func (c *Core) busy(name string) bool {
	for _, r := range c.runs {
		if r.job == name {
			return true
		}
	}
	return false
}

// pending lists runs that may be launched now, oldest first.
func (c *Core) pending() []*run {
	var list []*run
	for _, r := range c.runs {
		if r.task == "" && c.jobs[r.job] != nil && !time.Now().Before(r.due) {
			list = append(list, r)
		}
	}
	sort.Slice(list, func(i, j int) bool { return list[i].due.Before(list[j].due) })
	return list
}

func (c *Core) askForOffers() {
	if len(c.pending()) == 0 || c.Session() == nil || time.Since(c.lastRevive) < c.MinRevive {
		return
	}
	c.lastRevive = time.Now()
	c.send(func(s *framework.Session) error { return s.Revive() })
}

// Registered keeps the framework's id and asks for the states of its tasks.
func (c *Core) Registered(id string) {
	c.lock.Lock()
	defer c.unlock()
	if c.frameworkID != id {
		c.frameworkID = id
		if err := c.store.SaveFrameworkID(id); err != nil {
			log.Printf("failed to store the framework id: %v", err)
		}
	}
	c.lastRevive = time.Time{}
	c.send(func(s *framework.Session) error { return s.Reconcile(nil) })
	c.askForOffers()
}

// FrameworkID is empty before the first registration.
func (c *Core) FrameworkID() string {
	c.lock.Lock()
	defer c.lock.Unlock()
	return c.frameworkID
}

// Handle takes an event of the master.
func (c *Core) Handle(_ *framework.Session, event framework.Event) {
	c.lock.Lock()
	defer c.unlock()
	switch event.Type {
	case "OFFERS":
		for _, offer := range event.Offers.Offers {
			c.useOffer(offer)
		}
	case "UPDATE":
		status := event.Update.Status
		c.send(func(s *framework.Session) error { return s.Acknowledge(status) })
		c.update(status)
	}
}

func (c *Core) useOffer(offer framework.Offer) {
	pool := framework.NewPool(offer)
	var tasks []framework.Task
	for _, r := range c.pending() {
		job := c.jobs[r.job]
		resources, _, ok := pool.Take(framework.Need{CPUs: float64(job.CPUs), Mem: float64(job.Mem), Disk: float64(job.Disk)})
		if !ok {
			continue
		}
		r.task, r.agent, r.started = r.id(), offer.AgentID.Value, time.Now()
		tasks = append(tasks, taskFor(job, r, offer.Hostname, resources))
	}
	if len(tasks) == 0 {
		c.send(func(s *framework.Session) error { return s.Decline([]framework.Value{offer.ID}, 5*time.Second) })
		return
	}
	c.send(func(s *framework.Session) error { return s.Launch(offer.ID, tasks) })
}

// update takes a task's state over; tasks of an earlier leader are known again
// by their id.
func (c *Core) update(status framework.Status) {
	id := status.TaskID.Value
	r := c.runs[id]
	if r == nil {
		if r = adopt(id); r == nil {
			return
		}
		if status.Terminal() && c.jobs[r.job] == nil {
			return
		}
		c.runs[id] = r
	}
	r.agent = status.AgentID.Value
	if !status.Terminal() {
		return
	}
	delete(c.runs, id)
	job := c.jobs[r.job]
	if job == nil {
		return
	}
	switch {
	case status.State == "TASK_FINISHED":
		if !r.started.IsZero() {
			c.durations[job.Name] = append(c.durations[job.Name], time.Since(r.started))
		}
		c.succeeded(job)
	case r.attempt < job.Retries && status.State != "TASK_KILLED":
		c.queue(&run{job: r.job, arguments: r.arguments, due: time.Now().Add(c.FailureRetry), attempt: r.attempt + 1})
	default:
		job.ErrorCount++
		job.ErrorsSinceLastSuccess++
		job.LastError = time.Now().UTC().Format(stampForm)
		c.statuses[job.Name] = "failure"
		c.save(job)
	}
}

func adopt(id string) *run {
	parts := strings.SplitN(id, ":", 5)
	if len(parts) != 5 || parts[0] != "ct" {
		return nil
	}
	r := &run{job: parts[3], arguments: parts[4], task: id}
	var millis int64
	if _, err := fmt.Sscan(parts[1], &millis); err != nil {
		return nil
	}
	if _, err := fmt.Sscan(parts[2], &r.attempt); err != nil {
		return nil
	}
	r.due = time.UnixMilli(millis)
	return r
}

// succeeded counts and queues the children whose parents have all succeeded.
func (c *Core) succeeded(job *Job) {
	job.SuccessCount++
	job.ErrorsSinceLastSuccess = 0
	job.LastSuccess = time.Now().UTC().Format(stampForm)
	c.statuses[job.Name] = "success"
	if job.Schedule != nil {
		schedule, err := ParseSchedule(*job.Schedule, time.Now())
		job.Disabled = job.Disabled || err == nil && schedule.Repeats == 0 // its last run
	}
	c.save(job)
	for _, child := range c.jobs {
		for _, parent := range child.Parents {
			if parent != job.Name {
				continue
			}
			if c.ready[child.Name] == nil {
				c.ready[child.Name] = map[string]bool{}
			}
			c.ready[child.Name][parent] = true
		}
		if len(child.Parents) > 0 && len(c.ready[child.Name]) == len(child.Parents) && !child.Disabled {
			delete(c.ready, child.Name)
			c.queue(&run{job: child.Name, due: time.Now()})
		}
	}
	c.askForOffers()
}
