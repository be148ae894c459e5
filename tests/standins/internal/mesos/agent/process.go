package agent

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// keeper runs a command and leaves its exit code in a file, so that a restarted agent learns it too. A signal to the
// group ends both; then there is no file.
const keeper = `"$@"; code=$?; echo $code > .exit.new && mv .exit.new .exit; exit $code`

// runCommand runs a task without a container as a process group of its own.
func (a *Agent) runCommand(run *Run) {
	command := run.Info.Command
	if command == nil {
		a.report(run, "TASK_ERROR", "Task has no command", "REASON_TASK_INVALID")
		return
	}
	args := []string{"/bin/sh", "-c", command.Value}
	if command.Shell != nil && !*command.Shell {
		args = append([]string{command.Value}, command.Arguments[min(1, len(command.Arguments)):]...)
	}
	process := exec.Command("/bin/sh", append([]string{"-c", keeper, "mesos-executor"}, args...)...)
	process.Dir, process.Env = run.Directory, a.commandEnv(run)
	process.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	out, err := os.Create(filepath.Join(run.Directory, "stdout"))
	if err != nil {
		a.report(run, "TASK_FAILED", err.Error(), "REASON_CONTAINER_LAUNCH_FAILED")
		return
	}
	defer out.Close()
	errs, err := os.Create(filepath.Join(run.Directory, "stderr"))
	if err != nil {
		a.report(run, "TASK_FAILED", err.Error(), "REASON_CONTAINER_LAUNCH_FAILED")
		return
	}
	defer errs.Close()
	process.Stdout, process.Stderr = out, errs
	if err := process.Start(); err != nil {
		a.report(run, "TASK_FAILED", "Failed to launch: "+err.Error(), "REASON_CONTAINER_LAUNCH_FAILED")
		return
	}
	a.mu.Lock()
	run.PID, run.Born = process.Process.Pid, born(process.Process.Pid)
	a.mu.Unlock()
	a.report(run, "TASK_STARTING", "", "")
	a.report(run, "TASK_RUNNING", "", "")
	_ = process.Wait()
	code := process.ProcessState.ExitCode()
	if status, ok := process.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		code = 128 + int(status.Signal())
	}
	a.finish(run, code, true)
}

// followProcess waits for the end of a process that is no child of this agent.
func (a *Agent) followProcess(run *Run) {
	for run.PID != 0 && born(run.PID) == run.Born && run.Born != "" {
		time.Sleep(300 * time.Millisecond)
	}
	text, err := os.ReadFile(filepath.Join(run.Directory, ".exit"))
	code, parseErr := strconv.Atoi(strings.TrimSpace(string(text)))
	a.finish(run, code, err == nil && parseErr == nil)
}

// born is a process' start time in ticks since boot, empty if it is not there (or a zombie).
func born(pid int) string {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return ""
	}
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	if len(fields) < 20 || fields[0] == "Z" {
		return ""
	}
	return fields[19]
}

// stopProcess ends the group of a process that was born then: SIGTERM and after the grace SIGKILL.
func stopProcess(pid int, since string, grace time.Duration) {
	if pid == 0 || since == "" || born(pid) != since {
		return
	}
	_ = syscall.Kill(-pid, syscall.SIGTERM)
	for deadline := time.Now().Add(grace); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if born(pid) != since {
			return
		}
	}
	if born(pid) == since {
		_ = syscall.Kill(-pid, syscall.SIGKILL)
	}
}

// commandEnv is what the command executor gives a command.
func (a *Agent) commandEnv(run *Run) []string {
	endpoint := net.JoinHostPort(a.cfg.IP, strconv.Itoa(a.cfg.Port))
	env := map[string]string{"HOST": a.cfg.Hostname, "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"LIBPROCESS_IP": a.cfg.IP, "LIBPROCESS_PORT": "0", "MESOS_AGENT_ENDPOINT": endpoint, "MESOS_CHECKPOINT": "1"}
	env["MESOS_EXECUTOR_ID"], env["MESOS_FRAMEWORK_ID"], env["MESOS_TASK_ID"] = run.Task.TaskID.Value, run.Framework, run.Task.TaskID.Value
	env["MESOS_SLAVE_ID"], env["MESOS_SLAVE_PID"] = a.id(), a.PID()
	env["MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD"], env["MESOS_RECOVERY_TIMEOUT"] = "5secs", "15mins"
	env["MESOS_HTTP_COMMAND_EXECUTOR"], env["MESOS_SUBSCRIPTION_BACKOFF_MAX"] = "0", "2secs"
	given(env, run.Info.Command)
	env["MESOS_SANDBOX"], env["MESOS_DIRECTORY"], env["MESOS_ALLOCATION_ROLE"] = run.Directory, run.Directory, run.role()
	return pairs(env)
}
