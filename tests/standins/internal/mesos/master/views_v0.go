package master

import (
	"toots.test/standins/internal/mesos"
)

type object = map[string]any

// ShownTask is a task as the v0 endpoints of master and agent show it.
func ShownTask(task *mesos.Task) object {
	statuses := []object{}
	for _, status := range task.Statuses {
		shown := object{"state": status.State, "timestamp": status.Timestamp}
		if status.ContainerStatus != nil {
			inner := *status.ContainerStatus
			inner.ExecutorPID = 0 // not shown here
			shown["container_status"] = inner
		}
		statuses = append(statuses, shown)
	}
	role := "*"
	if len(task.Resources) > 0 && task.Resources[0].AllocationInfo != nil {
		role = task.Resources[0].AllocationInfo.Role
	}
	shown := object{"id": task.TaskID.Value, "name": task.Name, "framework_id": task.FrameworkID.Value, "executor_id": "",
		"slave_id": task.AgentID.Value, "state": task.State, "resources": mesos.Sum(task.Resources).Shown(), "role": role, "statuses": statuses}
	if task.Labels != nil {
		shown["labels"] = task.Labels.Labels
	}
	if task.Discovery != nil {
		shown["discovery"] = task.Discovery
	}
	if task.Container != nil {
		shown["container"] = task.Container
	}
	return shown
}

func shownTasks(tasks []*mesos.Task) []object {
	list := []object{}
	for _, task := range tasks {
		list = append(list, ShownTask(task))
	}
	return list
}

// ShownAttributes are attributes as an object.
func ShownAttributes(attributes []mesos.Attribute) map[string]string {
	shown := map[string]string{}
	for _, one := range attributes {
		shown[one.Name] = one.Text.Value
	}
	return shown
}

// shownAgent is an agent in /state and /slaves; the caller holds mu.
func (m *Master) shownAgent(one *agent, full bool) object {
	total := mesos.Sum(one.info.Resources)
	shown := object{
		"id": one.id, "hostname": one.info.Hostname, "port": one.info.Port, "attributes": ShownAttributes(one.info.Attributes), "pid": one.pid,
		"registered_time": mesos.Seconds(one.registered), "resources": total.Shown(), "used_resources": m.used(one.id).Shown(),
		"offered_resources": m.offered(one.id).Shown(), "reserved_resources": object{}, "unreserved_resources": total.Shown(),
		"active": one.active(), "deactivated": one.deactivated, "version": mesos.Version, "capabilities": mesos.AgentCapabilities,
	}
	if !one.reregistered.IsZero() {
		shown["reregistered_time"] = mesos.Seconds(one.reregistered)
	}
	if one.drain != nil {
		shown["drain_info"] = one.drain
		shown["estimated_drain_start_time_seconds"] = mesos.Seconds(one.drainStart)
	}
	if full {
		shown["reserved_resources_full"] = object{}
		shown["unreserved_resources_full"] = total.List("*", "")
		shown["used_resources_full"] = m.allocated(one.id)
		offered := []mesos.Resource{}
		for _, out := range m.offers {
			if out.agent == one.id {
				offered = append(offered, out.resources...)
			}
		}
		shown["offered_resources_full"] = offered
	}
	return shown
}

// allocated are the resources of an agent's tasks with their roles; the caller holds mu.
func (m *Master) allocated(id string) []mesos.Resource {
	list := []mesos.Resource{}
	for _, fw := range m.sortedFrameworks() {
		var lists [][]mesos.Resource
		for _, task := range fw.tasksOn(id) {
			lists = append(lists, task.Resources)
		}
		list = append(list, mesos.Sum(lists...).List("*", fw.info.AllRoles()[0])...)
	}
	return list
}

func (m *Master) shownAgents(full bool) []object {
	list := []object{}
	for _, one := range m.sortedAgents() {
		list = append(list, m.shownAgent(one, full))
	}
	return list
}

// shownAwaited are the agents of the registry that are not back yet.
func (m *Master) shownAwaited() []object {
	list := []object{}
	for id, entry := range m.awaited {
		list = append(list, object{"id": id, "hostname": entry.Info.Hostname, "port": entry.Info.Port,
			"attributes": ShownAttributes(entry.Info.Attributes), "resources": mesos.Sum(entry.Info.Resources).Shown()})
	}
	return list
}

// shownFramework is a framework in /state and /frameworks; the caller holds mu.
func (m *Master) shownFramework(fw *framework) object {
	shown := m.summary(fw)
	shown["user"], shown["failover_timeout"], shown["checkpoint"] = fw.info.User, fw.info.FailoverTimeout, fw.info.Checkpoint
	shown["registered_time"], shown["unregistered_time"] = mesos.Seconds(fw.registered), mesos.Seconds(fw.unregistered)
	if fw.reregistered.After(fw.registered) {
		shown["reregistered_time"] = mesos.Seconds(fw.reregistered)
	}
	if fw.info.Principal != "" {
		shown["principal"] = fw.info.Principal
	}
	shown["resources"] = fw.used().Shown()
	if fw.info.Can("MULTI_ROLE") {
		shown["roles"] = fw.info.AllRoles()
	} else {
		shown["role"] = fw.info.AllRoles()[0]
	}
	offers := []object{}
	for _, one := range m.offers {
		if one.framework == fw.id {
			offers = append(offers, object{"id": one.id, "framework_id": one.framework, "slave_id": one.agent,
				"resources": mesos.Sum(one.resources).Shown(), "allocation_info": mesos.AllocationInfo{Role: one.role}})
		}
	}
	shown["tasks"], shown["unreachable_tasks"] = shownTasks(fw.sortedTasks()), shownTasks(fw.unreachable)
	shown["completed_tasks"], shown["offers"] = shownTasks(fw.completed), offers
	shown["executors"], shown["offer_constraints"] = []object{}, object{}
	return shown
}

// summary is what /state-summary and /state both tell of a framework.
func (m *Master) summary(fw *framework) object {
	var lists [][]mesos.Resource
	for _, one := range m.offers {
		if one.framework == fw.id {
			lists = append(lists, one.resources)
		}
	}
	capabilities := []string{}
	for _, one := range fw.info.Capabilities {
		capabilities = append(capabilities, one.Type)
	}
	return object{"id": fw.id, "name": fw.info.Name, "used_resources": fw.used().Shown(), "offered_resources": mesos.Sum(lists...).Shown(),
		"capabilities": capabilities, "hostname": fw.info.Hostname, "webui_url": fw.info.WebUIURL, "active": fw.active,
		"connected": fw.connected(), "recovered": fw.recovered}
}

func (m *Master) frameworksView() object {
	list, completed := []object{}, []object{}
	for _, fw := range m.sortedFrameworks() {
		list = append(list, m.shownFramework(fw))
	}
	for _, fw := range m.completed {
		completed = append(completed, m.shownFramework(fw))
	}
	return object{"frameworks": list, "completed_frameworks": completed, "unregistered_frameworks": []object{}}
}

func (m *Master) slavesView() object {
	return object{"slaves": m.shownAgents(true), "recovered_slaves": m.shownAwaited()}
}

func (m *Master) stateView() object {
	build, frameworks := mesos.ThisBuild(), m.frameworksView()
	active, inactive := 0, 0
	for _, one := range m.agents {
		if one.active() {
			active++
		} else {
			inactive++
		}
	}
	capabilities := []string{}
	for _, one := range m.info.Capabilities {
		capabilities = append(capabilities, one.Type)
	}
	view := object{
		"version": build.Version, "git_sha": build.GitSHA, "git_tag": build.GitTag, "build_date": build.BuildDate, "build_time": build.BuildTime,
		"build_user": build.BuildUser, "start_time": mesos.Seconds(m.started), "id": m.info.ID, "pid": m.info.PID, "hostname": m.info.Hostname,
		"capabilities": capabilities, "activated_slaves": mesos.Float(active), "deactivated_slaves": mesos.Float(inactive),
		"unreachable_slaves": mesos.Float(len(m.registrar.Registry().Unreachable)), "flags": m.cfg.Flags,
		"slaves": m.shownAgents(false), "recovered_slaves": m.shownAwaited(), "frameworks": frameworks["frameworks"],
		"completed_frameworks": frameworks["completed_frameworks"], "orphan_tasks": []object{}, "unregistered_frameworks": []object{},
	}
	if m.leads() {
		view["elected_time"] = mesos.Seconds(m.elected)
	}
	if m.leader != nil {
		view["leader"] = m.leader.PID
		view["leader_info"] = object{"id": m.leader.ID, "pid": m.leader.PID, "port": m.leader.Port, "hostname": m.leader.Hostname}
	}
	if m.cfg.Cluster != "" {
		view["cluster"] = m.cfg.Cluster
	}
	return view
}

var summaryStates = []string{"TASK_STAGING", "TASK_STARTING", "TASK_RUNNING", "TASK_KILLING", "TASK_FINISHED", "TASK_KILLED", "TASK_FAILED",
	"TASK_LOST", "TASK_ERROR", "TASK_UNREACHABLE"}

// tally counts all tasks of the kept frameworks by state and collects ids by `key`.
func (m *Master) tally(into object, matches func(*framework, *mesos.Task) bool, name string, key func(*framework, *mesos.Task) string) {
	counts, ids, seen := map[string]int{}, []string{}, map[string]bool{}
	for _, fw := range m.sortedFrameworks() {
		for _, list := range [][]*mesos.Task{fw.sortedTasks(), fw.completed, fw.unreachable} {
			for _, task := range list {
				if !matches(fw, task) {
					continue
				}
				counts[task.State]++
				if id := key(fw, task); !seen[id] {
					seen[id] = true
					ids = append(ids, id)
				}
			}
		}
	}
	for _, state := range summaryStates {
		into[state] = counts[state]
	}
	into[name] = ids
}

func (m *Master) summaryView() object {
	agents, frameworks := []object{}, []object{}
	for _, one := range m.sortedAgents() {
		shown := m.shownAgent(one, false)
		m.tally(shown, func(_ *framework, task *mesos.Task) bool { return task.AgentID.Value == one.id }, "framework_ids",
			func(fw *framework, _ *mesos.Task) string { return fw.id })
		agents = append(agents, shown)
	}
	for _, fw := range m.sortedFrameworks() {
		shown := m.summary(fw)
		m.tally(shown, func(of *framework, _ *mesos.Task) bool { return of == fw }, "slave_ids",
			func(_ *framework, task *mesos.Task) string { return task.AgentID.Value })
		frameworks = append(frameworks, shown)
	}
	view := object{"hostname": m.info.Hostname, "slaves": agents, "frameworks": frameworks}
	if m.cfg.Cluster != "" {
		view["cluster"] = m.cfg.Cluster
	}
	return view
}

func (m *Master) tasksView() object {
	list := []object{}
	for _, fw := range m.sortedFrameworks() {
		list = append(list, shownTasks(fw.sortedTasks())...)
		list = append(list, shownTasks(fw.unreachable)...)
		list = append(list, shownTasks(fw.completed)...)
	}
	return object{"tasks": list}
}
