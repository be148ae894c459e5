package master

import (
	"context"
	"fmt"
	"sort"
	"time"

	"toots.test/standins/internal/mesos"
)

// framework is a subscribed, recovered or ended framework.
type framework struct {
	id           string
	info         mesos.FrameworkInfo
	active       bool
	recovered    bool
	registered   time.Time
	reregistered time.Time
	unregistered time.Time
	stream       *stream
	tasks        map[string]*mesos.Task
	completed    []*mesos.Task
	unreachable  []*mesos.Task
	filters      map[string]time.Time // agent -> until when its offers are refused
	suppressed   bool
	failover     *time.Timer
	calls        map[string]float64
}

func (f *framework) connected() bool { return f.stream != nil }

// send passes an event to the framework if it is connected.
func (f *framework) send(message map[string]any) {
	if f.stream != nil {
		f.stream.send(message)
	}
}

// tasksOn lists live tasks on an agent in order of their ids.
func (f *framework) tasksOn(agent string) []*mesos.Task {
	var list []*mesos.Task
	for _, task := range f.sortedTasks() {
		if task.AgentID.Value == agent {
			list = append(list, task)
		}
	}
	return list
}

func (f *framework) sortedTasks() []*mesos.Task {
	list := make([]*mesos.Task, 0, len(f.tasks))
	for _, task := range f.tasks {
		list = append(list, task)
	}
	sort.Slice(list, func(i, j int) bool { return list[i].TaskID.Value < list[j].TaskID.Value })
	return list
}

func (f *framework) used() mesos.Quantities {
	var lists [][]mesos.Resource
	for _, task := range f.tasks {
		lists = append(lists, task.Resources)
	}
	return mesos.Sum(lists...)
}

// event wraps the body of a scheduler event.
func event(kind string, body map[string]any) map[string]any {
	return map[string]any{"type": kind, lower(kind): body}
}

// sortedFrameworks lists frameworks, the newest first as the real program does; the caller holds mu.
func (m *Master) sortedFrameworks() []*framework {
	list := make([]*framework, 0, len(m.frameworks))
	for _, fw := range m.frameworks {
		list = append(list, fw)
	}
	sort.Slice(list, func(i, j int) bool { return list[i].registered.After(list[j].registered) })
	return list
}

// subscribe enters a framework, new or back after its own or the master's failover. The caller holds mu.
func (m *Master) subscribe(info mesos.FrameworkInfo, out *stream) (*framework, error) {
	id := ""
	if info.ID != nil {
		id = info.ID.Value
	}
	for _, ended := range m.completed {
		if ended.id == id {
			return nil, fmt.Errorf("Framework has been removed")
		}
	}
	if id == "" {
		id = fmt.Sprintf("%s-%04d", m.info.ID, m.nextFW)
		m.nextFW++
	}
	info.ID = &mesos.ID{Value: id}
	fw, known := m.frameworks[id]
	if !known {
		fw = newFramework(id)
		m.frameworks[id] = fw
	} else if fw.stream != nil {
		fw.stream.send(event("ERROR", map[string]any{"message": "Framework failed over"}))
		fw.stream.close()
	}
	if fw.failover != nil {
		fw.failover.Stop()
		fw.failover = nil
	}
	fw.info, fw.stream, fw.active, fw.recovered, fw.suppressed = info, out, true, false, false
	fw.reregistered = time.Now()
	fw.filters = map[string]time.Time{}
	return fw, nil
}

func newFramework(id string) *framework {
	now := time.Now()
	return &framework{id: id, registered: now, reregistered: now, tasks: map[string]*mesos.Task{}, filters: map[string]time.Time{}, calls: map[string]float64{}}
}

// disconnected begins the failover timeout of a framework whose stream ended. The caller holds mu.
func (m *Master) disconnected(fw *framework, ended *stream) {
	if fw.stream != ended {
		return
	}
	mesos.Log("I", "Framework %s (%s) disconnected; failover timeout %vs", fw.id, fw.info.Name, float64(fw.info.FailoverTimeout))
	fw.stream, fw.active = nil, false
	m.rescindOf(fw)
	timeout := time.Duration(float64(fw.info.FailoverTimeout) * float64(time.Second))
	fw.failover = time.AfterFunc(timeout, func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		if m.frameworks[fw.id] == fw && fw.stream == nil {
			m.removeFramework(fw)
		}
	})
}

// removeFramework ends a framework and its tasks. The caller holds mu.
func (m *Master) removeFramework(fw *framework) {
	mesos.Log("I", "Removing framework %s (%s)", fw.id, fw.info.Name)
	m.rescindOf(fw)
	for _, task := range fw.sortedTasks() {
		m.killOnAgent(fw, task, nil, "")
		task.State = "TASK_KILLED"
		fw.completed = append(fw.completed, task)
	}
	fw.tasks = map[string]*mesos.Task{}
	if fw.stream != nil {
		fw.stream.close()
	}
	fw.stream, fw.active, fw.unregistered = nil, false, time.Now()
	delete(m.frameworks, fw.id)
	m.completed = append(m.completed, fw)
	if len(m.completed) > m.cfg.MaxCompletedFW {
		m.completed = m.completed[1:]
	}
}

// takeTasks enters what a (re)registering agent runs. The caller holds mu.
func (m *Master) takeTasks(one *agent, message mesos.Register) {
	for _, info := range message.Frameworks {
		if _, known := m.frameworks[info.ID.Value]; known || m.hasEnded(info.ID.Value) {
			continue
		}
		fw := newFramework(info.ID.Value)
		fw.info, fw.recovered = info, true
		m.frameworks[fw.id] = fw
	}
	for i := range message.Tasks {
		task := message.Tasks[i]
		fw, known := m.frameworks[task.FrameworkID.Value]
		if !known {
			go func() {
				_ = mesos.Post(context.Background(), agentTimeout, one.address(), mesos.PathKill,
					mesos.Kill{FrameworkID: task.FrameworkID.Value, TaskID: task.TaskID.Value}, nil)
			}()
			continue
		}
		fw.unreachable = withoutTask(fw.unreachable, task.TaskID.Value)
		if _, there := fw.tasks[task.TaskID.Value]; !there && !mesos.Terminal(task.State) {
			fw.tasks[task.TaskID.Value] = &task
		}
	}
}

func (m *Master) hasEnded(id string) bool {
	for _, ended := range m.completed {
		if ended.id == id {
			return true
		}
	}
	return false
}

func withoutTask(list []*mesos.Task, id string) (left []*mesos.Task) {
	for _, task := range list {
		if task.TaskID.Value != id {
			left = append(left, task)
		}
	}
	return left
}

// apply enters a status into a task; a terminal one moves the task to the completed. The caller holds mu.
func (m *Master) apply(fw *framework, task *mesos.Task, status mesos.TaskStatus) {
	task.State, task.StatusUpdateState, task.StatusUpdateUUID = status.State, status.State, status.UUID
	if last := len(task.Statuses) - 1; last >= 0 && task.Statuses[last].State == status.State {
		task.Statuses[last] = status
	} else {
		task.Statuses = append(task.Statuses, status)
	}
	if !mesos.Terminal(status.State) {
		return
	}
	if _, live := fw.tasks[task.TaskID.Value]; live {
		m.counters["master/tasks_"+lower(status.State[len("TASK_"):])]++
		delete(fw.tasks, task.TaskID.Value)
		fw.completed = append(fw.completed, task)
		if len(fw.completed) > m.cfg.MaxCompleted {
			fw.completed = fw.completed[1:]
		}
		m.checkDrained(task.AgentID.Value)
		m.poke()
	}
}
