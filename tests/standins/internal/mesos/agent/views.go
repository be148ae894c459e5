package agent

import (
	_ "embed"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"toots.test/standins/internal/mesos"
	"toots.test/standins/internal/mesos/master"
)

type object = map[string]any

// The names a real agent tells even if all is zero.
//
//go:embed metrics.txt
var metricNames string

// used are the resources of what runs; each executor costs some of its own. The caller holds mu.
func (a *Agent) used() mesos.Quantities {
	var lists [][]mesos.Resource
	for _, run := range a.state.Runs {
		if !run.Ended {
			lists = append(lists, run.Info.Resources, run.executorResources())
		}
	}
	return mesos.Sum(lists...)
}

func (r *Run) executorResources() []mesos.Resource {
	return mesos.Quantities{Scalars: map[string]float64{"cpus": 0.1, "mem": 32}}.List("", r.role())
}

func (r *Run) executorName() string {
	command := ""
	if r.Info.Command != nil {
		command = r.Info.Command.Value
	}
	if len(command) > 15 {
		command = command[:12] + "..."
	}
	return fmt.Sprintf("Command Executor (Task: %s) (Command: sh -c '%s')", r.Task.TaskID.Value, command)
}

func (a *Agent) metrics() map[string]mesos.Float {
	metrics := mesos.SystemMetrics()
	for _, name := range strings.Fields(metricNames) {
		metrics[name] = 0
		if strings.HasPrefix(name, "resource_provider_manager/") && a.cfg.Info.ID == nil {
			delete(metrics, name) // comes with the first registration
		}
	}
	for name, value := range a.counters {
		metrics[name] = mesos.Float(value)
	}
	if a.registered {
		metrics["slave/registered"] = 1
	}
	metrics["slave/uptime_secs"] = mesos.Float(time.Since(a.started).Seconds())
	metrics["containerizer/fetcher/cache_size_total_bytes"] = 2 << 30
	metrics["slave/executor_directory_max_allowed_age_secs"] = 544320
	frameworks := map[string]bool{}
	for _, run := range a.state.Runs {
		if !run.Ended {
			frameworks[run.Framework] = true
			metrics["slave/executors_running"]++
			metrics["slave/"+strings.ToLower("tasks_"+run.Task.State[len("TASK_"):])]++
		}
	}
	metrics["slave/frameworks_active"] = mesos.Float(len(frameworks))
	total, used := mesos.Sum(a.cfg.Info.Resources), a.used()
	for _, name := range []string{"cpus", "mem", "disk", "gpus"} {
		metrics["slave/"+name+"_total"] = mesos.Float(total.Scalars[name])
		metrics["slave/"+name+"_used"] = mesos.Float(used.Scalars[name])
		if total.Scalars[name] > 0 {
			metrics["slave/"+name+"_percent"] = mesos.Float(used.Scalars[name] / total.Scalars[name])
		}
	}
	return metrics
}

func (a *Agent) stateView() object {
	build, total := mesos.ThisBuild(), mesos.Sum(a.cfg.Info.Resources)
	view := object{
		"version": build.Version, "git_sha": build.GitSHA, "git_tag": build.GitTag, "build_date": build.BuildDate, "build_time": build.BuildTime,
		"build_user": build.BuildUser, "start_time": mesos.Seconds(a.started), "id": a.id(), "pid": a.PID(), "hostname": a.cfg.Hostname,
		"capabilities": mesos.AgentCapabilities, "resources": total.Shown(), "reserved_resources": object{}, "unreserved_resources": total.Shown(),
		"reserved_resources_full": object{}, "unreserved_resources_full": total.List("*", ""), "reserved_resources_allocated": object{},
		"unreserved_resources_allocated": a.used().Shown(), "resource_providers": []object{}, "attributes": master.ShownAttributes(a.cfg.Info.Attributes),
		"flags": a.cfg.Flags, "frameworks": a.frameworks(true), "completed_frameworks": a.frameworks(false),
	}
	if a.leader != nil {
		view["master_hostname"] = a.leader.Hostname
	}
	if a.drain != nil {
		view["drain_config"] = a.drainConfig()
		view["estimated_drain_start_time_seconds"] = a.drain.Start.Unix()
	}
	return view
}

func (a *Agent) drainConfig() object {
	config := object{"mark_gone": a.drain.MarkGone}
	if a.drain.MaxGracePeriod != nil {
		config["max_grace_period"] = a.drain.MaxGracePeriod
	}
	return config
}

// live tells which frameworks have something running.
func (a *Agent) live() map[string]bool {
	live := map[string]bool{}
	for _, run := range a.state.Runs {
		if !run.Ended {
			live[run.Framework] = true
		}
	}
	return live
}

// frameworks lists those with live tasks, or those without; the caller holds mu.
func (a *Agent) frameworks(wantLive bool) []object {
	list, live, done := []object{}, a.live(), map[string]bool{}
	for _, run := range a.state.Runs {
		if live[run.Framework] != wantLive || done[run.Framework] {
			continue
		}
		done[run.Framework] = true
		info := a.state.Frameworks[run.Framework]
		shown := object{"id": run.Framework, "name": info.Name, "user": info.User, "failover_timeout": info.FailoverTimeout,
			"checkpoint": info.Checkpoint, "hostname": info.Hostname, "roles": info.AllRoles()}
		executors, completed := []object{}, []object{}
		for _, one := range a.state.Runs {
			if one.Framework != run.Framework {
				continue
			}
			if one.Ended {
				completed = append(completed, a.shownExecutor(one))
			} else {
				executors = append(executors, a.shownExecutor(one))
			}
		}
		shown["executors"], shown["completed_executors"] = executors, completed
		list = append(list, shown)
	}
	return list
}

func (a *Agent) shownExecutor(run *Run) object {
	tasks, completed := []object{}, []object{}
	resources := mesos.Sum(run.executorResources())
	if run.Ended {
		completed = append(completed, master.ShownTask(&run.Task))
	} else {
		tasks = append(tasks, master.ShownTask(&run.Task))
		resources = mesos.Sum(run.executorResources(), run.Info.Resources)
	}
	return object{"id": run.Task.TaskID.Value, "name": run.executorName(), "source": run.Task.TaskID.Value, "container": run.Container,
		"directory": run.Directory, "resources": resources.Shown(), "role": run.role(), "tasks": tasks, "queued_tasks": []object{}, "completed_tasks": completed}
}

// statistics are the numbers of a run; the times are those of its process.
func (a *Agent) statistics(run *Run) object {
	limit := mesos.Sum(run.executorResources(), run.Info.Resources)
	bytes := int64(limit.Scalars["mem"] * (1 << 20))
	user, system, rss := usage(run.PID)
	return object{"cpus_soft_limit": mesos.Float(limit.Scalars["cpus"]), "cpus_system_time_secs": mesos.Float(system), "cpus_user_time_secs": mesos.Float(user),
		"mem_limit_bytes": bytes, "mem_rss_bytes": rss, "mem_soft_limit_bytes": bytes, "timestamp": mesos.Seconds(time.Now())}
}

// usage reads a process' times in seconds and memory in bytes.
func usage(pid int) (user, system float64, rss int64) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, 0, 0
	}
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	if len(fields) < 22 {
		return 0, 0, 0
	}
	number := func(i int) float64 { value, _ := strconv.ParseFloat(fields[i], 64); return value }
	return number(11) / 100, number(12) / 100, int64(number(21)) * int64(os.Getpagesize())
}

func (a *Agent) containersView(status bool) []object {
	list := []object{}
	for _, run := range a.state.Runs {
		if run.Ended {
			continue
		}
		shown := object{"executor_id": run.Task.TaskID.Value, "executor_name": run.executorName(), "framework_id": run.Framework,
			"source": run.Task.TaskID.Value, "statistics": a.statistics(run)}
		if status {
			shown["container_id"] = run.Container
			shown["status"] = object{"container_id": mesos.ID{Value: run.Container}, "executor_pid": run.PID}
		}
		list = append(list, shown)
	}
	return list
}
