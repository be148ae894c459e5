package mesos

import (
	"bufio"
	"encoding/binary"
	"net"
	"os"
	"runtime"
	"strconv"
	"strings"
)

// Version tells that this is not the real program; types and places are those of the real program.
const Version = "1.11.0-standin"

// Facts of the build the recorded answers came from, kept so that readers of these fields find them.
const (
	gitSHA    = "04bc7ee1984d86fbb0bd782ccc69ce44c13ae4b9"
	gitTag    = "1.11.0"
	buildDate = "2020-11-24 15:38:37"
	buildTime = 1606232317.0
	buildUser = "ubuntu"
)

// Build is the answer of /version.
type Build struct {
	BuildDate string `json:"build_date"`
	BuildTime Float  `json:"build_time"`
	BuildUser string `json:"build_user"`
	GitSHA    string `json:"git_sha"`
	GitTag    string `json:"git_tag"`
	Version   string `json:"version"`
}

// ThisBuild describes the stand-in.
func ThisBuild() Build {
	return Build{BuildDate: buildDate, BuildTime: buildTime, BuildUser: buildUser, GitSHA: gitSHA, GitTag: gitTag, Version: Version}
}

// AgentCapabilities are those of an agent, in the order of the real program.
var AgentCapabilities = []string{"MULTI_ROLE", "HIERARCHICAL_ROLE", "RESERVATION_REFINEMENT", "RESOURCE_PROVIDER", "RESIZE_VOLUME",
	"AGENT_OPERATION_FEEDBACK", "AGENT_DRAINING", "TASK_RESOURCE_LIMITS"}

// IPNumber is an address as the number in MasterInfo: the four bytes read as little endian.
func IPNumber(address string) uint32 {
	if four := net.ParseIP(address).To4(); four != nil {
		return binary.LittleEndian.Uint32(four)
	}
	return 0
}

// SystemMetrics are the metrics of the machine.
func SystemMetrics() map[string]Float {
	metrics := map[string]Float{"system/cpus_total": Float(runtime.NumCPU())}
	if text, err := os.ReadFile("/proc/loadavg"); err == nil {
		fields := strings.Fields(string(text))
		for i, name := range []string{"system/load_1min", "system/load_5min", "system/load_15min"} {
			value, _ := strconv.ParseFloat(fields[i], 64)
			metrics[name] = Float(value)
		}
	}
	for key, name := range map[string]string{"MemFree": "system/mem_free_bytes", "MemTotal": "system/mem_total_bytes"} {
		metrics[name] = Float(memory(key))
	}
	return metrics
}

// memory reads a line of /proc/meminfo in bytes.
func memory(key string) uint64 {
	file, err := os.Open("/proc/meminfo")
	if err != nil {
		return 0
	}
	defer file.Close()
	for scanner := bufio.NewScanner(file); scanner.Scan(); {
		fields := strings.Fields(scanner.Text())
		if len(fields) > 1 && fields[0] == key+":" {
			kilobytes, _ := strconv.ParseUint(fields[1], 10, 64)
			return kilobytes * 1024
		}
	}
	return 0
}

// SystemStats is the answer of /system/stats.json.
func SystemStats() map[string]any {
	metrics := SystemMetrics()
	return map[string]any{
		"avg_load_15min": metrics["system/load_15min"], "avg_load_1min": metrics["system/load_1min"], "avg_load_5min": metrics["system/load_5min"],
		"cpus_total": runtime.NumCPU(), "mem_free_bytes": memory("MemFree"), "mem_total_bytes": memory("MemTotal"),
	}
}

// TotalMemory is the machine's memory in bytes.
func TotalMemory() uint64 { return memory("MemTotal") }
