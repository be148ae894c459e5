package master

import (
	"toots.test/standins/internal/mesos"
)

// RegisteredAgent is an agent in the registry.
type RegisteredAgent struct {
	Info        mesos.AgentInfo `json:"info"`
	Deactivated bool            `json:"deactivated"`
	Drain       *DrainInfo      `json:"drain_info,omitempty"`
}

// Departed is an agent that became unreachable or was marked gone.
type Departed struct {
	ID        mesos.ID    `json:"id"`
	Timestamp mesos.Nanos `json:"timestamp"`
}

// DrainConfig is how to drain an agent.
type DrainConfig struct {
	MaxGracePeriod *mesos.Nanos `json:"max_grace_period,omitempty"`
	MarkGone       bool         `json:"mark_gone"`
}

// DrainInfo is how far an agent's draining is.
type DrainInfo struct {
	State  string      `json:"state"`
	Config DrainConfig `json:"config"`
}

// Weight of a role.
type Weight struct {
	Role   string      `json:"role"`
	Weight mesos.Float `json:"weight"`
}

// MachineID names a machine in maintenance calls.
type MachineID struct {
	Hostname string `json:"hostname,omitempty"`
	IP       string `json:"ip,omitempty"`
}

// Unavailability is when a machine is away.
type Unavailability struct {
	Start    mesos.Nanos  `json:"start"`
	Duration *mesos.Nanos `json:"duration,omitempty"`
}

// Window is one window of a maintenance schedule.
type Window struct {
	MachineIDs     []MachineID    `json:"machine_ids"`
	Unavailability Unavailability `json:"unavailability"`
}

// Registry is what the masters agree on through the replicated log.
type Registry struct {
	Master      *mesos.MasterInfo          `json:"master,omitempty"`
	Agents      map[string]RegisteredAgent `json:"agents,omitempty"`
	Unreachable []Departed                 `json:"unreachable,omitempty"`
	Gone        []Departed                 `json:"gone,omitempty"`
	Weights     []Weight                   `json:"weights,omitempty"`
	Schedule    []Window                   `json:"schedule,omitempty"`
	Down        []MachineID                `json:"down,omitempty"`
}

// clone copies the registry so that a refused write leaves the old one.
func (r *Registry) clone() *Registry {
	copied := *r
	copied.Agents = map[string]RegisteredAgent{}
	for id, agent := range r.Agents {
		copied.Agents[id] = agent
	}
	copied.Unreachable = append([]Departed(nil), r.Unreachable...)
	copied.Gone = append([]Departed(nil), r.Gone...)
	copied.Weights = append([]Weight(nil), r.Weights...)
	copied.Schedule = append([]Window(nil), r.Schedule...)
	copied.Down = append([]MachineID(nil), r.Down...)
	return &copied
}

func dropDeparted(list []Departed, id string) []Departed {
	var left []Departed
	for _, one := range list {
		if one.ID.Value != id {
			left = append(left, one)
		}
	}
	return left
}

// shown is the registry as /registrar(1)/registry prints it: protobuf JSON with sorted keys.
func (r *Registry) shown() map[string]any {
	shown := map[string]any{}
	if r.Master == nil {
		return shown
	}
	shown["master"] = map[string]any{"info": r.Master}
	var agents []map[string]any
	for _, agent := range r.Agents {
		agents = append(agents, map[string]any{"deactivated": agent.Deactivated, "info": agent.Info})
	}
	if len(agents) > 0 {
		shown["slaves"] = map[string]any{"slaves": agents}
	}
	departed := func(list []Departed, key string, more map[string]any) {
		var out []map[string]any
		for _, one := range list {
			entry := map[string]any{"id": one.ID, "timestamp": one.Timestamp}
			for name, value := range more {
				entry[name] = value
			}
			out = append(out, entry)
		}
		if len(out) > 0 {
			shown[key] = map[string]any{"slaves": out}
		}
	}
	departed(r.Unreachable, "unreachable", map[string]any{"deactivated": false})
	departed(r.Gone, "gone", nil)
	return shown
}
