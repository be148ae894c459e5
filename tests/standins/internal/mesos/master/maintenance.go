package master

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"

	"toots.test/standins/internal/mesos"
)

// readBody decodes a POSTed document or answers 400 with prefix and the parser's words.
func readBody(w http.ResponseWriter, r *http.Request, prefix string, into any) bool {
	body, _ := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err := json.Unmarshal(body, into); err != nil {
		mesos.Text(w, http.StatusBadRequest, prefix+"syntax error at line 1 near: "+string(body))
		return false
	}
	return true
}

func (m *Master) scheduleView() object {
	schedule := m.registrar.Registry().Schedule
	if len(schedule) == 0 {
		return object{}
	}
	return object{"windows": schedule}
}

func (m *Master) statusView() object {
	registry, view := m.registrar.Registry(), object{}
	var draining []object
	for _, window := range registry.Schedule {
		for _, machine := range window.MachineIDs {
			if !contains(registry.Down, machine) {
				draining = append(draining, object{"id": machine})
			}
		}
	}
	if len(draining) > 0 {
		view["draining_machines"] = draining
	}
	if len(registry.Down) > 0 {
		view["down_machines"] = registry.Down
	}
	return view
}

func contains(list []MachineID, machine MachineID) bool {
	for _, one := range list {
		if one == machine {
			return true
		}
	}
	return false
}

func scheduled(registry *Registry, machine MachineID) bool {
	for _, window := range registry.Schedule {
		if contains(window.MachineIDs, machine) {
			return true
		}
	}
	return false
}

// write stores a change and answers 200 or, without a log quorum, 500.
func (m *Master) write(w http.ResponseWriter, change func(*Registry)) {
	if text, ok := m.store(change); !ok {
		mesos.Text(w, http.StatusInternalServerError, text)
		return
	}
	mesos.Empty(w, http.StatusOK)
}

func (m *Master) postSchedule(w http.ResponseWriter, r *http.Request) {
	var body struct {
		Windows []Window `json:"windows"`
	}
	if readBody(w, r, "", &body) {
		m.write(w, func(registry *Registry) { registry.Schedule = body.Windows })
	}
}

func (m *Master) machines(w http.ResponseWriter, r *http.Request, up bool) {
	var ids []MachineID
	if !readBody(w, r, "", &ids) {
		return
	}
	registry := m.registrar.Registry()
	for _, id := range ids {
		text, _ := mesos.Encode(id)
		if !scheduled(registry, id) {
			mesos.Text(w, http.StatusBadRequest, fmt.Sprintf("Machine '%s' is not part of a maintenance schedule", text))
			return
		}
		if up && !contains(registry.Down, id) {
			mesos.Text(w, http.StatusBadRequest, fmt.Sprintf("Machine '%s' is not in DOWN mode and cannot be brought up", text))
			return
		}
	}
	m.write(w, func(registry *Registry) {
		var down []MachineID
		for _, one := range registry.Down {
			if !contains(ids, one) {
				down = append(down, one)
			}
		}
		if !up {
			down = append(down, ids...)
		} else {
			registry.Schedule = withoutMachines(registry.Schedule, ids)
		}
		registry.Down = down
	})
}

func withoutMachines(schedule []Window, ids []MachineID) (left []Window) {
	for _, window := range schedule {
		var machines []MachineID
		for _, machine := range window.MachineIDs {
			if !contains(ids, machine) {
				machines = append(machines, machine)
			}
		}
		if len(machines) > 0 {
			left = append(left, Window{machines, window.Unavailability})
		}
	}
	return left
}

// isDown reports whether an agent's machine is down for maintenance.
func (m *Master) isDown(one *agent) bool {
	address := one.shownAddress()
	for _, machine := range m.registrar.Registry().Down {
		if machine.Hostname == one.info.Hostname && (machine.IP == "" || machine.IP == address.IP) {
			return true
		}
	}
	return false
}

func (m *Master) putWeights(w http.ResponseWriter, r *http.Request) {
	var weights []Weight
	if !readBody(w, r, "Failed to parse update weights request JSON '': ", &weights) {
		return
	}
	for _, one := range weights {
		if one.Weight <= 0 {
			mesos.Text(w, http.StatusBadRequest, fmt.Sprintf("Failed to validate update weights request JSON for role '%s': Invalid weight '%v': Weights must be positive", one.Role, float64(one.Weight)))
			return
		}
	}
	m.write(w, func(registry *Registry) {
		for _, one := range weights {
			var others []Weight
			for _, old := range registry.Weights {
				if old.Role != one.Role {
					others = append(others, old)
				}
			}
			registry.Weights = append(others, one)
		}
	})
}
