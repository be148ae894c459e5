package master

import (
	_ "embed"
	"sort"
	"strings"
	"time"

	"toots.test/standins/internal/mesos"
)

// The names a real master tells even if all is zero.
//
//go:embed metrics.txt
var metricNames string

// What it tells of each framework.
//
//go:embed framework-metrics.txt
var frameworkMetricNames string

func sortedNames[V any](m map[string]V) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}

// Metrics is /metrics/snapshot; the caller holds mu.
func (m *Master) metrics() map[string]mesos.Float {
	raw := map[string]float64{}
	for _, name := range strings.Fields(metricNames) {
		raw[name] = 0
	}
	for name, value := range m.counters {
		raw[name] = value
	}
	if m.leads() {
		raw["master/elected"] = 1
	}
	raw["master/uptime_secs"] = time.Since(m.started).Seconds()
	raw["registrar/log/ensemble_size"] = float64(m.cfg.Ensemble())
	raw["registrar/log/recovered"] = 0
	if m.cfg.Replica.Recovered() {
		raw["registrar/log/recovered"] = 1
	}
	m.registrar.metrics(raw)
	m.agentMetrics(raw)
	m.frameworkMetrics(raw)
	m.allocatorMetrics(raw)
	metrics := mesos.SystemMetrics()
	for name, value := range raw {
		metrics[name] = mesos.Float(value)
	}
	return metrics
}

func (m *Master) agentMetrics(raw map[string]float64) {
	for _, one := range m.agents {
		raw["master/slaves_connected"] += bit(one.connected)
		raw["master/slaves_disconnected"] += bit(!one.connected)
		raw["master/slaves_active"] += bit(one.active())
		raw["master/slaves_inactive"] += bit(!one.active())
		used, offered := m.used(one.id), m.offered(one.id)
		for name, total := range mesos.Sum(one.info.Resources).Scalars {
			raw["master/"+name+"_total"] += total
			raw["master/"+name+"_used"] += used.Scalars[name]
			if name != "gpus" {
				raw["allocator/mesos/resources/"+name+"/total"] += total
				raw["allocator/mesos/resources/"+name+"/offered_or_allocated"] += used.Scalars[name] + offered.Scalars[name]
			}
		}
	}
	for _, name := range []string{"cpus", "mem", "disk", "gpus"} {
		if total := raw["master/"+name+"_total"]; total > 0 {
			raw["master/"+name+"_percent"] = raw["master/"+name+"_used"] / total
		}
	}
	raw["master/slaves_unreachable"] = float64(len(m.registrar.Registry().Unreachable))
	raw["master/outstanding_offers"] = float64(len(m.offers))
}

func bit(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}

func (m *Master) frameworkMetrics(raw map[string]float64) {
	for _, fw := range m.frameworks {
		raw["master/frameworks_connected"] += bit(fw.connected())
		raw["master/frameworks_disconnected"] += bit(!fw.connected())
		raw["master/frameworks_active"] += bit(fw.active)
		raw["master/frameworks_inactive"] += bit(!fw.active)
		prefix := "master/frameworks/" + fw.info.Name + "/" + fw.id + "/"
		for _, name := range strings.Fields(frameworkMetricNames) {
			raw[prefix+name] = fw.calls[name]
		}
		raw[prefix+"subscribed"] = bit(fw.connected())
		for _, name := range fw.info.AllRoles() {
			raw[prefix+"roles/"+name+"/suppressed"] = bit(fw.suppressed)
			raw["allocator/mesos/offer_filters/roles/"+name+"/active"] += float64(len(fw.filters))
		}
		for _, task := range fw.tasks {
			raw["master/"+lower("tasks_"+task.State[len("TASK_"):])]++
			raw[prefix+"tasks/active/"+lower(task.State)]++
		}
		for _, task := range fw.completed {
			raw[prefix+"tasks/terminal/"+lower(task.State)]++
		}
		raw["master/tasks_unreachable"] += float64(len(fw.unreachable))
	}
	for _, one := range m.roles() {
		total := raw["master/cpus_total"]
		raw["allocator/mesos/roles/"+one.name+"/shares/dominant"] = 0
		if total > 0 {
			raw["allocator/mesos/roles/"+one.name+"/shares/dominant"] = one.used.Scalars["cpus"] / total
		}
		for name, value := range one.used.Scalars {
			raw["allocator/mesos/quota/roles/"+one.name+"/resources/"+name+"/consumed"] = value
			raw["allocator/mesos/quota/roles//resources/"+name+"/consumed"] += value
		}
	}
}

func (m *Master) allocatorMetrics(raw map[string]float64) {
	milliseconds := func(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e6 }
	if len(m.runs) == 0 {
		return
	}
	for _, name := range []string{"allocator/mesos/allocation_run_ms", "allocator/mesos/allocation_run_latency_ms"} {
		raw[name] = milliseconds(m.runs[len(m.runs)-1])
		statistics(raw, name, m.runs, milliseconds)
	}
}
