// Package chronos is the lab's stand-in for Chronos 3.0.2: its flags, its election, its
// HTTP API on leader and standby, and a scheduler that runs repeating jobs as
// tasks of the Mesos that leads.
//
// Owns: jobs and schedules (job.go, schedule.go), the scheduler (core.go,
// task.go), the state in ZooKeeper (store.go), the API (api.go), the standby
// (standby.go) and the process (run.go). Imports framework, latch, scallop and
// jetty.
package chronos

import (
	"bytes"
	"encoding/json"
	"regexp"

	"toots.test/standins/internal/decimal"
)

// Float is a number that always shows a fraction.
type Float = decimal.Float

// Variable of a job's environment.
type Variable struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Job is a definition with its counts.
type Job struct {
	Name                   string     `json:"name"`
	Command                string     `json:"command"`
	Shell                  bool       `json:"shell"`
	Executor               string     `json:"executor"`
	ExecutorFlags          string     `json:"executorFlags"`
	TaskInfoData           string     `json:"taskInfoData"`
	Retries                int        `json:"retries"`
	Owner                  string     `json:"owner"`
	OwnerName              string     `json:"ownerName"`
	Description            string     `json:"description"`
	SuccessCount           int        `json:"successCount"`
	ErrorCount             int        `json:"errorCount"`
	LastSuccess            string     `json:"lastSuccess"`
	LastError              string     `json:"lastError"`
	CPUs                   Float      `json:"cpus"`
	Disk                   Float      `json:"disk"`
	Mem                    Float      `json:"mem"`
	Disabled               bool       `json:"disabled"`
	SoftError              bool       `json:"softError"`
	DataProcessingJobType  bool       `json:"dataProcessingJobType"`
	ErrorsSinceLastSuccess int        `json:"errorsSinceLastSuccess"`
	Fetch                  []any      `json:"fetch"`
	URIs                   []string   `json:"uris"`
	EnvironmentVariables   []Variable `json:"environmentVariables"`
	Arguments              []string   `json:"arguments"`
	HighPriority           bool       `json:"highPriority"`
	RunAsUser              string     `json:"runAsUser"`
	Concurrent             bool       `json:"concurrent"`
	Container              *Container `json:"container,omitempty"`
	Constraints            []any      `json:"constraints"`
	Parents                []string   `json:"parents,omitempty"`
	Schedule               *string    `json:"schedule,omitempty"`
	ScheduleTimeZone       *string    `json:"scheduleTimeZone,omitempty"`
}

// Volume of a container.
type Volume struct {
	ContainerPath string `json:"containerPath"`
	HostPath      string `json:"hostPath,omitempty"`
	Mode          string `json:"mode"`
}

// Parameter is passed to docker run.
type Parameter struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

// Container of a job.
type Container struct {
	Type           string      `json:"type"`
	Image          string      `json:"image"`
	Network        string      `json:"network"`
	NetworkInfos   []any       `json:"networkInfos"`
	Volumes        []Volume    `json:"volumes"`
	ForcePullImage bool        `json:"forcePullImage"`
	Parameters     []Parameter `json:"parameters"`
}

// Defaults of the mesos_task_ flags.
type Defaults struct {
	CPUs, Mem, Disk Float
	User            string
}

var jobName = regexp.MustCompile(`^[\w.-]+$`)

// ParseJob fills in the defaults. The error is nil for a job that can be read;
// its name and schedule are not judged here.
func ParseJob(body []byte, defaults Defaults) (*Job, error) {
	job := &Job{Shell: true, Retries: 2, CPUs: defaults.CPUs, Mem: defaults.Mem, Disk: defaults.Disk, RunAsUser: defaults.User}
	if err := json.NewDecoder(bytes.NewReader(body)).Decode(job); err != nil {
		return nil, err
	}
	for _, empty := range []func(){
		func() { setNil(&job.Fetch) }, func() { setNil(&job.URIs) }, func() { setNil(&job.EnvironmentVariables) },
		func() { setNil(&job.Arguments) }, func() { setNil(&job.Constraints) },
	} {
		empty()
	}
	if c := job.Container; c != nil {
		setNil(&c.NetworkInfos)
		setNil(&c.Volumes)
		setNil(&c.Parameters)
		if c.Type == "" {
			c.Type = "DOCKER"
		}
		if c.Network == "" {
			c.Network = "HOST"
		}
	}
	return job, nil
}

func setNil[T any](list *[]T) {
	if *list == nil {
		*list = []T{}
	}
}
