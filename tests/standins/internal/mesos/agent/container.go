package agent

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"

	"toots.test/standins/internal/docker"
	"toots.test/standins/internal/mesos"
)

// name is how the Docker containerizer names containers.
func (a *Agent) name(run *Run) string { return "mesos-" + run.Container }

// runContainer pulls if needed, starts the container and follows it.
func (a *Agent) runContainer(run *Run) {
	ctx, info := context.Background(), run.Info.Container.Docker
	if info == nil || info.Image == "" {
		a.report(run, "TASK_FAILED", "Failed to launch container: no docker image given", "REASON_CONTAINER_LAUNCH_FAILED")
		return
	}
	if err := a.docker.EnsureImage(ctx, info.Image, info.ForcePullImage); err != nil {
		a.report(run, "TASK_FAILED", "Failed to launch container: Failed to pull image: "+err.Error(), "REASON_CONTAINER_LAUNCH_FAILED")
		return
	}
	a.report(run, "TASK_STARTING", "", "")
	spec, err := a.spec(run)
	if err == nil {
		_, err = a.docker.Create(ctx, a.name(run), spec)
	}
	if err == nil {
		err = a.docker.Start(ctx, a.name(run))
	}
	if err != nil {
		_ = a.docker.Remove(ctx, a.name(run))
		a.report(run, "TASK_FAILED", "Failed to run container: "+err.Error(), "")
		return
	}
	if container, err := a.docker.Inspect(ctx, a.name(run)); err == nil {
		run.PID = container.State.Pid
	}
	a.report(run, "TASK_RUNNING", "", "")
	a.followContainer(run)
}

// followContainer waits for the container's end, copying its output to the sandbox.
func (a *Agent) followContainer(run *Run) {
	ctx := context.Background()
	go a.copyLogs(ctx, run)
	code, err := a.docker.Wait(ctx, a.name(run))
	a.finish(run, code, err == nil)
	// The real one removes it after --docker_remove_delay; kept as long here, a stopped one only fills the disk.
	if err == nil {
		_ = a.docker.Remove(ctx, a.name(run))
	}
}

func (a *Agent) copyLogs(ctx context.Context, run *Run) {
	out, err := os.OpenFile(filepath.Join(run.Directory, "stdout"), os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o644)
	if err != nil {
		return
	}
	defer out.Close()
	errs, err := os.OpenFile(filepath.Join(run.Directory, "stderr"), os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o644)
	if err != nil {
		return
	}
	defer errs.Close()
	_ = a.docker.Logs(ctx, a.name(run), out, errs)
}

// spec turns a task into a container as mesos src/docker/docker.cpp does.
func (a *Agent) spec(run *Run) (docker.Spec, error) {
	container, command := run.Info.Container, run.Info.Command
	info, total := container.Docker, mesos.Sum(run.Info.Resources)
	spec := docker.Spec{Image: info.Image, Hostname: container.Hostname, Labels: map[string]string{"MESOS_TASK_ID": run.Task.TaskID.Value}}
	spec.Env = a.containerEnv(run)
	if command != nil {
		spec.User = ""
		if command.Shell == nil || *command.Shell {
			if command.Value != "" {
				spec.Entrypoint, spec.Cmd = []string{"/bin/sh"}, []string{"-c", command.Value}
			}
		} else {
			if command.Value != "" {
				spec.Entrypoint = []string{command.Value}
			}
			spec.Cmd = command.Arguments
		}
	}
	host := docker.HostConfig{Privileged: info.Privileged, NetworkMode: strings.ToLower(info.Network)}
	if host.NetworkMode == "" {
		host.NetworkMode = "host" // the protobuf's default
	}
	host.CPUShares = max(2, int64(total.Scalars["cpus"]*1024))
	host.Memory = max(4<<20, int64(total.Scalars["mem"]*(1<<20)))
	for _, volume := range container.Volumes {
		if volume.HostPath == "" {
			continue
		}
		path := volume.HostPath
		if !strings.HasPrefix(path, "/") {
			path = filepath.Join(run.Directory, path)
		}
		host.Binds = append(host.Binds, path+":"+volume.ContainerPath+":"+strings.ToLower(volume.Mode))
	}
	host.Binds = append(host.Binds, run.Directory+":"+a.cfg.SandboxDir)
	if host.NetworkMode == "bridge" || host.NetworkMode == "user" {
		publish(&spec, &host, info.PortMappings)
	} else if len(info.PortMappings) > 0 {
		return spec, fmt.Errorf("Port mappings are only supported for bridge and user-defined networks")
	}
	err := parameters(&spec, &host, info.Parameters)
	spec.HostConfig = host
	return spec, err
}

func publish(spec *docker.Spec, host *docker.HostConfig, mappings []mesos.PortMapping) {
	if len(mappings) == 0 {
		return
	}
	spec.ExposedPorts, host.PortBindings = map[string]struct{}{}, map[string][]docker.PortBinding{}
	for _, one := range mappings {
		for _, protocol := range strings.Split(strings.ToLower(one.Protocol), ",") {
			if protocol == "" {
				protocol = "tcp"
			}
			port := strconv.Itoa(one.ContainerPort) + "/" + protocol
			spec.ExposedPorts[port] = struct{}{}
			host.PortBindings[port] = append(host.PortBindings[port], docker.PortBinding{HostPort: strconv.Itoa(one.HostPort)})
		}
	}
}

// parameters implements the docker command line options frameworks use; others fail the task rather than being ignored.
func parameters(spec *docker.Spec, host *docker.HostConfig, list []mesos.Parameter) error {
	for _, one := range list {
		switch one.Key {
		case "label":
			key, value, _ := strings.Cut(one.Value, "=")
			spec.Labels[key] = value
		case "env":
			spec.Env = append(spec.Env, one.Value)
		case "volume":
			host.Binds = append(host.Binds, one.Value)
		case "add-host":
			host.ExtraHosts = append(host.ExtraHosts, one.Value)
		case "dns":
			host.DNS = append(host.DNS, one.Value)
		case "cap-add":
			host.CapAdd = append(host.CapAdd, one.Value)
		case "hostname":
			spec.Hostname = one.Value
		case "user":
			spec.User = one.Value
		case "entrypoint":
			spec.Entrypoint = []string{one.Value}
		case "net", "network":
			host.NetworkMode = one.Value
		default:
			return fmt.Errorf("this stand-in does not play the docker parameter %q", one.Key)
		}
	}
	return nil
}

// containerEnv is the framework's environment and what the agent adds.
func (a *Agent) containerEnv(run *Run) []string {
	env := map[string]string{"HOST": a.cfg.Hostname, "MESOS_TASK_ID": run.Task.TaskID.Value}
	given(env, run.Info.Command)
	env["MESOS_CONTAINER_NAME"], env["MESOS_SANDBOX"], env["MESOS_ALLOCATION_ROLE"] = a.name(run), a.cfg.SandboxDir, run.role()
	return pairs(env)
}

func given(env map[string]string, command *mesos.CommandInfo) {
	if command == nil || command.Environment == nil {
		return
	}
	for _, one := range command.Environment.Variables {
		env[one.Name] = one.Value
	}
}

func pairs(env map[string]string) []string {
	list := make([]string, 0, len(env))
	for name, value := range env {
		list = append(list, name+"="+value)
	}
	sort.Strings(list)
	return list
}

func (r *Run) role() string {
	for _, one := range r.Info.Resources {
		if one.AllocationInfo != nil {
			return one.AllocationInfo.Role
		}
	}
	return "*"
}
