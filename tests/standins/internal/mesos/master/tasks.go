package master

import (
	"context"
	"net/http"
	"time"

	"toots.test/standins/internal/mesos"
)

type acceptCall struct {
	OfferIDs   []mesos.ID `json:"offer_ids"`
	Operations []struct {
		Type   string `json:"type"`
		Launch *struct {
			TaskInfos []mesos.TaskInfo `json:"task_infos"`
		} `json:"launch"`
	} `json:"operations"`
	Filters *filters `json:"filters"`
}

// accept launches tasks on the offers of one agent. The caller holds mu.
func (m *Master) accept(fw *framework, call acceptCall) {
	var host *agent
	var lists [][]mesos.Resource
	role, valid := "*", len(call.OfferIDs) > 0
	for _, id := range call.OfferIDs {
		one, there := m.offers[id.Value]
		if !there || one.framework != fw.id || (host != nil && host.id != one.agent) || m.agents[one.agent] == nil {
			valid = false
			continue
		}
		host, role = m.agents[one.agent], one.role
		lists = append(lists, one.resources)
		delete(m.offers, id.Value)
		fw.calls["offers/accepted"]++
		fw.filters[one.agent] = time.Now().Add(call.Filters.refuse())
	}
	left := mesos.Sum(lists...)
	for _, operation := range call.Operations {
		if operation.Type != "LAUNCH" || operation.Launch == nil {
			mesos.Log("W", "Ignoring operation %s of framework %s: the stand-in plays LAUNCH only", operation.Type, fw.id)
			continue
		}
		fw.calls["operations/launch"]++
		for _, info := range operation.Launch.TaskInfos {
			wanted := mesos.Sum(info.Resources)
			switch {
			case !valid || host == nil:
				m.refuse(fw, info, "TASK_DROPPED", "TASK_LOST", "Task launched with invalid offers", "REASON_INVALID_OFFERS")
			case info.AgentID.Value != host.id:
				m.refuse(fw, info, "TASK_ERROR", "TASK_ERROR", "Task uses invalid agent "+info.AgentID.Value, "REASON_TASK_INVALID")
			case fw.tasks[info.TaskID.Value] != nil:
				m.refuse(fw, info, "TASK_ERROR", "TASK_ERROR", "Task has duplicate ID: "+info.TaskID.Value, "REASON_TASK_INVALID")
			case !left.Contains(wanted):
				m.refuse(fw, info, "TASK_ERROR", "TASK_ERROR", "Task uses more resources than available", "REASON_TASK_INVALID")
			default:
				left = left.Minus(wanted)
				m.launch(fw, host, info, role)
			}
		}
	}
	m.poke()
}

func (m *Master) refuse(fw *framework, info mesos.TaskInfo, state, stateForOld, message, reason string) {
	if !fw.info.Can("PARTITION_AWARE") {
		state = stateForOld
	}
	m.counters["master/tasks_"+lower(state[len("TASK_"):])]++
	fw.send(event("UPDATE", map[string]any{"status": mesos.TaskStatus{TaskID: info.TaskID, State: state, Message: message, Source: "SOURCE_MASTER",
		Reason: reason, AgentID: &info.AgentID, Timestamp: mesos.Seconds(time.Now())}}))
}

func (m *Master) launch(fw *framework, host *agent, info mesos.TaskInfo, role string) {
	task := &mesos.Task{Name: info.Name, TaskID: info.TaskID, FrameworkID: mesos.ID{Value: fw.id}, AgentID: info.AgentID, State: "TASK_STAGING",
		Statuses: []mesos.TaskStatus{}, Labels: info.Labels, Discovery: info.Discovery, Container: info.Container}
	for _, resource := range info.Resources {
		resource.Role = ""
		resource.AllocationInfo = &mesos.AllocationInfo{Role: role}
		task.Resources = append(task.Resources, resource)
	}
	info.Resources = task.Resources
	fw.tasks[info.TaskID.Value] = task
	address, order := host.address(), mesos.Launch{Framework: fw.info, Task: info}
	go func() {
		err := mesos.Post(context.Background(), agentTimeout, address, mesos.PathLaunch, order, nil)
		if err == nil {
			return
		}
		m.mu.Lock()
		defer m.mu.Unlock()
		m.refuse(fw, info, "TASK_DROPPED", "TASK_LOST", "Agent did not take the task: "+err.Error(), "REASON_SLAVE_DISCONNECTED")
		delete(fw.tasks, info.TaskID.Value)
	}()
}

type killCall struct {
	TaskID     mesos.ID          `json:"task_id"`
	KillPolicy *mesos.KillPolicy `json:"kill_policy"`
}

func (m *Master) kill(fw *framework, call killCall) {
	task, known := fw.tasks[call.TaskID.Value]
	if !known {
		m.answerUnknown(fw, call.TaskID, "Attempted to kill an unknown task")
		return
	}
	var grace *time.Duration
	if call.KillPolicy != nil && call.KillPolicy.GracePeriod != nil {
		told := time.Duration(call.KillPolicy.GracePeriod.Nanoseconds)
		grace = &told
	}
	m.killOnAgent(fw, task, grace, "")
}

func (m *Master) killOnAgent(fw *framework, task *mesos.Task, grace *time.Duration, reason string) {
	host := m.agents[task.AgentID.Value]
	if host == nil {
		return
	}
	order := mesos.Kill{FrameworkID: fw.id, TaskID: task.TaskID.Value, Grace: grace, Reason: reason}
	address := host.address()
	go func() {
		if err := mesos.Post(context.Background(), agentTimeout, address, mesos.PathKill, order, nil); err != nil {
			mesos.Log("W", "Failed to kill task %s: %v", order.TaskID, err)
		}
	}()
}

func (m *Master) answerUnknown(fw *framework, id mesos.ID, message string) {
	state := "TASK_LOST"
	if fw.info.Can("PARTITION_AWARE") {
		state = "TASK_UNKNOWN"
	}
	fw.send(event("UPDATE", map[string]any{"status": mesos.TaskStatus{TaskID: id, State: state, Message: message, Source: "SOURCE_MASTER",
		Reason: "REASON_RECONCILIATION", Timestamp: mesos.Seconds(time.Now())}}))
}

type ackCall struct {
	AgentID mesos.ID `json:"agent_id"`
	TaskID  mesos.ID `json:"task_id"`
	UUID    string   `json:"uuid"`
}

func (m *Master) acknowledge(fw *framework, call ackCall) {
	host := m.agents[call.AgentID.Value]
	if host == nil {
		m.counters["master/invalid_status_update_acknowledgements"]++
		return
	}
	m.counters["master/valid_status_update_acknowledgements"]++
	ack, address := mesos.Ack{FrameworkID: fw.id, TaskID: call.TaskID.Value, UUID: call.UUID}, host.address()
	go func() { _ = mesos.Post(context.Background(), agentTimeout, address, mesos.PathAck, ack, nil) }()
}

type reconcileCall struct {
	Tasks []struct {
		TaskID  mesos.ID  `json:"task_id"`
		AgentID *mesos.ID `json:"agent_id"`
	} `json:"tasks"`
}

// reconcile tells the newest status of the tasks asked for, or of all live ones.
func (m *Master) reconcile(fw *framework, call reconcileCall) {
	tell := func(task *mesos.Task) {
		status := mesos.TaskStatus{TaskID: task.TaskID, State: task.State, AgentID: &task.AgentID}
		if last := len(task.Statuses) - 1; last >= 0 {
			status.ContainerStatus = task.Statuses[last].ContainerStatus
		}
		status.UUID, status.Source, status.Reason = "", "SOURCE_MASTER", "REASON_RECONCILIATION"
		status.Message, status.Timestamp = "Reconciliation: Latest task state", mesos.Seconds(time.Now())
		fw.send(event("UPDATE", map[string]any{"status": status}))
	}
	if len(call.Tasks) == 0 {
		for _, task := range fw.sortedTasks() {
			tell(task)
		}
		return
	}
	for _, asked := range call.Tasks {
		if task, known := fw.tasks[asked.TaskID.Value]; known {
			tell(task)
		} else if asked.AgentID == nil || !m.isAwaited(asked.AgentID.Value) {
			m.answerUnknown(fw, asked.TaskID, "Reconciliation: Task is unknown")
		}
	}
}

func (m *Master) isAwaited(agent string) bool {
	_, awaited := m.awaited[agent]
	return awaited
}

// update takes a status from an agent and passes it on.
func (m *Master) update(w http.ResponseWriter, r *http.Request) {
	var message mesos.Update
	if !mesos.Receive(w, r, &message) {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.counters["master/messages_status_update"]++
	fw, known := m.frameworks[message.FrameworkID]
	if !known {
		m.counters["master/invalid_status_updates"]++
		if m.hasEnded(message.FrameworkID) { // nobody will acknowledge it any more
			mesos.Text(w, http.StatusGone, "framework ended")
			return
		}
		mesos.Empty(w, http.StatusOK)
		return
	}
	m.counters["master/valid_status_updates"]++
	if task, live := fw.tasks[message.Status.TaskID.Value]; live {
		m.apply(fw, task, message.Status)
	}
	fw.send(event("UPDATE", map[string]any{"status": message.Status}))
	mesos.Empty(w, http.StatusOK)
}
