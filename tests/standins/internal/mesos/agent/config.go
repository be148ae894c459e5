// Package agent is the stand-in for a Mesos 1.11 agent: it registers with the leading master, runs tasks as Docker
// containers or processes, and keeps their state in its work directory.
package agent

import (
	"fmt"
	"runtime"
	"strings"
	"syscall"

	"toots.test/standins/internal/docker"
	"toots.test/standins/internal/mesos"
)

// Config is what an agent is started with.
type Config struct {
	Flags        map[string]string
	IP, Hostname string
	Port         int
	WorkDir      string
	Info         mesos.AgentInfo
	Policy       string // reconfiguration_policy
	Docker       bool   // the docker containerizer is enabled
	Mesos        bool   // the mesos containerizer is enabled
	Containers   string // --containerizers as written
	DockerSocket string
	Logins       docker.Logins // of --docker_config
	SandboxDir   string        // where a container sees its sandbox
	ClusterD     bool          // what differs from Apache Mesos is as in ClusterD
}

// ParseAttributes reads `rack:r1;zone:z1`.
func ParseAttributes(text string) ([]mesos.Attribute, error) {
	var list []mesos.Attribute
	for _, pair := range strings.Split(text, ";") {
		pair = strings.TrimSpace(pair)
		if pair == "" {
			continue
		}
		key, value, ok := strings.Cut(pair, ":")
		if !ok || key == "" || value == "" {
			return nil, fmt.Errorf("Invalid attribute key:value pair '%s'", pair)
		}
		list = append(list, mesos.Attribute{Name: key, Type: "TEXT", Text: mesos.ID{Value: value}})
	}
	return list, nil
}

// Resources reads --resources and adds what is not given from the machine, as mesos src/slave/containerizer does.
func Resources(text, workDir string) ([]mesos.Resource, error) {
	given, err := mesos.ParseResources(text)
	if err != nil {
		return nil, err
	}
	has := map[string]bool{}
	for _, one := range given {
		has[one.Name] = true
	}
	scalar := func(name string, value float64) {
		if !has[name] {
			given = append(given, mesos.Resource{Name: name, Type: "SCALAR", Scalar: &mesos.Scalar{Value: mesos.Float(value)}})
		}
	}
	scalar("cpus", float64(runtime.NumCPU()))
	scalar("mem", leave(mesos.TotalMemory()>>20, 1024))
	var disk syscall.Statfs_t
	if err := syscall.Statfs(workDir, &disk); err == nil {
		scalar("disk", leave(disk.Blocks*uint64(disk.Bsize)>>20, 5*1024))
	}
	if !has["ports"] {
		given = append(given, mesos.Resource{Name: "ports", Type: "RANGES", Ranges: &mesos.Ranges{Range: []mesos.Range{{Begin: 31000, End: 32000}}}})
	}
	return given, nil
}

// leave keeps some megabytes for the machine, or half if there are few.
func leave(total, kept uint64) float64 {
	if total >= 2*kept {
		return float64(total - kept)
	}
	return float64(total / 2)
}
