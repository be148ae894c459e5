package master

import (
	"context"
	"net/http"
	"time"

	"toots.test/standins/internal/mesos"
)

const masterMessage = "master::Call"

type agentCall struct {
	AgentID        mesos.ID `json:"agent_id"`
	MaxGracePeriod *struct {
		Seconds int64 `json:"seconds"`
		Nanos   int64 `json:"nanos"`
	} `json:"max_grace_period"`
	MarkGone bool `json:"mark_gone"`
}

// agentOperation serves DRAIN_AGENT, DEACTIVATE_AGENT, REACTIVATE_AGENT and MARK_AGENT_GONE.
func (m *Master) agentOperation(w http.ResponseWriter, call mesos.Call) {
	var body agentCall
	if !call.Field(w, masterMessage, &body) {
		return
	}
	id := body.AgentID.Value
	m.mu.Lock()
	one := m.agents[id]
	m.mu.Unlock()
	switch call.Type {
	case "MARK_AGENT_GONE":
		m.serveMarkGone(w, id)
		return
	case "REACTIVATE_AGENT":
		if one == nil || !one.deactivated {
			mesos.Text(w, http.StatusBadRequest, "Agent is not deactivated")
			return
		}
		if one.drain != nil && one.drain.State == "DRAINING" {
			mesos.Text(w, http.StatusBadRequest, "Agent is still in the DRAINING state")
			return
		}
	default:
		if one == nil {
			mesos.Text(w, http.StatusBadRequest, "Unknown agent")
			return
		}
	}
	drain := body.drainInfo(call.Type)
	deactivated := call.Type != "REACTIVATE_AGENT"
	if text, ok := m.store(func(r *Registry) {
		entry := r.Agents[id]
		entry.Deactivated, entry.Drain = deactivated, drain
		r.Agents[id] = entry
	}); !ok {
		mesos.Text(w, http.StatusInternalServerError, text)
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	one.deactivated, one.drain, one.drainStart = deactivated, drain, time.Now()
	if deactivated {
		m.rescind(id)
	}
	if drain != nil {
		m.beginDrain(one)
	} else {
		address := one.address()
		go func() {
			_ = mesos.Post(context.Background(), agentTimeout, address, mesos.PathDrain, (*mesos.Drain)(nil), nil)
		}()
	}
	m.poke()
	mesos.Empty(w, http.StatusOK)
}

func (c agentCall) drainInfo(kind string) *DrainInfo {
	if kind != "DRAIN_AGENT" {
		return nil
	}
	info := &DrainInfo{State: "DRAINING", Config: DrainConfig{MarkGone: c.MarkGone}}
	if c.MaxGracePeriod != nil { // {"nanoseconds":…} is not a field of it: silently 0
		info.Config.MaxGracePeriod = &mesos.Nanos{Nanoseconds: c.MaxGracePeriod.Seconds*int64(time.Second) + c.MaxGracePeriod.Nanos}
	}
	return info
}

// beginDrain tells the agent and kills its tasks. The caller holds mu.
func (m *Master) beginDrain(one *agent) {
	config := one.drain.Config
	order := &mesos.Drain{MaxGracePeriod: config.MaxGracePeriod, MarkGone: config.MarkGone, Start: one.drainStart}
	address := one.address()
	go func() { _ = mesos.Post(context.Background(), agentTimeout, address, mesos.PathDrain, order, nil) }()
	var grace *time.Duration
	if config.MaxGracePeriod != nil {
		told := time.Duration(config.MaxGracePeriod.Nanoseconds)
		grace = &told
	}
	for _, fw := range m.frameworks {
		for _, task := range fw.tasksOn(one.id) {
			m.killOnAgent(fw, task, grace, "REASON_AGENT_DRAINING")
		}
	}
	m.checkDrained(one.id)
}

// checkDrained ends a draining when the agent's last task ended. The caller holds mu.
func (m *Master) checkDrained(id string) {
	one := m.agents[id]
	if one == nil || one.drain == nil || one.drain.State != "DRAINING" {
		return
	}
	for _, fw := range m.frameworks {
		if len(fw.tasksOn(id)) > 0 {
			return
		}
	}
	drained := *one.drain
	drained.State = "DRAINED"
	one.drain = &drained
	go func() {
		if drained.Config.MarkGone {
			_ = m.markGone(id)
			return
		}
		_, _ = m.store(func(r *Registry) {
			entry := r.Agents[id]
			entry.Drain = &drained
			r.Agents[id] = entry
		})
	}()
}

func (m *Master) serveMarkGone(w http.ResponseWriter, id string) {
	registry := m.registrar.Registry()
	for _, gone := range registry.Gone {
		if gone.ID.Value == id {
			mesos.Empty(w, http.StatusOK)
			return
		}
	}
	_, known := registry.Agents[id]
	for _, away := range registry.Unreachable {
		known = known || away.ID.Value == id
	}
	if !known {
		mesos.Text(w, http.StatusNotFound, "Agent '"+id+"' not found")
		return
	}
	if text := m.markGone(id); text != "" {
		mesos.Text(w, http.StatusInternalServerError, text)
		return
	}
	mesos.Empty(w, http.StatusOK)
}

// markGone writes an agent off for good; a text tells what failed.
func (m *Master) markGone(id string) string {
	if text, ok := m.store(func(r *Registry) {
		delete(r.Agents, id)
		r.Unreachable = dropDeparted(r.Unreachable, id)
		r.Gone = append(r.Gone, Departed{mesos.ID{Value: id}, mesos.NanosOf(time.Now())})
	}); !ok {
		return text
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.awaited, id)
	one := m.agents[id]
	if one == nil {
		return ""
	}
	address := one.address()
	m.forget(one, "TASK_GONE_BY_OPERATOR", "TASK_LOST", "Agent has been marked gone", "REASON_SLAVE_REMOVED_BY_OPERATOR")
	go func() {
		_ = mesos.Post(context.Background(), agentTimeout, address, mesos.PathShutdown, "Agent has been marked gone", nil)
	}()
	return ""
}
