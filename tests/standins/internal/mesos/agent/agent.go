package agent

import (
	"context"
	"net"
	"os"
	"strconv"
	"sync"
	"time"

	"toots.test/standins/internal/docker"
	"toots.test/standins/internal/mesos"
)

// Agent is one agent.
type Agent struct {
	cfg     Config
	started time.Time
	docker  *docker.Client

	mu         sync.Mutex
	state      Checkpoint
	leader     *mesos.Address // the leading master, nil if none is known
	changed    chan struct{}  // closed when the leader changes
	registered bool
	recovering bool
	drain      *mesos.Drain
	sent       map[*Run]time.Time
	counters   map[string]float64
}

// New creates an agent and reads its checkpoint; it ends the process if that does not fit the configuration.
func New(cfg Config) *Agent {
	if cfg.Policy != "equal" && cfg.Policy != "additive" {
		mesos.Exit("Unknown option for 'reconfiguration_policy' flag %s. Please run the agent with '--help' to see the valid options.", cfg.Policy)
	}
	agent := &Agent{cfg: cfg, started: time.Now(), docker: docker.New(cfg.DockerSocket).WithLogins(cfg.Logins), changed: make(chan struct{}),
		state: Checkpoint{Info: cfg.Info, Frameworks: map[string]mesos.FrameworkInfo{}}, sent: map[*Run]time.Time{}, counters: map[string]float64{}}
	old, err := load(cfg.WorkDir)
	if err != nil {
		mesos.Exit("Failed to perform recovery: %v", err)
	}
	if old == nil {
		return agent
	}
	now := cfg.Info
	now.ID = old.Info.ID
	if !Compatible(cfg.Policy, old.Info, now) {
		refuseIncompatible(cfg.WorkDir, old.Info, now)
	}
	agent.state = *old
	if agent.state.Frameworks == nil {
		agent.state.Frameworks = map[string]mesos.FrameworkInfo{}
	}
	agent.cfg.Info = now
	agent.recovering = agent.hasLive()
	return agent
}

func (a *Agent) hasLive() bool {
	for _, run := range a.state.Runs {
		if !run.Ended {
			return true
		}
	}
	return false
}

// Start recovers tasks, then registers and sends status updates in the background.
func (a *Agent) Start() {
	go func() {
		a.recoverRuns()
		go a.sendUpdates()
		a.follow()
	}()
}

// PID is the libprocess id.
func (a *Agent) PID() string {
	return "slave(1)@" + net.JoinHostPort(a.cfg.IP, strconv.Itoa(a.cfg.Port))
}

func (a *Agent) id() string {
	if a.cfg.Info.ID == nil {
		return ""
	}
	return a.cfg.Info.ID.Value
}

// Detected takes who leads now; nil: nobody known.
func (a *Agent) Detected(leader *mesos.Address) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if (leader == nil && a.leader == nil) || (leader != nil && a.leader != nil && *leader == *a.leader) {
		return
	}
	if leader == nil {
		mesos.Log("W", "Lost leading master")
	} else {
		mesos.Log("I", "New master detected at master@%s:%d", leader.IP, leader.Port)
	}
	a.leader, a.registered = leader, false
	close(a.changed)
	a.changed = make(chan struct{})
}

// keep writes the checkpoint; the caller holds mu.
func (a *Agent) keep() {
	if err := a.state.save(a.cfg.WorkDir); err != nil {
		mesos.Abort("Failed to checkpoint: %v", err)
	}
}

// Leave unregisters and ends all tasks, as SIGUSR1 asks.
func (a *Agent) Leave() {
	a.mu.Lock()
	leader, id := a.leader, a.id()
	a.mu.Unlock()
	if leader != nil {
		address := net.JoinHostPort(leader.IP, strconv.Itoa(leader.Port))
		if err := mesos.Post(context.Background(), 3*time.Second, address, mesos.PathUnregister, id, nil); err != nil {
			mesos.Log("W", "Failed to unregister: %v", err)
		}
	}
	a.end("received SIGUSR1")
}

// end kills what runs and ends with status 0.
func (a *Agent) end(why string) {
	mesos.Log("I", "Agent terminating: %s", why)
	a.mu.Lock()
	runs := append([]*Run(nil), a.state.Runs...)
	a.mu.Unlock()
	for _, run := range runs {
		if !run.Ended {
			a.stop(run, 0)
		}
	}
	os.Exit(0)
}
