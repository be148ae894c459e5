package chronos

import (
	"fmt"
	"strings"

	"toots.test/standins/internal/framework"
)

// taskFor builds what is launched for a run.
func taskFor(job *Job, r *run, host string, resources []framework.Resource) framework.Task {
	command := &framework.Command{Shell: job.Shell, User: job.RunAsUser}
	if job.Shell {
		command.Value = strings.TrimSpace(job.Command + " " + r.arguments)
	} else {
		command.Value = job.Command
		command.Arguments = append([]string{job.Command}, job.Arguments...)
	}
	add := func(name, value string) {
		command.Environment.Variables = append(command.Environment.Variables, framework.Variable{Name: name, Value: value})
	}
	add("mesos_task_id", r.task)
	add("CHRONOS_JOB_OWNER", job.Owner)
	add("CHRONOS_JOB_NAME", job.Name)
	add("HOST", host)
	add("CHRONOS_RESOURCE_MEM", job.Mem.String())
	add("CHRONOS_RESOURCE_CPU", job.CPUs.String())
	add("CHRONOS_RESOURCE_DISK", job.Disk.String())
	add("CHRONOS_JOB_RUN_TIME", fmt.Sprint(r.due.UnixMilli()))
	add("CHRONOS_JOB_RUN_ATTEMPT", fmt.Sprint(r.attempt))
	for _, variable := range job.EnvironmentVariables {
		add(variable.Name, variable.Value)
	}
	task := framework.Task{
		Name: "ChronosTask:" + job.Name, TaskID: framework.Value{Value: r.task}, AgentID: framework.Value{Value: r.agent},
		Resources: resources, Command: command,
	}
	if c := job.Container; c != nil {
		docker := &framework.Docker{Image: c.Image, Network: c.Network, ForcePullImage: c.ForcePullImage}
		for _, parameter := range c.Parameters {
			docker.Parameters = append(docker.Parameters, framework.Parameter{Key: parameter.Key, Value: parameter.Value})
		}
		task.Container = &framework.Container{Type: "DOCKER", Docker: docker}
		for _, volume := range c.Volumes {
			task.Container.Volumes = append(task.Container.Volumes, framework.Volume{
				ContainerPath: volume.ContainerPath, HostPath: volume.HostPath, Mode: volume.Mode})
		}
	}
	return task
}
