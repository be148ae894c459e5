// Package marathon is the lab's stand-in for Marathon 1.11: its flags, its election, its
// HTTP API on leader and standby, and a scheduler that runs apps on the Mesos
// that leads.
//
// Owns: the app model (app.go, parse.go), deployments (deploy.go, rollout.go), the scheduler
// (core.go, schedule.go, task.go, health.go), the state in ZooKeeper (store.go),
// events (events.go), the API (api*.go), the standby (standby.go) and the
// process (run.go). Imports framework, latch, scallop and jetty.
package marathon

import (
	"encoding/json"
	"time"

	"toots.test/standins/internal/decimal"
)

// Float is a number that always shows a fraction.
type Float = decimal.Float

// Network mode of an app.
type Network struct {
	Name string `json:"name,omitempty"`
	Mode string `json:"mode"`
}

// PortDefinition of an app with host networking; Port is the service port.
type PortDefinition struct {
	Port     int               `json:"port"`
	Labels   map[string]string `json:"labels,omitempty"`
	Name     string            `json:"name,omitempty"`
	Protocol string            `json:"protocol"`
}

// PortMapping of a bridged container.
type PortMapping struct {
	ContainerPort int               `json:"containerPort"`
	HostPort      int               `json:"hostPort"`
	Labels        map[string]string `json:"labels"`
	Name          string            `json:"name,omitempty"`
	Protocol      string            `json:"protocol"`
	ServicePort   int               `json:"servicePort"`
}

// Parameter is passed to docker run.
type Parameter struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

// Docker part of a container.
type Docker struct {
	ForcePullImage bool        `json:"forcePullImage"`
	Image          string      `json:"image"`
	Parameters     []Parameter `json:"parameters"`
	Privileged     bool        `json:"privileged"`
}

// Volume of a container.
type Volume struct {
	ContainerPath string `json:"containerPath"`
	HostPath      string `json:"hostPath,omitempty"`
	Mode          string `json:"mode"`
}

// Container of an app.
type Container struct {
	Type         string        `json:"type"`
	Docker       *Docker       `json:"docker,omitempty"`
	Volumes      []Volume      `json:"volumes"`
	PortMappings []PortMapping `json:"portMappings,omitempty"`
}

// HealthCommand of a COMMAND check.
type HealthCommand struct {
	Value string `json:"value"`
}

// HealthCheck of an app.
type HealthCheck struct {
	Command                *HealthCommand `json:"command,omitempty"`
	GracePeriodSeconds     int            `json:"gracePeriodSeconds"`
	IgnoreHTTP1xx          *bool          `json:"ignoreHttp1xx,omitempty"`
	IntervalSeconds        int            `json:"intervalSeconds"`
	MaxConsecutiveFailures int            `json:"maxConsecutiveFailures"`
	Path                   string         `json:"path,omitempty"`
	Port                   int            `json:"port,omitempty"`
	PortIndex              *int           `json:"portIndex,omitempty"`
	Protocol               string         `json:"protocol"`
	IPProtocol             string         `json:"ipProtocol"`
	TimeoutSeconds         int            `json:"timeoutSeconds"`
	DelaySeconds           int            `json:"delaySeconds"`
}

// UpgradeStrategy bounds a rolling replacement, as fractions of the instances.
type UpgradeStrategy struct {
	MaximumOverCapacity   Float `json:"maximumOverCapacity"`
	MinimumHealthCapacity Float `json:"minimumHealthCapacity"`
}

// VersionInfo tells when an app changed last.
type VersionInfo struct {
	LastScalingAt      string `json:"lastScalingAt"`
	LastConfigChangeAt string `json:"lastConfigChangeAt"`
}

// App is a definition with every default filled in.
type App struct {
	ID                    string            `json:"id"`
	AcceptedResourceRoles []string          `json:"acceptedResourceRoles,omitempty"`
	Args                  []string          `json:"args,omitempty"`
	BackoffFactor         Float             `json:"backoffFactor"`
	BackoffSeconds        int               `json:"backoffSeconds"`
	Cmd                   string            `json:"cmd,omitempty"`
	Constraints           [][]string        `json:"constraints,omitempty"`
	Container             *Container        `json:"container,omitempty"`
	CPUs                  Float             `json:"cpus"`
	Dependencies          []string          `json:"dependencies,omitempty"`
	Disk                  Float             `json:"disk"`
	Env                   map[string]any    `json:"env,omitempty"`
	Executor              string            `json:"executor"`
	Fetch                 []any             `json:"fetch,omitempty"`
	HealthChecks          []HealthCheck     `json:"healthChecks,omitempty"`
	Instances             int               `json:"instances"`
	Labels                map[string]string `json:"labels"`
	MaxLaunchDelaySeconds int               `json:"maxLaunchDelaySeconds"`
	Mem                   Float             `json:"mem"`
	GPUs                  int               `json:"gpus"`
	Networks              []Network         `json:"networks"`
	PortDefinitions       *[]PortDefinition `json:"portDefinitions,omitempty"`
	RequirePorts          bool              `json:"requirePorts"`
	UpgradeStrategy       UpgradeStrategy   `json:"upgradeStrategy"`
	User                  string            `json:"user,omitempty"`
	Version               string            `json:"version,omitempty"`
	VersionInfo           *VersionInfo      `json:"versionInfo,omitempty"`
	KillSelection         string            `json:"killSelection"`
	UnreachableStrategy   json.RawMessage   `json:"unreachableStrategy"`
	Role                  string            `json:"role"`
}

// clone is a deep copy.
func (a *App) clone() *App {
	encoded, _ := json.Marshal(a)
	copied := new(App)
	_ = json.Unmarshal(encoded, copied)
	return copied
}

// configuration is the part whose change replaces the tasks.
func (a *App) configuration() string {
	copied := a.clone()
	copied.Instances, copied.Version, copied.VersionInfo = 0, "", nil
	encoded, _ := json.Marshal(copied)
	return string(encoded)
}

func (a *App) bridged() bool { return len(a.Networks) > 0 && a.Networks[0].Mode != "host" }

// hostPorts are the ports a task needs; 0 is any.
func (a *App) hostPorts() []int {
	ports := []int{}
	if a.bridged() {
		if a.Container != nil {
			for _, mapping := range a.Container.PortMappings {
				ports = append(ports, mapping.HostPort)
			}
		}
		return ports
	}
	for _, definition := range a.definitions() {
		if a.RequirePorts {
			ports = append(ports, definition.Port)
		} else {
			ports = append(ports, 0)
		}
	}
	return ports
}

func (a *App) definitions() []PortDefinition {
	if a.PortDefinitions == nil {
		return nil
	}
	return *a.PortDefinitions
}

// servicePorts points at the numbers so that missing ones can be assigned.
func (a *App) servicePorts() []*int {
	var ports []*int
	if a.bridged() {
		if a.Container != nil {
			for i := range a.Container.PortMappings {
				ports = append(ports, &a.Container.PortMappings[i].ServicePort)
			}
		}
		return ports
	}
	if a.PortDefinitions != nil {
		for i := range *a.PortDefinitions {
			ports = append(ports, &(*a.PortDefinitions)[i].Port)
		}
	}
	return ports
}

// Timestamp is Marathon's form of a time.
func Timestamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }
