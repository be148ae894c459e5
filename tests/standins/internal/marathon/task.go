package marathon

import (
	"fmt"
	"regexp"
	"sort"
	"strings"

	"toots.test/standins/internal/framework"
)

// taskFor builds what is launched for an instance.
func taskFor(app *App, i *Instance, resources []framework.Resource, prefix string) framework.Task {
	parts := strings.Split(strings.TrimPrefix(app.ID, "/"), "/")
	for a, b := 0, len(parts)-1; a < b; a, b = a+1, b-1 {
		parts[a], parts[b] = parts[b], parts[a]
	}
	task := framework.Task{
		Name: strings.Join(parts, "."), TaskID: framework.Value{Value: i.TaskID()}, AgentID: framework.Value{Value: i.AgentID},
		Resources: resources, Command: &framework.Command{User: app.User},
	}
	if app.Cmd != "" {
		task.Command.Shell, task.Command.Value = true, app.Cmd
	} else {
		task.Command.Arguments = app.Args
	}
	for name, value := range environment(app, i, prefix) {
		task.Command.Environment.Variables = append(task.Command.Environment.Variables, framework.Variable{Name: name, Value: value})
	}
	variables := task.Command.Environment.Variables
	sort.Slice(variables, func(a, b int) bool { return variables[a].Name < variables[b].Name })
	if app.Container != nil {
		task.Container = containerFor(app, i)
	}
	for _, check := range app.HealthChecks {
		if check.Command != nil {
			task.HealthCheck = map[string]any{
				"type": "COMMAND", "command": map[string]any{"shell": true, "value": check.Command.Value},
				"delay_seconds": check.DelaySeconds, "interval_seconds": check.IntervalSeconds, "timeout_seconds": check.TimeoutSeconds,
				"grace_period_seconds": check.GracePeriodSeconds, "consecutive_failures": check.MaxConsecutiveFailures,
			}
		}
	}
	return task
}

func containerFor(app *App, i *Instance) *framework.Container {
	c := &framework.Container{Type: app.Container.Type}
	for _, volume := range app.Container.Volumes {
		c.Volumes = append(c.Volumes, framework.Volume{ContainerPath: volume.ContainerPath, HostPath: volume.HostPath, Mode: volume.Mode})
	}
	docker := app.Container.Docker
	if docker == nil {
		return c
	}
	c.Docker = &framework.Docker{Image: docker.Image, Network: "HOST", Privileged: docker.Privileged, ForcePullImage: docker.ForcePullImage}
	for _, parameter := range docker.Parameters {
		c.Docker.Parameters = append(c.Docker.Parameters, framework.Parameter{Key: parameter.Key, Value: parameter.Value})
	}
	c.Docker.Parameters = append(c.Docker.Parameters, framework.Parameter{Key: "label", Value: "MESOS_TASK_ID=" + i.TaskID()})
	if !app.bridged() {
		return c
	}
	c.Docker.Network = "BRIDGE"
	if app.Networks[0].Mode == "container" {
		c.Docker.Network = "USER"
	}
	for n, mapping := range app.Container.PortMappings {
		for _, protocol := range strings.Split(mapping.Protocol, ",") {
			c.Docker.PortMappings = append(c.Docker.PortMappings, framework.PortMapping{
				HostPort: i.Ports[n], ContainerPort: containerPort(mapping, i.Ports[n]), Protocol: protocol,
			})
		}
	}
	return c
}

// containerPort 0 means the port of the host.
func containerPort(mapping PortMapping, host int) int {
	if mapping.ContainerPort == 0 {
		return host
	}
	return mapping.ContainerPort
}

var notInName = regexp.MustCompile(`[^A-Z0-9_]`)

func variableName(text string) string { return notInName.ReplaceAllString(strings.ToUpper(text), "_") }

// environment is what a task finds; the app's own variables win.
func environment(app *App, i *Instance, prefix string) map[string]string {
	env := map[string]string{
		"HOST": i.Host, "MESOS_TASK_ID": i.TaskID(),
		"MARATHON_APP_ID": app.ID, "MARATHON_APP_VERSION": app.Version, "MARATHON_APP_ENFORCE_GROUP_ROLE": "FALSE",
		"MARATHON_APP_RESOURCE_CPUS": app.CPUs.String(), "MARATHON_APP_RESOURCE_MEM": app.Mem.String(),
		"MARATHON_APP_RESOURCE_DISK": app.Disk.String(), "MARATHON_APP_RESOURCE_GPUS": itoa(app.GPUs),
	}
	if app.Container != nil && app.Container.Docker != nil {
		env["MARATHON_APP_DOCKER_IMAGE"] = app.Container.Docker.Image
	}
	var labels []string
	for key, value := range app.Labels {
		name := variableName(key)
		labels = append(labels, name)
		env["MARATHON_APP_LABEL_"+name] = value
	}
	sort.Strings(labels)
	env["MARATHON_APP_LABELS"] = strings.Join(labels, " ")
	portVariables(env, app, i.Ports, prefix)
	for name, value := range app.Env {
		if text, ok := value.(string); ok {
			env[name] = text
		}
	}
	return env
}

func portVariables(env map[string]string, app *App, ports []int, prefix string) {
	if len(ports) == 0 {
		return
	}
	all := make([]string, len(ports))
	for n, port := range ports {
		text := itoa(port)
		all[n] = text
		env[fmt.Sprintf("%sPORT%d", prefix, n)] = text
		number, name := 0, ""
		if app.bridged() && app.Container != nil {
			mapping := app.Container.PortMappings[n]
			number, name = containerPort(mapping, port), mapping.Name
		} else if n < len(app.definitions()) {
			number, name = app.definitions()[n].Port, app.definitions()[n].Name
		}
		if number != 0 {
			env[prefix+"PORT_"+itoa(number)] = text
		}
		if name != "" {
			env[prefix+"PORT_"+variableName(name)] = text
		}
	}
	env[prefix+"PORT"], env[prefix+"PORTS"] = all[0], strings.Join(all, ",")
}
