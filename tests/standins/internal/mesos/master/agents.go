package master

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"sort"
	"strconv"
	"strings"
	"time"

	"toots.test/standins/internal/mesos"
)

const agentTimeout = 5 * time.Second

// agent is a registered agent.
type agent struct {
	id           string
	info         mesos.AgentInfo
	pid          string
	registered   time.Time
	reregistered time.Time
	connected    bool
	attachment   int // counts connections: an old one's end means nothing
	deactivated  bool
	drain        *DrainInfo
	drainStart   time.Time
	missed       int
	awaitingPong bool
}

func (a *agent) active() bool { return a.connected && !a.deactivated }

func (a *agent) address() string {
	_, address, _ := strings.Cut(a.pid, "@")
	return address
}

func hostPort(ip string, port int) string { return net.JoinHostPort(ip, strconv.Itoa(port)) }

// register admits an agent or takes it back; a leader whose log has no quorum aborts, as the real program does.
func (m *Master) register(w http.ResponseWriter, r *http.Request) {
	var message mesos.Register
	if !mesos.Receive(w, r, &message) {
		return
	}
	m.mu.Lock()
	if !m.leads() || !m.registrar.Recovered() {
		m.mu.Unlock()
		mesos.Text(w, http.StatusServiceUnavailable, "not the leading master, or not recovered")
		return
	}
	isNew := message.Info.ID == nil
	if isNew {
		message.Info.ID = &mesos.ID{Value: fmt.Sprintf("%s-S%d", m.info.ID, m.nextAgent)}
		m.nextAgent++
	}
	id := message.Info.ID.Value
	var former *agent
	for _, one := range m.agents {
		if isNew && one.pid == message.PID && !one.connected {
			former = one
		}
	}
	known, isKnown := m.agents[id]
	unchanged := isKnown && sameInfo(known.info, message.Info)
	m.mu.Unlock()
	if former != nil {
		mesos.Log("I", "Removing old disconnected agent %s because a registration attempt occurred", former.id)
		m.remove(former.id, "registered", "A new agent registered at the same address")
	}
	registry := m.registrar.Registry()
	for _, gone := range registry.Gone {
		if gone.ID.Value == id {
			mesos.JSON(w, r, mesos.Registered{Gone: true})
			return
		}
	}
	if entry, there := registry.Agents[id]; !unchanged && (!there || !sameInfo(entry.Info, message.Info)) {
		text, ok := m.store(func(r *Registry) {
			r.Agents[id] = RegisteredAgent{Info: message.Info, Deactivated: entry.Deactivated, Drain: entry.Drain}
			r.Unreachable = dropDeparted(r.Unreachable, id)
		})
		if !ok {
			mesos.Abort("Failed to admit agent %s at %s (%s): %s", id, message.PID, message.Info.Hostname, text)
		}
	}
	mesos.JSON(w, r, m.admit(id, isNew, message, m.registrar.Registry().Agents[id]))
}

func (m *Master) admit(id string, isNew bool, message mesos.Register, entry RegisteredAgent) mesos.Registered {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.awaited, id)
	one, known := m.agents[id]
	if !known {
		one = &agent{id: id, registered: time.Now(), deactivated: entry.Deactivated, drain: entry.Drain}
		m.agents[id] = one
		go m.watchHealth(one)
	}
	if isNew {
		m.counters["master/slave_registrations"]++
		m.counters["master/messages_register_slave"]++
	} else {
		one.reregistered = time.Now()
		m.counters["master/slave_reregistrations"]++
		m.counters["master/messages_reregister_slave"]++
	}
	one.info, one.pid, one.missed, one.awaitingPong = message.Info, message.PID, 0, false
	m.takeTasks(one, message)
	mesos.Log("I", "Registered agent %s at %s (%s)", id, one.pid, one.info.Hostname)
	reply := mesos.Registered{AgentID: id}
	if one.drain != nil {
		reply.Drain = &mesos.Drain{MaxGracePeriod: one.drain.Config.MaxGracePeriod, MarkGone: one.drain.Config.MarkGone, Start: one.drainStart}
	}
	return reply
}

// attach holds an agent's connection: its end tells the master at once that the agent's process is gone.
func (m *Master) attach(w http.ResponseWriter, r *http.Request) {
	m.mu.Lock()
	one, known := m.agents[r.URL.Query().Get("agent")]
	if !known || !m.leads() {
		m.mu.Unlock()
		mesos.Text(w, http.StatusNotFound, "unknown agent")
		return
	}
	one.attachment++
	mine := one.attachment
	one.connected = true
	m.mu.Unlock()
	m.poke()
	w.WriteHeader(http.StatusOK)
	_ = http.NewResponseController(w).Flush()
	<-r.Context().Done()
	m.mu.Lock()
	defer m.mu.Unlock()
	if one.attachment == mine {
		one.connected = false
		m.rescind(one.id)
		mesos.Log("I", "Agent %s at %s (%s) disconnected", one.id, one.pid, one.info.Hostname)
	}
}

// watchHealth pings an agent; too many unanswered pings make it unreachable.
func (m *Master) watchHealth(one *agent) {
	ticker := time.NewTicker(m.cfg.PingTimeout)
	defer ticker.Stop()
	for range ticker.C {
		m.mu.Lock()
		if m.agents[one.id] != one {
			m.mu.Unlock()
			return
		}
		if one.awaitingPong {
			one.missed++
		}
		one.awaitingPong = true
		missed, address := one.missed, one.address()
		m.mu.Unlock()
		if missed >= m.cfg.MaxPings {
			m.unreachable(one)
			return
		}
		go func() {
			if mesos.Post(context.Background(), m.cfg.PingTimeout, address, mesos.PathPing, one.id, nil) == nil {
				m.mu.Lock()
				one.missed, one.awaitingPong = 0, false
				m.mu.Unlock()
			}
		}()
	}
}

// unreachable takes an agent out of the list; it may come back with its id.
func (m *Master) unreachable(one *agent) {
	text, ok := m.store(func(r *Registry) {
		delete(r.Agents, one.id)
		r.Unreachable = append(dropDeparted(r.Unreachable, one.id), Departed{mesos.ID{Value: one.id}, mesos.NanosOf(time.Now())})
	})
	if !ok {
		mesos.Abort("Failed to mark agent %s unreachable: %s", one.id, text)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.counters["master/slave_unreachable_scheduled"]++
	m.counters["master/slave_unreachable_completed"]++
	m.counters["master/slave_removals"]++
	m.counters["master/slave_removals/reason_unhealthy"]++
	m.forget(one, "TASK_UNREACHABLE", "TASK_LOST", "Agent "+one.info.Hostname+" is unreachable: health check timed out", "REASON_SLAVE_REMOVED")
}

// giveUpAwaited marks those agents of the registry unreachable that did not come back after a failover.
func (m *Master) giveUpAwaited() {
	m.mu.Lock()
	var ids []string
	for id := range m.awaited {
		ids = append(ids, id)
	}
	m.mu.Unlock()
	if len(ids) == 0 {
		return
	}
	text, ok := m.store(func(r *Registry) {
		for _, id := range ids {
			delete(r.Agents, id)
			r.Unreachable = append(dropDeparted(r.Unreachable, id), Departed{mesos.ID{Value: id}, mesos.NanosOf(time.Now())})
		}
	})
	if !ok {
		mesos.Abort("Failed to mark agents unreachable: %s", text)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, id := range ids {
		delete(m.awaited, id)
		m.counters["master/recovery_slave_removals"]++
		m.counters["master/slave_removals"]++
	}
}

// unregister is deregisters an agent (SIGUSR1).
func (m *Master) unregister(w http.ResponseWriter, r *http.Request) {
	var id string
	if !mesos.Receive(w, r, &id) {
		return
	}
	m.remove(id, "unregistered", "Agent unregistered")
	mesos.Empty(w, http.StatusOK)
}

// remove takes an agent out of the registry; the caller does not hold mu.
func (m *Master) remove(id, reason, message string) {
	if text, ok := m.store(func(r *Registry) { delete(r.Agents, id) }); !ok {
		mesos.Abort("Failed to remove agent %s: %s", id, text)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if one, known := m.agents[id]; known {
		m.counters["master/slave_removals"]++
		m.counters["master/slave_removals/reason_"+reason]++
		m.forget(one, "TASK_LOST", "TASK_LOST", message, "REASON_SLAVE_REMOVED")
	}
}

// forget removes an agent and tells its tasks' frameworks; the caller holds mu.
func (m *Master) forget(one *agent, state, stateForOld, message, reason string) {
	m.rescind(one.id)
	delete(m.agents, one.id)
	for _, fw := range m.frameworks {
		for _, task := range fw.tasksOn(one.id) {
			told := state
			if !fw.info.Can("PARTITION_AWARE") {
				told = stateForOld
			}
			status := mesos.TaskStatus{TaskID: task.TaskID, State: told, Message: message, Source: "SOURCE_MASTER", Reason: reason,
				AgentID: &mesos.ID{Value: one.id}, Timestamp: mesos.Seconds(time.Now())}
			m.apply(fw, task, status)
			if told == "TASK_UNREACHABLE" {
				delete(fw.tasks, task.TaskID.Value)
				fw.unreachable = append(fw.unreachable, task)
			}
			fw.send(event("UPDATE", map[string]any{"status": status}))
		}
		fw.send(event("FAILURE", map[string]any{"agent_id": mesos.ID{Value: one.id}}))
	}
}

// sortedAgents lists agents by registration; the caller holds mu.
func (m *Master) sortedAgents() []*agent {
	list := make([]*agent, 0, len(m.agents))
	for _, one := range m.agents {
		list = append(list, one)
	}
	sort.Slice(list, func(i, j int) bool { return list[i].registered.Before(list[j].registered) })
	return list
}

// used are the resources of an agent's live tasks; the caller holds mu.
func (m *Master) used(id string) mesos.Quantities {
	var lists [][]mesos.Resource
	for _, fw := range m.frameworks {
		for _, task := range fw.tasksOn(id) {
			lists = append(lists, task.Resources)
		}
	}
	return mesos.Sum(lists...)
}

// offered are the resources of an agent out on offer; the caller holds mu.
func (m *Master) offered(id string) mesos.Quantities {
	var lists [][]mesos.Resource
	for _, one := range m.offers {
		if one.agent == id {
			lists = append(lists, one.resources)
		}
	}
	return mesos.Sum(lists...)
}

// sameInfo compares agents' infos as they are written.
func sameInfo(a, b mesos.AgentInfo) bool {
	first, _ := mesos.Encode(a)
	second, _ := mesos.Encode(b)
	return first == second
}

func (a *agent) shownAddress() mesos.Address {
	host, port, _ := net.SplitHostPort(a.address())
	number, _ := strconv.Atoi(port)
	return mesos.Address{Hostname: a.info.Hostname, IP: host, Port: number}
}
