package master

import (
	"sort"
	"time"
)

// statistics adds count, extremes and percentiles of a timer as libprocess does.
func statistics(into map[string]float64, name string, took []time.Duration, unit func(time.Duration) float64) {
	sorted := append([]time.Duration(nil), took...)
	sort.Slice(sorted, func(i, j int) bool { return sorted[i] < sorted[j] })
	at := func(share float64) float64 { return unit(sorted[int(share*float64(len(sorted)-1))]) }
	into[name+"/count"] = float64(len(sorted))
	into[name+"/min"] = unit(sorted[0])
	into[name+"/max"] = unit(sorted[len(sorted)-1])
	for suffix, share := range map[string]float64{"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "p999": 0.999, "p9999": 0.9999} {
		into[name+"/"+suffix] = at(share)
	}
}
