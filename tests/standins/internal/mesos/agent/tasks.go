package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"toots.test/standins/internal/docker"
	"toots.test/standins/internal/mesos"
)

const maxRuns = 150 // ended ones kept, as --max_completed_executors_per_framework

// launch begins a task; what goes wrong is told by status updates.
func (a *Agent) launch(order mesos.Launch) {
	info, framework := order.Task, order.Framework.ID.Value
	run := &Run{Framework: framework, Info: info, Container: mesos.NewUUID(),
		Docker: info.Container != nil && info.Container.Type == "DOCKER",
		Task: mesos.Task{Name: info.Name, TaskID: info.TaskID, FrameworkID: mesos.ID{Value: framework}, AgentID: info.AgentID, State: "TASK_STAGING",
			Resources: info.Resources, Statuses: []mesos.TaskStatus{}, Labels: info.Labels, Discovery: info.Discovery, Container: info.Container}}
	a.mu.Lock()
	run.Directory = filepath.Join(a.cfg.WorkDir, "slaves", a.id(), "frameworks", framework, "executors", info.TaskID.Value, "runs", run.Container)
	a.state.Frameworks[framework] = order.Framework
	a.state.Runs = append(a.state.Runs, run)
	if len(a.state.Runs) > maxRuns && a.state.Runs[0].Ended && len(a.state.Runs[0].Pending) == 0 {
		a.state.Runs = a.state.Runs[1:]
	}
	a.keep()
	a.mu.Unlock()
	if err := os.MkdirAll(run.Directory, 0o755); err != nil {
		a.report(run, "TASK_FAILED", "Failed to create the sandbox: "+err.Error(), "REASON_CONTAINER_LAUNCH_FAILED")
		return
	}
	// As the real program: `latest` beside the runs leads to the newest.
	latest := filepath.Join(filepath.Dir(run.Directory), "latest")
	_ = os.Remove(latest)
	_ = os.Symlink(run.Directory, latest)
	if (run.Docker && !a.cfg.Docker) || (!run.Docker && !a.cfg.Mesos) {
		a.report(run, "TASK_FAILED", fmt.Sprintf("None of the enabled containerizers (%s) could create a container for the provided TaskInfo/ExecutorInfo message", a.cfg.Containers), "REASON_CONTAINER_LAUNCH_FAILED")
		return
	}
	if run.Docker && a.cfg.ClusterD && (a.cfg.Flags["network_cni_config_dir"] == "" || a.cfg.Flags["network_cni_plugins_dir"] == "") {
		// Recorded: its executor reads both flags unasked and aborts.
		a.report(run, "TASK_FAILED", "Failed to launch container: Container exited with status 134", "REASON_CONTAINER_LAUNCH_FAILED")
		return
	}
	if run.Docker {
		a.runContainer(run)
		return
	}
	a.runCommand(run)
}

// report adds a status to a task; a terminal one ends the run.
func (a *Agent) report(run *Run, state, message, reason string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if run.Ended {
		return
	}
	source := "SOURCE_EXECUTOR"
	if reason == "REASON_CONTAINER_LAUNCH_FAILED" || reason == "REASON_EXECUTOR_TERMINATED" {
		source = "SOURCE_AGENT"
	}
	status := mesos.TaskStatus{TaskID: run.Task.TaskID, State: state, Message: message, Source: source, Reason: reason,
		AgentID: &run.Task.AgentID, ExecutorID: &mesos.ID{Value: run.Task.TaskID.Value}, Timestamp: mesos.Seconds(time.Now()), UUID: mesos.NewUpdateUUID()}
	if source == "SOURCE_EXECUTOR" {
		status.ContainerStatus = a.containerStatus(run)
	}
	run.Task.State, run.Task.StatusUpdateState, run.Task.StatusUpdateUUID = state, state, status.UUID
	run.Task.Statuses = append(run.Task.Statuses, status)
	run.Pending = append(run.Pending, status)
	run.Ended = mesos.Terminal(state)
	if run.Ended {
		a.counters["slave/tasks_"+map[string]string{"TASK_FINISHED": "finished", "TASK_FAILED": "failed", "TASK_KILLED": "killed", "TASK_LOST": "lost"}[state]]++
		a.counters["slave/executors_terminated"]++
	}
	mesos.Log("I", "Task %s of framework %s: %s %s", run.Task.TaskID.Value, run.Framework, state, message)
	a.keep()
}

func (a *Agent) containerStatus(run *Run) *mesos.ContainerStatus {
	address := a.cfg.IP
	if run.Docker {
		if container, err := a.docker.Inspect(context.Background(), a.name(run)); err == nil && container.IP() != "" {
			address = container.IP()
		}
	}
	pid := run.PID
	if pid == 0 {
		pid = os.Getpid()
	}
	return &mesos.ContainerStatus{ContainerID: &mesos.ID{Value: run.Container}, ExecutorPID: pid,
		NetworkInfos: []mesos.NetworkInfo{{IPAddresses: []mesos.IPAddress{{Protocol: "IPv4", IPAddress: address}}}}}
}

// kill ends a task within its grace: the order's, the task's own, or none for containers and 3 s for commands.
func (a *Agent) kill(order mesos.Kill) {
	a.mu.Lock()
	var found *Run
	for _, run := range a.state.Runs {
		if run.Framework == order.FrameworkID && run.Task.TaskID.Value == order.TaskID && !run.Ended {
			found = run
		}
	}
	if found == nil || found.Killing != "" {
		a.mu.Unlock()
		return
	}
	found.Killing = order.Reason
	if order.Reason == "" {
		found.Killing = "REASON_TASK_KILLED_DURING_LAUNCH"
	}
	a.mu.Unlock()
	grace := 3 * time.Second
	if policy := found.Info.KillPolicy; policy != nil && policy.GracePeriod != nil {
		grace = time.Duration(policy.GracePeriod.Nanoseconds)
	}
	if order.Grace != nil && (*order.Grace < grace || order.Reason == "") {
		grace = *order.Grace
	}
	a.stop(found, grace)
}

func (a *Agent) stop(run *Run, grace time.Duration) {
	if !run.Docker {
		stopProcess(run.PID, run.Born, grace)
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), grace+30*time.Second)
	defer cancel()
	if err := a.docker.Stop(ctx, a.name(run), grace); err != nil && !errors.Is(err, docker.ErrNotFound) {
		mesos.Log("W", "Failed to stop container %s: %v", a.name(run), err)
	}
}

// finish tells how a run ended.
func (a *Agent) finish(run *Run, code int, known bool) {
	a.mu.Lock()
	killing := run.Killing
	a.mu.Unlock()
	what := "Command"
	if run.Docker {
		what = "Container"
	}
	reason := killing
	if reason == "REASON_TASK_KILLED_DURING_LAUNCH" {
		reason = "" // the framework's own wish: no reason is told
	}
	switch {
	case killing != "":
		signal := "Terminated"
		if code == 137 || code == 128+9 {
			signal = "Killed"
		}
		a.report(run, "TASK_KILLED", what+" terminated with signal "+signal, reason)
	case !known:
		a.report(run, "TASK_FAILED", "Executor terminated", "REASON_EXECUTOR_TERMINATED")
	case code == 0:
		a.report(run, "TASK_FINISHED", what+" exited with status 0", "")
	default:
		a.report(run, "TASK_FAILED", fmt.Sprintf("%s exited with status %d", what, code), "REASON_COMMAND_EXECUTOR_FAILED")
	}
}

// recoverRuns takes up again what ran when the agent ended; it takes the executors' time to come back.
func (a *Agent) recoverRuns() {
	a.mu.Lock()
	runs, wait := append([]*Run(nil), a.state.Runs...), a.recovering
	a.mu.Unlock()
	for _, run := range runs {
		switch {
		case run.Ended:
		case run.Docker:
			go a.followContainer(run)
		default:
			go a.followProcess(run)
		}
	}
	if wait {
		time.Sleep(2 * time.Second)
	}
	a.mu.Lock()
	a.recovering = false
	a.mu.Unlock()
}
