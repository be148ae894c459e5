// Package framework speaks Mesos' scheduler API v1 as JSON: it finds the leading
// master in ZooKeeper, subscribes, reads the RecordIO stream of events and sends
// calls. What a framework decides is none of its business: internal/marathon and
// internal/chronos use it.
package framework

// Value is the {"value": …} that Mesos wraps every id in.
type Value struct {
	Value string `json:"value"`
}

// Scalar is a resource that is a number.
type Scalar struct {
	Value float64 `json:"value"`
}

// Range is inclusive at both ends.
type Range struct {
	Begin uint64 `json:"begin"`
	End   uint64 `json:"end"`
}

// Ranges is a resource that is a set of numbers.
type Ranges struct {
	Range []Range `json:"range"`
}

// Allocation names the role a resource is allocated to.
type Allocation struct {
	Role string `json:"role,omitempty"`
}

// Resource of an offer or of a task.
type Resource struct {
	Name           string      `json:"name"`
	Type           string      `json:"type"`
	Scalar         *Scalar     `json:"scalar,omitempty"`
	Ranges         *Ranges     `json:"ranges,omitempty"`
	Role           string      `json:"role,omitempty"`
	AllocationInfo *Allocation `json:"allocation_info,omitempty"`
}

// Attribute of an agent.
type Attribute struct {
	Name   string  `json:"name"`
	Type   string  `json:"type"`
	Text   *Value  `json:"text,omitempty"`
	Scalar *Scalar `json:"scalar,omitempty"`
}

// Offer of an agent's resources.
type Offer struct {
	ID        Value       `json:"id"`
	AgentID   Value       `json:"agent_id"`
	Hostname  string      `json:"hostname"`
	Resources []Resource  `json:"resources"`
	Attrs     []Attribute `json:"attributes,omitempty"`
	URL       struct {
		Address struct {
			Hostname string `json:"hostname"`
			IP       string `json:"ip"`
		} `json:"address"`
	} `json:"url"`
}

// Status of a task.
type Status struct {
	TaskID    Value   `json:"task_id"`
	State     string  `json:"state"`
	Message   string  `json:"message"`
	Source    string  `json:"source"`
	Reason    string  `json:"reason"`
	AgentID   Value   `json:"agent_id"`
	Timestamp float64 `json:"timestamp"`
	UUID      string  `json:"uuid"`
	Healthy   *bool   `json:"healthy"`
	Container struct {
		NetworkInfos []struct {
			IPAddresses []struct {
				Protocol  string `json:"protocol"`
				IPAddress string `json:"ip_address"`
			} `json:"ip_addresses"`
		} `json:"network_infos"`
	} `json:"container_status"`
}

// Terminal reports whether the task has ended.
func (s Status) Terminal() bool {
	switch s.State {
	case "TASK_FINISHED", "TASK_FAILED", "TASK_KILLED", "TASK_ERROR", "TASK_LOST",
		"TASK_DROPPED", "TASK_GONE", "TASK_GONE_BY_OPERATOR", "TASK_UNKNOWN":
		return true
	}
	return false
}

// Event of the stream.
type Event struct {
	Type       string `json:"type"`
	Subscribed struct {
		FrameworkID Value   `json:"framework_id"`
		Heartbeat   float64 `json:"heartbeat_interval_seconds"`
	} `json:"subscribed"`
	Offers struct {
		Offers []Offer `json:"offers"`
	} `json:"offers"`
	Rescind struct {
		OfferID Value `json:"offer_id"`
	} `json:"rescind"`
	Update struct {
		Status Status `json:"status"`
	} `json:"update"`
	Error struct {
		Message string `json:"message"`
	} `json:"error"`
}

// Capability of a framework.
type Capability struct {
	Type string `json:"type"`
}

// Info describes a framework to the master.
type Info struct {
	User            string       `json:"user"`
	Name            string       `json:"name"`
	ID              *Value       `json:"id,omitempty"`
	FailoverTimeout float64      `json:"failover_timeout"`
	Checkpoint      bool         `json:"checkpoint"`
	Roles           []string     `json:"roles,omitempty"`
	Hostname        string       `json:"hostname,omitempty"`
	Principal       string       `json:"principal,omitempty"`
	WebuiURL        string       `json:"webui_url,omitempty"`
	Capabilities    []Capability `json:"capabilities,omitempty"`
}

// Variable of a task's environment.
type Variable struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Command of a task.
type Command struct {
	Shell       bool     `json:"shell"`
	Value       string   `json:"value,omitempty"`
	Arguments   []string `json:"arguments,omitempty"`
	User        string   `json:"user,omitempty"`
	Environment struct {
		Variables []Variable `json:"variables"`
	} `json:"environment"`
}

// Parameter is passed to docker run.
type Parameter struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

// PortMapping of a bridged container.
type PortMapping struct {
	HostPort      int    `json:"host_port"`
	ContainerPort int    `json:"container_port"`
	Protocol      string `json:"protocol"`
}

// Docker part of a container.
type Docker struct {
	Image          string        `json:"image"`
	Network        string        `json:"network"`
	PortMappings   []PortMapping `json:"port_mappings,omitempty"`
	Privileged     bool          `json:"privileged"`
	Parameters     []Parameter   `json:"parameters,omitempty"`
	ForcePullImage bool          `json:"force_pull_image"`
}

// Volume of a container.
type Volume struct {
	ContainerPath string `json:"container_path"`
	HostPath      string `json:"host_path,omitempty"`
	Mode          string `json:"mode"`
}

// Container of a task.
type Container struct {
	Type    string   `json:"type"`
	Docker  *Docker  `json:"docker,omitempty"`
	Volumes []Volume `json:"volumes,omitempty"`
}

// Task to be launched.
type Task struct {
	Name        string     `json:"name"`
	TaskID      Value      `json:"task_id"`
	AgentID     Value      `json:"agent_id"`
	Resources   []Resource `json:"resources"`
	Command     *Command   `json:"command,omitempty"`
	Container   *Container `json:"container,omitempty"`
	HealthCheck any        `json:"health_check,omitempty"`
}
