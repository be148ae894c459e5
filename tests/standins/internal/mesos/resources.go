package mesos

import (
	"encoding/json"
	"fmt"
	"math"
	"regexp"
	"sort"
	"strconv"
	"strings"
)

// Scalar value of a resource.
type Scalar struct {
	Value Float `json:"value"`
}

// Range of ports, both ends included.
type Range struct {
	Begin uint64 `json:"begin"`
	End   uint64 `json:"end"`
}

// Ranges of a resource.
type Ranges struct {
	Range []Range `json:"range"`
}

// AllocationInfo tells to which role a resource went.
type AllocationInfo struct {
	Role string `json:"role"`
}

// Resource is one resource of an agent, offer or task.
type Resource struct {
	Name           string          `json:"name"`
	Type           string          `json:"type"`
	Scalar         *Scalar         `json:"scalar,omitempty"`
	Ranges         *Ranges         `json:"ranges,omitempty"`
	Role           string          `json:"role,omitempty"`
	AllocationInfo *AllocationInfo `json:"allocation_info,omitempty"`
}

// Quantities is a bag of unreserved resources: scalars by name and port ranges.
type Quantities struct {
	Scalars map[string]float64
	Ports   []Range
}

var rangesForm = regexp.MustCompile(`^\[\s*([0-9]+\s*-\s*[0-9]+\s*(,\s*[0-9]+\s*-\s*[0-9]+\s*)*)?\]$`)

// ParseResources reads `cpus:4;mem:1024;ports:[31000-32000]` or its JSON form, in the order given.
func ParseResources(text string) ([]Resource, error) {
	if strings.HasPrefix(strings.TrimSpace(text), "[") {
		var list []Resource
		if err := json.Unmarshal([]byte(text), &list); err != nil {
			return nil, fmt.Errorf("Failed to parse resources JSON: %w", err)
		}
		return list, nil
	}
	var list []Resource
	for _, pair := range strings.Split(text, ";") {
		if strings.TrimSpace(pair) == "" {
			continue
		}
		name, value, ok := strings.Cut(strings.TrimSpace(pair), ":")
		if !ok || name == "" {
			return nil, fmt.Errorf("Bad value for resources, missing or extra ':' in %s", pair)
		}
		resource, err := parseResource(name, strings.TrimSpace(value))
		if err != nil {
			return nil, err
		}
		list = append(list, resource)
	}
	return list, nil
}

func parseResource(name, value string) (Resource, error) {
	if number, err := strconv.ParseFloat(value, 64); err == nil {
		return Resource{Name: name, Type: "SCALAR", Scalar: &Scalar{Float(number)}}, nil
	}
	if rangesForm.MatchString(value) {
		ranges, err := parseRanges(value)
		return Resource{Name: name, Type: "RANGES", Ranges: &Ranges{ranges}}, err
	}
	return Resource{}, fmt.Errorf("Bad type for resource %s value %s type TEXT", name, value)
}

func parseRanges(text string) ([]Range, error) {
	var ranges []Range
	for _, part := range strings.Split(strings.Trim(text, "[] "), ",") {
		low, high, ok := strings.Cut(strings.TrimSpace(part), "-")
		if !ok {
			continue
		}
		begin, err := strconv.ParseUint(strings.TrimSpace(low), 10, 64)
		if err != nil {
			return nil, err
		}
		end, err := strconv.ParseUint(strings.TrimSpace(high), 10, 64)
		if err != nil || end < begin {
			return nil, fmt.Errorf("Bad range %s", part)
		}
		ranges = append(ranges, Range{begin, end})
	}
	return ranges, nil
}

// Sum adds resources up, whatever their roles.
func Sum(lists ...[]Resource) Quantities {
	total := Quantities{Scalars: map[string]float64{}}
	for _, list := range lists {
		for _, resource := range list {
			if resource.Scalar != nil {
				total.Scalars[resource.Name] = round(total.Scalars[resource.Name] + float64(resource.Scalar.Value))
			}
			if resource.Ranges != nil && resource.Name == "ports" {
				total.Ports = append(total.Ports, resource.Ranges.Range...)
			}
		}
	}
	total.Ports = normalise(total.Ports)
	return total
}

// Minus takes away; what is not there is not missed.
func (q Quantities) Minus(other Quantities) Quantities {
	left := Quantities{Scalars: map[string]float64{}, Ports: q.Ports}
	for name, value := range q.Scalars {
		left.Scalars[name] = math.Max(0, round(value-other.Scalars[name]))
	}
	for _, cut := range other.Ports {
		left.Ports = without(left.Ports, cut)
	}
	return left
}

// Contains reports whether other fits in.
func (q Quantities) Contains(other Quantities) bool {
	for name, value := range other.Scalars {
		if q.Scalars[name]+1e-9 < value {
			return false
		}
	}
	for _, wanted := range other.Ports {
		if !coveredBy(wanted, q.Ports) {
			return false
		}
	}
	return true
}

func coveredBy(wanted Range, ranges []Range) bool {
	for _, one := range ranges {
		if one.Begin <= wanted.Begin && wanted.End <= one.End {
			return true
		}
	}
	return false
}

// round keeps three digits, as Mesos' fixed point scalars do.
func round(value float64) float64 { return math.Round(value*1000) / 1000 }

func normalise(ranges []Range) []Range {
	sorted := append([]Range(nil), ranges...)
	sort.Slice(sorted, func(i, j int) bool { return sorted[i].Begin < sorted[j].Begin })
	var merged []Range
	for _, one := range sorted {
		if last := len(merged) - 1; last >= 0 && one.Begin <= merged[last].End+1 {
			merged[last].End = max(merged[last].End, one.End)
			continue
		}
		merged = append(merged, one)
	}
	return merged
}

func without(ranges []Range, cut Range) []Range {
	var left []Range
	for _, one := range ranges {
		if cut.End < one.Begin || one.End < cut.Begin {
			left = append(left, one)
			continue
		}
		if one.Begin < cut.Begin {
			left = append(left, Range{one.Begin, cut.Begin - 1})
		}
		if cut.End < one.End {
			left = append(left, Range{cut.End + 1, one.End})
		}
	}
	return left
}

// Shown is the object of the v0 endpoints: four scalars always, ports as text if there are any.
func (q Quantities) Shown() map[string]any {
	shown := map[string]any{}
	for _, name := range []string{"disk", "mem", "gpus", "cpus"} {
		shown[name] = Float(q.Scalars[name])
	}
	for name, value := range q.Scalars {
		shown[name] = Float(value)
	}
	if len(q.Ports) > 0 {
		shown["ports"] = PortsText(q.Ports)
	}
	return shown
}

// Present is Shown without the scalars that are zero, as roles show them.
func (q Quantities) Present() map[string]any {
	shown := map[string]any{}
	for name, value := range q.Scalars {
		if value > 0 {
			shown[name] = Float(value)
		}
	}
	if len(q.Ports) > 0 {
		shown["ports"] = PortsText(q.Ports)
	}
	return shown
}

// PortsText prints ranges as `[31000-31010, 31020-31030]`.
func PortsText(ranges []Range) string {
	parts := make([]string, len(ranges))
	for i, one := range ranges {
		parts[i] = fmt.Sprintf("%d-%d", one.Begin, one.End)
	}
	return "[" + strings.Join(parts, ", ") + "]"
}

// List is the v1 form; allocated to a role if one is given, and with the reservation role `*` if so asked.
func (q Quantities) List(reservation, allocation string) []Resource {
	list := []Resource{}
	add := func(resource Resource) {
		resource.Role = reservation
		if allocation != "" {
			resource.AllocationInfo = &AllocationInfo{allocation}
		}
		list = append(list, resource)
	}
	for _, name := range scalarOrder(q.Scalars) {
		if q.Scalars[name] > 0 {
			add(Resource{Name: name, Type: "SCALAR", Scalar: &Scalar{Float(q.Scalars[name])}})
		}
	}
	if len(q.Ports) > 0 {
		add(Resource{Name: "ports", Type: "RANGES", Ranges: &Ranges{q.Ports}})
	}
	return list
}

func scalarOrder(scalars map[string]float64) []string {
	known := map[string]int{"cpus": 0, "gpus": 1, "mem": 2, "disk": 3}
	names := make([]string, 0, len(scalars))
	for name := range scalars {
		names = append(names, name)
	}
	sort.Slice(names, func(i, j int) bool {
		a, first := known[names[i]]
		b, second := known[names[j]]
		if first && second {
			return a < b
		}
		return first || (!second && names[i] < names[j])
	})
	return names
}
