package master

import (
	"fmt"
	"sort"
	"time"

	"toots.test/standins/internal/mesos"
)

// offer is an agent's resources out with a framework.
type offer struct {
	id        string
	framework string
	agent     string
	role      string
	resources []mesos.Resource
}

// poke asks for an allocation now.
func (m *Master) poke() {
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// allocate makes offers each allocation interval and when poked.
func (m *Master) allocate() {
	ticker := time.NewTicker(m.cfg.Allocation)
	for {
		began := time.Now()
		m.mu.Lock()
		m.allocateOnce()
		m.counters["allocator/mesos/allocation_runs"]++
		m.runs = append(m.runs, time.Since(began))
		if len(m.runs) > 1000 {
			m.runs = m.runs[1:]
		}
		m.mu.Unlock()
		select {
		case <-ticker.C:
		case <-m.wake:
		}
	}
}

func (m *Master) allocateOnce() {
	batches := map[*framework][]*offer{}
	for _, one := range m.sortedAgents() {
		if !one.active() || m.isDown(one) {
			continue
		}
		free := mesos.Sum(one.info.Resources).Minus(m.used(one.id)).Minus(m.offered(one.id))
		if free.Scalars["cpus"] < 0.01 && free.Scalars["mem"] < 32 {
			continue
		}
		fw := m.next(one.id)
		if fw == nil {
			continue
		}
		role := fw.info.AllRoles()[0]
		made := &offer{id: fmt.Sprintf("%s-O%d", m.info.ID, m.nextOffer), framework: fw.id, agent: one.id, role: role, resources: free.List("*", role)}
		m.nextOffer++
		m.offers[made.id] = made
		batches[fw] = append(batches[fw], made)
	}
	for fw, batch := range batches {
		var shown []map[string]any
		for _, one := range batch {
			shown = append(shown, m.shownOffer(one))
		}
		fw.send(event("OFFERS", map[string]any{"offers": shown}))
		fw.calls["offers/sent"] += float64(len(batch))
	}
}

// next is the framework whose turn it is for an agent's resources: the one with the smallest dominant share.
func (m *Master) next(agent string) *framework {
	total := mesos.Quantities{Scalars: map[string]float64{}}
	for _, one := range m.agents {
		for name, value := range mesos.Sum(one.info.Resources).Scalars {
			total.Scalars[name] += value
		}
	}
	var candidates []*framework
	for _, fw := range m.sortedFrameworks() {
		if fw.connected() && fw.active && !fw.suppressed && time.Now().After(fw.filters[agent]) {
			candidates = append(candidates, fw)
		}
	}
	sort.SliceStable(candidates, func(i, j int) bool { return m.share(candidates[i], total) < m.share(candidates[j], total) })
	if len(candidates) == 0 {
		return nil
	}
	return candidates[0]
}

func (m *Master) share(fw *framework, total mesos.Quantities) float64 {
	used, share := fw.used(), 0.0
	for name, value := range used.Scalars {
		if total.Scalars[name] > 0 {
			share = max(share, value/total.Scalars[name])
		}
	}
	for _, one := range m.offers {
		if one.framework == fw.id {
			share += 1e-6 // among equals those without offers first
		}
	}
	return share
}

func (m *Master) shownOffer(one *offer) map[string]any {
	host := m.agents[one.agent]
	shown := map[string]any{
		"id": mesos.ID{Value: one.id}, "framework_id": mesos.ID{Value: one.framework}, "agent_id": mesos.ID{Value: one.agent},
		"hostname": host.info.Hostname, "resources": one.resources, "allocation_info": mesos.AllocationInfo{Role: one.role},
		"url": map[string]any{"scheme": "http", "address": host.shownAddress(), "path": "/slave(1)"},
	}
	if len(host.info.Attributes) > 0 {
		shown["attributes"] = host.info.Attributes
	}
	return shown
}

// rescind takes back all offers of an agent.
func (m *Master) rescind(agent string) {
	m.takeBack(func(one *offer) bool { return one.agent == agent })
}

// rescindOf takes back all offers to a framework.
func (m *Master) rescindOf(fw *framework) {
	m.takeBack(func(one *offer) bool { return one.framework == fw.id })
}

func (m *Master) takeBack(which func(*offer) bool) {
	for id, one := range m.offers {
		if !which(one) {
			continue
		}
		delete(m.offers, id)
		if fw := m.frameworks[one.framework]; fw != nil {
			fw.calls["offers/rescinded"]++
			fw.send(event("RESCIND", map[string]any{"offer_id": mesos.ID{Value: id}}))
		}
	}
	m.poke()
}

type declineCall struct {
	OfferIDs []mesos.ID `json:"offer_ids"`
	Filters  *filters   `json:"filters"`
}

func (m *Master) decline(fw *framework, call declineCall) {
	for _, id := range call.OfferIDs {
		if one, there := m.offers[id.Value]; there && one.framework == fw.id {
			delete(m.offers, id.Value)
			fw.filters[one.agent] = time.Now().Add(call.Filters.refuse())
			fw.calls["offers/declined"]++
		}
	}
	m.poke()
}
