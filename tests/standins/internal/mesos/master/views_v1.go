package master

import (
	"toots.test/standins/internal/mesos"
)

// v1Info is the master's info in the v1 API, which does not know the newest capability.
func (m *Master) v1Info() object {
	return object{"id": m.info.ID, "ip": m.info.IP, "port": m.info.Port, "pid": m.info.PID, "hostname": m.info.Hostname, "version": m.info.Version,
		"address": m.info.Address, "capabilities": []mesos.Capability{{Type: "AGENT_UPDATE"}, {Type: "AGENT_DRAINING"}, {}}}
}

func (m *Master) v1Master() object {
	return object{"master_info": m.v1Info(), "start_time": mesos.Seconds(m.started), "elected_time": mesos.Seconds(m.elected)}
}

func (m *Master) v1Agents() object {
	agents, awaited := []object{}, []object{}
	for _, one := range m.sortedAgents() {
		var capabilities []mesos.Capability
		for _, name := range mesos.AgentCapabilities {
			capabilities = append(capabilities, mesos.Capability{Type: name})
		}
		shown := object{"agent_info": one.info, "active": one.active(), "deactivated": one.deactivated, "version": mesos.Version, "pid": one.pid,
			"registered_time": mesos.NanosOf(one.registered), "total_resources": mesos.Sum(one.info.Resources).List("*", ""), "capabilities": capabilities}
		if !one.reregistered.IsZero() {
			shown["reregistered_time"] = mesos.NanosOf(one.reregistered)
		}
		if allocated := m.allocated(one.id); len(allocated) > 0 {
			shown["allocated_resources"] = allocated
		}
		if one.drain != nil {
			shown["drain_info"] = one.drain
			shown["estimated_drain_start_time"] = mesos.Nanos{Nanoseconds: one.drainStart.Unix() * 1e9}
		}
		agents = append(agents, shown)
	}
	for _, entry := range m.awaited {
		awaited = append(awaited, object{"agent_info": entry.Info})
	}
	return object{"agents": agents, "recovered_agents": awaited}
}

func (m *Master) v1Frameworks() object {
	show := func(fw *framework) object {
		shown := object{"framework_info": fw.info, "active": fw.active, "connected": fw.connected(), "recovered": fw.recovered,
			"registered_time": mesos.NanosOf(fw.registered), "reregistered_time": mesos.NanosOf(fw.reregistered), "offer_constraints": object{}}
		if used := fw.used().List("*", fw.info.AllRoles()[0]); len(used) > 0 {
			shown["allocated_resources"] = used
		}
		return shown
	}
	list, completed := []object{}, []object{}
	for _, fw := range m.sortedFrameworks() {
		list = append(list, show(fw))
	}
	for _, fw := range m.completed {
		completed = append(completed, show(fw))
	}
	return object{"frameworks": list, "completed_frameworks": completed}
}

func (m *Master) v1Tasks() object {
	live, away, completed := []*mesos.Task{}, []*mesos.Task{}, []*mesos.Task{}
	for _, fw := range m.sortedFrameworks() {
		live = append(live, fw.sortedTasks()...)
		away = append(away, fw.unreachable...)
		completed = append(completed, fw.completed...)
	}
	return object{"tasks": live, "unreachable_tasks": away, "completed_tasks": completed}
}

func (m *Master) v1State() object {
	return object{"get_tasks": m.v1Tasks(), "get_executors": object{"executors": []object{}}, "get_frameworks": m.v1Frameworks(), "get_agents": m.v1Agents()}
}

// FlagList is a list of names and values, sorted.
func FlagList(flags map[string]string) object {
	list := []object{}
	for _, name := range sortedNames(flags) {
		list = append(list, object{"name": name, "value": flags[name]})
	}
	return object{"flags": list}
}

// MetricList is a list of names and values, sorted.
func MetricList(metrics map[string]mesos.Float) object {
	list := []object{}
	for _, name := range sortedNames(metrics) {
		list = append(list, object{"name": name, "value": metrics[name]})
	}
	return object{"metrics": list}
}
