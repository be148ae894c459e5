// Package master is the stand-in for a Mesos 1.11 master: election and log through ZooKeeper, the operator endpoints,
// the scheduler HTTP API, and agents (which speak the stand-ins' own protocol with it).
package master

import (
	"sync"
	"time"

	"toots.test/standins/internal/mesos"
)

// Config is what a master is started with.
type Config struct {
	Flags          map[string]string // as /flags shows them
	IP, Hostname   string
	Port           int
	Cluster        string
	PingTimeout    time.Duration
	MaxPings       int
	Reregister     time.Duration
	Allocation     time.Duration
	Fetch, Store   time.Duration
	Replica        *Replica
	Peers          Peers
	Ensemble       func() int
	Quorum         int
	FetchText      string // the timeouts as written in the flags
	StoreText      string
	MaxCompleted   int
	MaxCompletedFW int
}

// Master is one master; everything behind mu but the registrar and the replica, which have locks of their own.
type Master struct {
	cfg     Config
	info    mesos.MasterInfo
	started time.Time

	mu         sync.Mutex
	leader     *mesos.MasterInfo
	elected    time.Time // zero: not the leader
	registrar  *Registrar
	agents     map[string]*agent
	awaited    map[string]RegisteredAgent // recovered from the registry, not back yet
	frameworks map[string]*framework
	completed  []*framework
	offers     map[string]*offer
	counters   map[string]float64
	nextAgent  int
	nextFW     int
	nextOffer  int
	runs       []time.Duration // of the allocator
	wake       chan struct{}
}

// New creates a master that knows of no leader yet.
func New(cfg Config) *Master {
	address := mesos.Address{Hostname: cfg.Hostname, IP: cfg.IP, Port: cfg.Port}
	return &Master{
		cfg: cfg, started: time.Now(),
		info: mesos.MasterInfo{
			Address: address, Capabilities: []mesos.Capability{{Type: "AGENT_UPDATE"}, {Type: "AGENT_DRAINING"}, {Type: "QUOTA_V2"}},
			Hostname: cfg.Hostname, ID: mesos.NewUUID(), IP: mesos.IPNumber(cfg.IP), PID: "master@" + hostPort(cfg.IP, cfg.Port),
			Port: cfg.Port, Version: mesos.Version,
		},
		registrar: NewRegistrar(cfg.Replica, cfg.Peers, cfg.Quorum, cfg.Fetch, cfg.Store),
		agents:    map[string]*agent{}, awaited: map[string]RegisteredAgent{}, frameworks: map[string]*framework{},
		offers: map[string]*offer{}, counters: map[string]float64{}, wake: make(chan struct{}, 1),
	}
}

// Info is what this master writes to ZooKeeper.
func (m *Master) Info() mesos.MasterInfo { return m.info }

// Detected takes who leads now; nil: nobody known. A leader that is no longer it ends, as the real program does.
func (m *Master) Detected(leader *mesos.MasterInfo) {
	m.mu.Lock()
	defer m.mu.Unlock()
	wasLeader := !m.elected.IsZero()
	m.leader = leader
	isLeader := leader != nil && leader.ID == m.info.ID
	switch {
	case wasLeader && !isLeader:
		mesos.Exit("Lost leadership... committing suicide!")
	case isLeader && !wasLeader:
		mesos.Log("I", "Elected as the leading master!")
		m.elected = time.Now()
		go m.recover()
	case leader != nil:
		mesos.Log("I", "The newly elected leader is %s with id %s", leader.PID, leader.ID)
	}
}

// LostCandidacy is told when this master's own node vanished.
func (m *Master) LostCandidacy() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.elected.IsZero() {
		mesos.Exit("Lost candidacy as a leader... committing suicide!")
	}
	mesos.Log("I", "Lost candidacy as a follower... Contend again")
}

// recover reads the registry and writes this master into it, or aborts.
func (m *Master) recover() {
	info := m.info
	err := m.registrar.Recover(func(r *Registry) { r.Master = &info })
	if err != nil {
		text := m.cfg.FetchText
		if err == ErrStore {
			text = m.cfg.StoreText
		}
		mesos.Abort("Recovery failed: %v%s", err, text)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for id, registered := range m.registrar.Registry().Agents {
		m.awaited[id] = registered
	}
	mesos.Log("I", "Recovered %d agents from the registry; allowing %v for agents to reregister", len(m.awaited), m.cfg.Reregister)
	if len(m.awaited) > 0 {
		time.AfterFunc(m.cfg.Reregister, m.giveUpAwaited)
	}
	go m.allocate()
}

// leads reports whether this master is elected; the caller holds mu.
func (m *Master) leads() bool { return !m.elected.IsZero() }

// store changes the registry without mu held; false with the real program's message if the log has no quorum.
func (m *Master) store(change func(*Registry)) (string, bool) {
	if err := m.registrar.Update(change); err != nil {
		return err.Error() + m.cfg.StoreText, false
	}
	return "", true
}
