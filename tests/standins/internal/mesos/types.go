package mesos

// ID is any of the id messages.
type ID struct {
	Value string `json:"value"`
}

// Address of a master or agent.
type Address struct {
	Hostname string `json:"hostname"`
	IP       string `json:"ip"`
	Port     int    `json:"port"`
}

// Capability of a master, agent or framework.
type Capability struct {
	Type string `json:"type,omitempty"`
}

// MasterInfo is what a master writes to ZooKeeper; keys in the order of the real program.
type MasterInfo struct {
	Address      Address      `json:"address"`
	Capabilities []Capability `json:"capabilities"`
	Hostname     string       `json:"hostname"`
	ID           string       `json:"id"`
	IP           uint32       `json:"ip"`
	PID          string       `json:"pid"`
	Port         int          `json:"port"`
	Version      string       `json:"version"`
}

// Attribute of an agent; only text attributes are implemented.
type Attribute struct {
	Name string `json:"name"`
	Type string `json:"type"`
	Text ID     `json:"text"`
}

// AgentInfo describes an agent.
type AgentInfo struct {
	Hostname   string      `json:"hostname"`
	Port       int         `json:"port"`
	Resources  []Resource  `json:"resources"`
	Attributes []Attribute `json:"attributes,omitempty"`
	ID         *ID         `json:"id,omitempty"`
	Checkpoint bool        `json:"checkpoint,omitempty"`
}

// FrameworkInfo describes a framework.
type FrameworkInfo struct {
	User            string       `json:"user"`
	Name            string       `json:"name"`
	ID              *ID          `json:"id,omitempty"`
	FailoverTimeout Float        `json:"failover_timeout"`
	Checkpoint      bool         `json:"checkpoint"`
	Role            string       `json:"role,omitempty"`
	Hostname        string       `json:"hostname,omitempty"`
	Principal       string       `json:"principal,omitempty"`
	WebUIURL        string       `json:"webui_url,omitempty"`
	Roles           []string     `json:"roles,omitempty"`
	Capabilities    []Capability `json:"capabilities,omitempty"`
}

// AllRoles are the roles a framework subscribes with.
func (f *FrameworkInfo) AllRoles() []string {
	if len(f.Roles) > 0 {
		return f.Roles
	}
	if f.Role != "" {
		return []string{f.Role}
	}
	return []string{"*"}
}

// Can reports whether the framework has a capability.
func (f *FrameworkInfo) Can(capability string) bool {
	for _, one := range f.Capabilities {
		if one.Type == capability {
			return true
		}
	}
	return false
}

// Variable of an environment.
type Variable struct {
	Name  string `json:"name"`
	Value string `json:"value"`
	Type  string `json:"type,omitempty"`
}

// Environment of a command.
type Environment struct {
	Variables []Variable `json:"variables"`
}

// CommandInfo tells what to run.
type CommandInfo struct {
	Shell       *bool        `json:"shell,omitempty"` // absent means true
	Value       string       `json:"value,omitempty"`
	Arguments   []string     `json:"arguments,omitempty"`
	User        string       `json:"user,omitempty"`
	Environment *Environment `json:"environment,omitempty"`
}

// PortMapping of a Docker container.
type PortMapping struct {
	HostPort      int    `json:"host_port"`
	ContainerPort int    `json:"container_port"`
	Protocol      string `json:"protocol,omitempty"`
}

// Parameter of the docker command line.
type Parameter struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

// DockerInfo is the Docker part of a container.
type DockerInfo struct {
	Image          string        `json:"image"`
	Network        string        `json:"network,omitempty"`
	PortMappings   []PortMapping `json:"port_mappings,omitempty"`
	Privileged     bool          `json:"privileged,omitempty"`
	Parameters     []Parameter   `json:"parameters,omitempty"`
	ForcePullImage bool          `json:"force_pull_image,omitempty"`
}

// Volume of a container.
type Volume struct {
	ContainerPath string `json:"container_path"`
	HostPath      string `json:"host_path,omitempty"`
	Mode          string `json:"mode,omitempty"`
}

// ContainerInfo tells in what to run.
type ContainerInfo struct {
	Type     string      `json:"type"`
	Volumes  []Volume    `json:"volumes,omitempty"`
	Hostname string      `json:"hostname,omitempty"`
	Docker   *DockerInfo `json:"docker,omitempty"`
}

// Label of a task.
type Label struct {
	Key   string `json:"key"`
	Value string `json:"value,omitempty"`
}

// Labels of a task.
type Labels struct {
	Labels []Label `json:"labels"`
}

// DiscoveryInfo is passed on as it came.
type DiscoveryInfo map[string]any

// KillPolicy gives a task time to end.
type KillPolicy struct {
	GracePeriod *Nanos `json:"grace_period,omitempty"`
}

// TaskInfo is a task to launch.
type TaskInfo struct {
	Name       string         `json:"name"`
	TaskID     ID             `json:"task_id"`
	AgentID    ID             `json:"agent_id"`
	Resources  []Resource     `json:"resources"`
	Command    *CommandInfo   `json:"command,omitempty"`
	Container  *ContainerInfo `json:"container,omitempty"`
	KillPolicy *KillPolicy    `json:"kill_policy,omitempty"`
	Labels     *Labels        `json:"labels,omitempty"`
	Discovery  DiscoveryInfo  `json:"discovery,omitempty"`
}

// IPAddress of a container.
type IPAddress struct {
	Protocol  string `json:"protocol"`
	IPAddress string `json:"ip_address"`
}

// NetworkInfo of a container.
type NetworkInfo struct {
	IPAddresses []IPAddress `json:"ip_addresses"`
}

// ContainerStatus is the container a task runs in.
type ContainerStatus struct {
	ContainerID  *ID           `json:"container_id,omitempty"`
	NetworkInfos []NetworkInfo `json:"network_infos,omitempty"`
	ExecutorPID  int           `json:"executor_pid,omitempty"`
}

// TaskStatus is one status of a task.
type TaskStatus struct {
	TaskID          ID               `json:"task_id"`
	State           string           `json:"state"`
	Message         string           `json:"message,omitempty"`
	Source          string           `json:"source,omitempty"`
	Reason          string           `json:"reason,omitempty"`
	Data            string           `json:"data,omitempty"`
	AgentID         *ID              `json:"agent_id,omitempty"`
	ExecutorID      *ID              `json:"executor_id,omitempty"`
	Timestamp       Float            `json:"timestamp"`
	UUID            string           `json:"uuid,omitempty"`
	ContainerStatus *ContainerStatus `json:"container_status,omitempty"`
}

// Task is a launched task as the v1 API shows it.
type Task struct {
	Name              string         `json:"name"`
	TaskID            ID             `json:"task_id"`
	FrameworkID       ID             `json:"framework_id"`
	AgentID           ID             `json:"agent_id"`
	State             string         `json:"state"`
	Resources         []Resource     `json:"resources"`
	Statuses          []TaskStatus   `json:"statuses"`
	StatusUpdateState string         `json:"status_update_state,omitempty"`
	StatusUpdateUUID  string         `json:"status_update_uuid,omitempty"`
	Labels            *Labels        `json:"labels,omitempty"`
	Discovery         DiscoveryInfo  `json:"discovery,omitempty"`
	Container         *ContainerInfo `json:"container,omitempty"`
}

// Terminal reports whether a state is an end.
func Terminal(state string) bool {
	switch state {
	case "TASK_FINISHED", "TASK_FAILED", "TASK_KILLED", "TASK_ERROR", "TASK_LOST", "TASK_DROPPED", "TASK_GONE", "TASK_GONE_BY_OPERATOR":
		return true
	}
	return false
}
