package marathon

import (
	"encoding/json"
	"log"
	"sort"
	"strings"
	"sync"
	"time"

	"toots.test/standins/internal/framework"
)

// Instance is one wished or running task of an app.
type Instance struct {
	ID, AppID, Version string
	Attempt            int
	Condition          string // Scheduled, Provisioned, Starting, Running, …
	Stopping           bool
	AgentID, Host      string
	Ports              []int
	IPs                []string
	StagedAt           string
	StartedAt          string
	State              string
	Health             []Health

	notBefore, lastKill time.Time
	failures            int
	since               time.Time
}

// TaskID is the id of the present attempt.
func (i *Instance) TaskID() string {
	return i.ID + "._app." + itoa(i.Attempt)
}

func (i *Instance) launched() bool { return i.Condition != "Scheduled" }

// Core is the leader's state: apps, instances, deployments. Every method that
// begins with a capital letter locks; calls to the master wait in the outbox
// until the lock is released.
type Core struct {
	Settings Settings
	Bus      *Bus
	Session  func() *framework.Session

	lock        sync.Mutex
	store       Store
	apps        map[string]*App
	groups      map[string]bool // groups that exist beside those of the apps
	versions    map[string][]*App
	instances   map[string]*Instance
	deployments []*Deployment
	failures    map[string]map[string]any
	version     string // of the root group
	frameworkID string
	lastVersion time.Time
	lastRevive  time.Time
	offers      map[string]*offerSummary
	outbox      []func(*framework.Session) error
	counters    map[string]int
}

// Settings are the flags that the core needs.
type Settings struct {
	PortMin, PortMax         int
	DeclineOffers, MinRevive time.Duration
	MaxPerOffer              int
	EnvPrefix                string
}

// NewCore loads what an earlier leader left.
func NewCore(settings Settings, store Store, bus *Bus) (*Core, error) {
	c := &Core{
		Settings: settings, Bus: bus, store: store, version: "1970-01-01T00:00:00.000Z",
		Session: func() *framework.Session { return nil },
		apps:    map[string]*App{}, groups: map[string]bool{}, versions: map[string][]*App{}, instances: map[string]*Instance{},
		failures: map[string]map[string]any{}, offers: map[string]*offerSummary{}, counters: map[string]int{},
	}
	return c, c.load()
}

// root is what is stored of the root group.
type root struct {
	Version string
	Groups  []string
}

func (c *Core) load() error {
	for kind, take := range map[string]func([]byte) error{
		"apps": func(data []byte) error {
			app := new(App)
			err := json.Unmarshal(data, app)
			c.apps[app.ID] = app
			c.versions[app.ID] = []*App{app}
			return err
		},
		"instance": func(data []byte) error {
			instance := new(Instance)
			err := json.Unmarshal(data, instance)
			instance.since = time.Now()
			c.instances[instance.ID] = instance
			return err
		},
		"deployment": func(data []byte) error {
			deployment := new(Deployment)
			err := json.Unmarshal(data, deployment)
			c.deployments = append(c.deployments, deployment)
			return err
		},
		"group": func(data []byte) error {
			var r root
			err := json.Unmarshal(data, &r)
			c.version = r.Version
			for _, group := range r.Groups {
				c.groups[group] = true
			}
			return err
		},
		"framework-id": func(data []byte) error {
			c.frameworkID = decodeFrameworkID(data)
			return nil
		},
	} {
		entries, err := c.store.Load(kind)
		if err != nil {
			return err
		}
		for _, data := range entries {
			if err := take(data); err != nil {
				return err
			}
		}
	}
	sort.Slice(c.deployments, func(i, j int) bool { return c.deployments[i].Version < c.deployments[j].Version })
	return nil
}

// decodeFrameworkID reads the protobuf that Marathon keeps: field 1, a string.
func decodeFrameworkID(data []byte) string {
	if len(data) < 2 || data[0] != '\n' || int(data[1]) != len(data)-2 {
		return ""
	}
	return string(data[2:])
}

// FrameworkID is empty until the first registration.
func (c *Core) FrameworkID() string {
	c.lock.Lock()
	defer c.lock.Unlock()
	return c.frameworkID
}

// SetFrameworkID keeps the id for the next leader.
func (c *Core) SetFrameworkID(id string) {
	c.lock.Lock()
	defer c.lock.Unlock()
	c.frameworkID = id
	if err := c.store.Put("framework-id", "id", append([]byte{'\n', byte(len(id))}, id...)); err != nil {
		log.Printf("failed to store the framework id: %v", err)
	}
}

func (c *Core) put(kind, id string, value any) {
	data, err := json.Marshal(value)
	if err == nil {
		err = c.store.Put(kind, id, data)
	}
	if err != nil {
		log.Printf("failed to store %s %s: %v", kind, id, err)
	}
}

func (c *Core) remove(kind, id string) {
	if err := c.store.Delete(kind, id); err != nil {
		log.Printf("failed to remove %s %s: %v", kind, id, err)
	}
}

// nextVersion never repeats, so that versions order changes.
func (c *Core) nextVersion() string {
	now := time.Now().Truncate(time.Millisecond)
	if !now.After(c.lastVersion) {
		now = c.lastVersion.Add(time.Millisecond)
	}
	c.lastVersion = now
	return Timestamp(now)
}

// Connect tells where the present subscription is found.
func (c *Core) Connect(session func() *framework.Session) {
	c.lock.Lock()
	defer c.unlock()
	c.Session = session
}

// send queues a call to the master.
func (c *Core) send(call func(*framework.Session) error) { c.outbox = append(c.outbox, call) }

// unlock releases the lock and makes the queued calls. Without a session they
// are dropped: kills are repeated, offers are void anyway.
func (c *Core) unlock() {
	calls := c.outbox
	c.outbox = nil
	session := c.Session()
	c.lock.Unlock()
	if session == nil {
		return
	}
	for _, call := range calls {
		if err := call(session); err != nil {
			log.Printf("call to the master failed: %v", err)
		}
	}
}

// Tick moves everything forward that waits for time.
func (c *Core) Tick() {
	c.lock.Lock()
	defer c.unlock()
	c.advance()
}

// fileName is the id of an app as a node name and as the beginning of task ids.
func fileName(id string) string { return strings.ReplaceAll(strings.TrimPrefix(id, "/"), "/", "_") }

func (c *Core) saveInstance(i *Instance) { c.put("instance", i.ID, i) }

// changed stores an instance and tells of its condition.
func (c *Core) changed(i *Instance) {
	c.saveInstance(i)
	c.announce(i, i.Condition)
}

func (c *Core) announce(i *Instance, condition string) {
	fields := map[string]any{
		"instanceId": i.ID, "condition": condition, "runSpecId": i.AppID, "agentId": nil, "host": nil, "runSpecVersion": i.Version,
	}
	if i.AgentID != "" {
		fields["agentId"], fields["host"] = i.AgentID, i.Host
	}
	c.Bus.Publish("instance_changed_event", fields)
}

func (c *Core) drop(i *Instance) {
	delete(c.instances, i.ID)
	c.remove("instance", i.ID)
}

// of lists the instances of an app, oldest first.
func (c *Core) of(app string) []*Instance {
	var list []*Instance
	for _, i := range c.instances {
		if i.AppID == app {
			list = append(list, i)
		}
	}
	sort.Slice(list, func(i, j int) bool {
		if list[i].StagedAt != list[j].StagedAt && list[i].StagedAt != "" && list[j].StagedAt != "" {
			return list[i].StagedAt < list[j].StagedAt
		}
		if (list[i].StagedAt == "") != (list[j].StagedAt == "") {
			return list[i].StagedAt != ""
		}
		return list[i].ID < list[j].ID
	})
	return list
}
