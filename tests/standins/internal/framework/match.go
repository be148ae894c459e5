package framework

import "math/rand/v2"

// Pool is the rest of an offer while tasks are cut out of it.
type Pool struct {
	Offer   Offer
	scalars map[string]float64
	ports   []Range
	role    string
}

// NewPool sums the resources of an offer.
func NewPool(offer Offer) *Pool {
	p := &Pool{Offer: offer, scalars: map[string]float64{}, role: "*"}
	for _, r := range offer.Resources {
		if r.Scalar != nil {
			p.scalars[r.Name] += r.Scalar.Value
		}
		if r.Name == "ports" && r.Ranges != nil {
			p.ports = append(p.ports, r.Ranges.Range...)
		}
		if r.AllocationInfo != nil && r.AllocationInfo.Role != "" {
			p.role = r.AllocationInfo.Role
		}
	}
	return p
}

// Need is what one task wants; a port of 0 is any port.
type Need struct {
	CPUs, Mem, Disk float64
	Ports           []int
}

// Shortage names the first resource that is missing, in Marathon's words.
func (p *Pool) Shortage(n Need) string {
	const epsilon = 1e-6 // Mesos counts cpus in thousandths
	switch {
	case p.scalars["cpus"]+epsilon < n.CPUs:
		return "InsufficientCpus"
	case p.scalars["mem"]+epsilon < n.Mem:
		return "InsufficientMemory"
	case p.scalars["disk"]+epsilon < n.Disk:
		return "InsufficientDisk"
	}
	if _, ok := p.choose(n.Ports); !ok {
		return "InsufficientPorts"
	}
	return ""
}

// Take cuts the need out and returns the resources and ports for the task.
func (p *Pool) Take(n Need) ([]Resource, []int, bool) {
	if p.Shortage(n) != "" {
		return nil, nil, false
	}
	ports, _ := p.choose(n.Ports)
	var resources []Resource
	for _, s := range []struct {
		name  string
		value float64
	}{{"cpus", n.CPUs}, {"mem", n.Mem}, {"disk", n.Disk}} {
		if s.value > 0 {
			p.scalars[s.name] -= s.value
			resources = append(resources, Resource{Name: s.name, Type: "SCALAR", Scalar: &Scalar{s.value}, Role: "*", AllocationInfo: &Allocation{p.role}})
		}
	}
	if len(ports) > 0 {
		ranges := &Ranges{}
		for _, port := range ports {
			p.remove(uint64(port))
			ranges.Range = append(ranges.Range, Range{uint64(port), uint64(port)})
		}
		resources = append(resources, Resource{Name: "ports", Type: "RANGES", Ranges: ranges, Role: "*", AllocationInfo: &Allocation{p.role}})
	}
	return resources, ports, true
}

// choose finds ports: fixed ones as they are, the others in a row from a random
// start, which is how Marathon's ports look.
func (p *Pool) choose(wanted []int) ([]int, bool) {
	if len(wanted) == 0 {
		return nil, true
	}
	used := map[int]bool{}
	for _, port := range wanted {
		if port != 0 && (used[port] || !p.has(port)) {
			return nil, false
		}
		used[port] = port != 0
	}
	free := p.all(used)
	next := 0
	if len(free) > 0 {
		next = rand.IntN(len(free))
	}
	chosen := make([]int, 0, len(wanted))
	taken := 0
	for _, port := range wanted {
		if port == 0 {
			if taken == len(free) {
				return nil, false
			}
			port = free[(next+taken)%len(free)]
			taken++
		}
		chosen = append(chosen, port)
	}
	return chosen, true
}

func (p *Pool) has(port int) bool {
	for _, r := range p.ports {
		if uint64(port) >= r.Begin && uint64(port) <= r.End {
			return true
		}
	}
	return false
}

func (p *Pool) all(except map[int]bool) []int {
	var free []int
	for _, r := range p.ports {
		for port := r.Begin; port <= r.End && port <= 65535; port++ {
			if !except[int(port)] {
				free = append(free, int(port))
			}
		}
	}
	return free
}

func (p *Pool) remove(port uint64) {
	var left []Range
	for _, r := range p.ports {
		if port < r.Begin || port > r.End {
			left = append(left, r)
			continue
		}
		if port > r.Begin {
			left = append(left, Range{r.Begin, port - 1})
		}
		if port < r.End {
			left = append(left, Range{port + 1, r.End})
		}
	}
	p.ports = left
}
