package agent

import (
	"toots.test/standins/internal/mesos"
	"toots.test/standins/internal/mesos/master"
)

// reads are the operator calls; the functions need mu held.
func (a *Agent) reads() map[string]func() any {
	return map[string]func() any{
		"GET_HEALTH":        func() any { return object{"healthy": true} },
		"GET_FLAGS":         func() any { return master.FlagList(a.cfg.Flags) },
		"GET_VERSION":       func() any { return object{"version_info": mesos.ThisBuild()} },
		"GET_METRICS":       func() any { return master.MetricList(a.metrics()) },
		"GET_LOGGING_LEVEL": func() any { return object{"level": 0} },
		"GET_AGENT":         func() any { return a.v1Agent() },
		"GET_CONTAINERS":    a.v1Containers,
		"GET_EXECUTORS":     func() any { return a.v1Executors() },
		"GET_FRAMEWORKS":    func() any { return a.v1Frameworks() },
		"GET_TASKS":         func() any { return a.v1Tasks() },
		"GET_STATE": func() any {
			return object{"get_tasks": a.v1Tasks(), "get_executors": a.v1Executors(), "get_frameworks": a.v1Frameworks()}
		},
		"GET_OPERATIONS":         func() any { return object{} },
		"GET_RESOURCE_PROVIDERS": func() any { return object{} },
	}
}

func (a *Agent) v1Agent() object {
	info := a.cfg.Info
	info.Checkpoint = false // not shown by the agent itself
	view := object{"agent_info": info}
	if a.drain != nil {
		view["drain_config"] = a.drainConfig()
		view["estimated_drain_start_time"] = mesos.Nanos{Nanoseconds: a.drain.Start.Unix() * 1e9}
	}
	return view
}

func (a *Agent) v1Containers() any {
	var list []object
	for _, run := range a.state.Runs {
		if run.Ended {
			continue
		}
		list = append(list, object{"framework_id": mesos.ID{Value: run.Framework}, "executor_id": run.Task.TaskID, "executor_name": run.executorName(),
			"container_id":        mesos.ID{Value: run.Container},
			"container_status":    object{"container_id": mesos.ID{Value: run.Container}, "executor_pid": run.PID},
			"resource_statistics": a.statistics(run)})
	}
	if list == nil {
		return nil
	}
	return object{"containers": list}
}

func (a *Agent) v1Executors() object {
	live, done := []object{}, []object{}
	for _, run := range a.state.Runs {
		info := object{"executor_id": run.Task.TaskID, "framework_id": mesos.ID{Value: run.Framework},
			"command":   object{"shell": false, "value": "mesos-executor", "arguments": []string{"mesos-executor"}},
			"resources": run.executorResources(), "name": run.executorName(), "source": run.Task.TaskID.Value}
		if run.Ended {
			done = append(done, object{"executor_info": info})
		} else {
			live = append(live, object{"executor_info": info})
		}
	}
	return object{"executors": live, "completed_executors": done}
}

func (a *Agent) v1Frameworks() object {
	live, done, seen, alive := []object{}, []object{}, map[string]bool{}, a.live()
	for _, run := range a.state.Runs {
		if seen[run.Framework] {
			continue
		}
		seen[run.Framework] = true
		entry := object{"framework_info": a.state.Frameworks[run.Framework]}
		if alive[run.Framework] {
			live = append(live, entry)
		} else {
			done = append(done, entry)
		}
	}
	return object{"frameworks": live, "completed_frameworks": done}
}

func (a *Agent) v1Tasks() object {
	live, ended, done := []mesos.Task{}, []mesos.Task{}, []mesos.Task{}
	for _, run := range a.state.Runs {
		switch {
		case !run.Ended:
			live = append(live, run.Task)
		case len(run.Pending) > 0:
			ended = append(ended, run.Task)
		default:
			done = append(done, run.Task)
		}
	}
	return object{"pending_tasks": []object{}, "queued_tasks": []object{}, "launched_tasks": live, "terminated_tasks": ended, "completed_tasks": done}
}
