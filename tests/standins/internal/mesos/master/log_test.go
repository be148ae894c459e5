package master

import (
	"testing"
	"time"
)

// together are the replicas of masters that reach each other.
type together struct {
	others []*Replica
}

func (t together) States() (states []LogState) {
	for _, other := range t.others {
		states = append(states, other.State())
	}
	return states
}

func (t together) Promise(proposal uint64) (states []LogState) {
	for _, other := range t.others {
		state, err := other.Promise(proposal)
		if err != nil {
			state = LogState{Promised: state.Promised}
		}
		states = append(states, state)
	}
	return states
}

func (t together) Accept(proposal, position uint64, value *Registry) (count int) {
	for _, other := range t.others {
		if other.Accept(proposal, position, value) == nil {
			count++
		}
	}
	return count
}

// settle makes recovery steps until nothing changes.
func settle(replicas []*Replica, quorum int) {
	for changed := true; changed; {
		changed = false
		for i, replica := range replicas {
			others := append(append([]*Replica{}, replicas[:i]...), replicas[i+1:]...)
			if replica.Recovered() {
				continue
			}
			if next, ok := recoverStep(replica.State(), together{others}.States(), quorum, true); ok {
				_ = replica.become(next)
				changed = true
			}
		}
	}
}

func fresh(n int) (list []*Replica) {
	for range n {
		list = append(list, MemoryReplica())
	}
	return list
}

func voting(list []*Replica) (count int) {
	for _, replica := range list {
		if replica.Recovered() {
			count++
		}
	}
	return count
}

func TestEmptyLogsBeginOnlyWhenAllAreThere(t *testing.T) {
	cases := []struct{ masters, quorum, want int }{{3, 2, 3}, {2, 2, 0}, {4, 3, 0}, {5, 3, 5}, {1, 1, 1}}
	for _, c := range cases {
		replicas := fresh(c.masters)
		settle(replicas, c.quorum)
		if got := voting(replicas); got != c.want {
			t.Errorf("%d masters, quorum %d: %d vote, want %d", c.masters, c.quorum, got, c.want)
		}
	}
}

func TestAWipedReplicaRejoinsTwoGoodOnesButNotOne(t *testing.T) {
	replicas := fresh(3)
	settle(replicas, 2)
	replicas[2] = MemoryReplica()
	settle(replicas, 2)
	if voting(replicas) != 3 {
		t.Error("the wiped replica did not rejoin two good ones")
	}
	pair := []*Replica{replicas[0], MemoryReplica()}
	settle(pair, 2)
	if voting(pair) != 1 {
		t.Error("a wiped replica joined a single good one")
	}
}

func TestTheRegistryNeedsAQuorumAndOneFailureIsFinal(t *testing.T) {
	replicas := fresh(3)
	settle(replicas, 2)
	peers := &together{replicas[1:]}
	registrar := NewRegistrar(replicas[0], peers, 2, time.Second, 50*time.Millisecond)
	if err := registrar.Recover(func(r *Registry) { r.Weights = []Weight{{"a", 1}} }); err != nil {
		t.Fatal(err)
	}
	back := peers.others
	peers.others = nil
	if err := registrar.Update(func(*Registry) {}); err != ErrStore {
		t.Fatalf("a write without a quorum gave %v", err)
	}
	peers.others = back
	if err := registrar.Update(func(*Registry) {}); err != ErrStore {
		t.Errorf("after a failed write the next one gave %v", err)
	}
	next := NewRegistrar(replicas[1], together{[]*Replica{replicas[0], replicas[2]}}, 2, time.Second, time.Second)
	if err := next.Recover(func(*Registry) {}); err != nil || len(next.Registry().Weights) != 1 {
		t.Errorf("the next leader reads %+v, %v", next.Registry(), err)
	}
}

func TestALeaderWithoutVotersGivesUpAfterTheFetchTimeout(t *testing.T) {
	replicas := fresh(2)
	settle(replicas, 2)
	registrar := NewRegistrar(replicas[0], together{replicas[1:]}, 2, 20*time.Millisecond, time.Second)
	if err := registrar.Recover(func(*Registry) {}); err != ErrFetch {
		t.Errorf("got %v", err)
	}
	metrics := map[string]float64{}
	registrar.metrics(metrics)
	if _, there := metrics["registrar/registry_size_bytes"]; there {
		t.Error("registry_size_bytes is told before recovery")
	}
}

func TestTheLogSurvivesARestartAndIsLocked(t *testing.T) {
	folder := t.TempDir()
	replica, err := OpenReplica(folder)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := OpenReplica(folder); err == nil {
		t.Error("a work directory in use was opened twice")
	}
	settle([]*Replica{replica}, 1)
	_ = replica.Accept(1, 7, &Registry{Weights: []Weight{{"a", 2}}})
	_ = replica.lock.Close()
	again, err := OpenReplica(folder)
	if err != nil || again.State().Position != 7 || again.State().Value.Weights[0].Role != "a" {
		t.Errorf("read back %+v, %v", again.State(), err)
	}
}

func TestARestartedMastersOldNodeIsNoSecondReplica(t *testing.T) {
	peers := NewHTTPPeers("10.0.0.1:5050")
	peers.Set([]string{"log-replica(1)@10.0.0.1:5050", "log-replica(1)@10.0.0.2:5050", "log-replica(1)@10.0.0.2:5050"})
	if peers.Size() != 2 || len(peers.addrs) != 1 {
		t.Errorf("size %d, others %v", peers.Size(), peers.addrs)
	}
}
