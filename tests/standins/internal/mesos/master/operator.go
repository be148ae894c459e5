package master

import (
	"net/http"

	"toots.test/standins/internal/mesos"
)

// The operator calls the stand-in answers from its state.
func (m *Master) reads() map[string]func() any {
	return map[string]func() any{
		"GET_HEALTH":        func() any { return object{"healthy": true} },
		"GET_FLAGS":         func() any { return FlagList(m.cfg.Flags) },
		"GET_VERSION":       func() any { return object{"version_info": mesos.ThisBuild()} },
		"GET_METRICS":       func() any { return MetricList(m.metrics()) },
		"GET_LOGGING_LEVEL": func() any { return object{"level": 0} },
		"GET_STATE":         func() any { return m.v1State() }, "GET_AGENTS": func() any { return m.v1Agents() },
		"GET_FRAMEWORKS": func() any { return m.v1Frameworks() }, "GET_TASKS": func() any { return m.v1Tasks() },
		"GET_EXECUTORS": func() any { return object{"executors": []object{}} }, "GET_OPERATIONS": func() any { return object{} },
		"GET_ROLES": func() any { return m.v1Roles() }, "GET_MASTER": func() any { return m.v1Master() },
		"GET_QUOTA":                func() any { return object{"status": object{}} },
		"GET_WEIGHTS":              m.v1Weights,
		"GET_MAINTENANCE_STATUS":   func() any { return object{"status": m.statusView()} },
		"GET_MAINTENANCE_SCHEDULE": func() any { return object{"schedule": m.scheduleView()} },
	}
}

func (m *Master) v1Weights() any {
	if weights := m.registrar.Registry().Weights; len(weights) > 0 {
		return object{"weight_infos": weights}
	}
	return nil
}

var agentOperations = map[string]bool{"DRAIN_AGENT": true, "DEACTIVATE_AGENT": true, "REACTIVATE_AGENT": true, "MARK_AGENT_GONE": true}

// Calls the real master knows and the stand-in does not implement.
var unplayed = map[string]bool{"SET_LOGGING_LEVEL": true, "LIST_FILES": true, "READ_FILE": true, "UPDATE_WEIGHTS": true, "RESERVE_RESOURCES": true,
	"UNRESERVE_RESOURCES": true, "CREATE_VOLUMES": true, "DESTROY_VOLUMES": true, "GROW_VOLUME": true, "SHRINK_VOLUME": true,
	"UPDATE_MAINTENANCE_SCHEDULE": true, "START_MAINTENANCE": true, "STOP_MAINTENANCE": true, "UPDATE_QUOTA": true, "SET_QUOTA": true,
	"REMOVE_QUOTA": true, "TEARDOWN": true, "SUBSCRIBE": true}

// operator serves POST /api/v1 of a recovered leader.
func (m *Master) operator(w http.ResponseWriter, r *http.Request) {
	reads := m.reads()
	call, protobuf, ok := mesos.ReadCall(w, r, masterMessage, func(kind string) bool {
		return reads[kind] != nil || agentOperations[kind] || unplayed[kind]
	})
	if !ok {
		return
	}
	var options struct{}
	switch {
	case agentOperations[call.Type]:
		m.agentOperation(w, call)
		return
	case reads[call.Type] == nil:
		mesos.Text(w, http.StatusNotImplemented, "This stand-in does not play "+call.Type)
		return
	case call.Type == "GET_METRICS" && !call.Field(w, masterMessage, &options):
		return
	case protobuf && call.Type == "GET_HEALTH":
		mesos.HealthProtobuf(w)
		return
	case protobuf:
		mesos.Text(w, http.StatusNotImplemented, "This stand-in speaks JSON only")
		return
	}
	m.mu.Lock()
	value := reads[call.Type]()
	m.mu.Unlock()
	call.Reply(w, r, value)
}
