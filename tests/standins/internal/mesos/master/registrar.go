package master

import (
	"encoding/json"
	"errors"
	"sync"
	"time"
)

// Registrar reads and writes the registry for the leading master.
type Registrar struct {
	replica *Replica
	peers   Peers
	quorum  int
	fetch   time.Duration
	store   time.Duration

	mu        sync.Mutex // one write at a time
	stateMu   sync.Mutex // guards what follows, so that readers need not wait for a write
	registry  *Registry
	proposal  uint64
	position  uint64
	failed    bool // after one failed write nothing is written any more, also when the quorum is back
	recovered bool
	fetchTook time.Duration
	storeTook []time.Duration
	queued    int
}

// the real program's message.
var (
	ErrFetch = errors.New("Failed to recover registrar: Failed to perform fetch within ")
	ErrStore = errors.New("Failed to update registry: Failed to perform store within ")
)

// NewRegistrar makes the registrar of a master.
func NewRegistrar(replica *Replica, peers Peers, quorum int, fetch, store time.Duration) *Registrar {
	return &Registrar{replica: replica, peers: peers, quorum: quorum, fetch: fetch, store: store, registry: &Registry{}}
}

// Recover takes the log over: it needs promises of a quorum of voting replicas and then writes who leads now.
func (r *Registrar) Recover(write func(*Registry)) error {
	began := time.Now()
	for time.Since(began) < r.fetch {
		if r.elect() {
			r.stateMu.Lock()
			r.fetchTook = time.Since(began)
			r.stateMu.Unlock()
			if err := r.Update(write); err != nil {
				return err
			}
			r.stateMu.Lock()
			r.recovered = true
			r.stateMu.Unlock()
			return nil
		}
		time.Sleep(recoverInterval)
	}
	return ErrFetch
}

func (r *Registrar) elect() bool {
	own := r.replica.State()
	proposal := max(own.Promised, r.proposal) + 1
	promises := r.peers.Promise(proposal)
	newest, made := LogState{}, 0
	for _, promise := range promises {
		if promise.Status != Voting {
			r.proposal = max(r.proposal, promise.Promised) // refused: try above it next time
			continue
		}
		made++
		if promise.Position >= newest.Position {
			newest = promise
		}
	}
	if mine, err := r.replica.Promise(proposal); err == nil {
		made++
		if mine.Position >= newest.Position {
			newest = mine
		}
	}
	if made < r.quorum {
		return false
	}
	r.stateMu.Lock()
	defer r.stateMu.Unlock()
	r.proposal, r.position = proposal, newest.Position
	if newest.Value != nil {
		r.registry = newest.Value.clone()
	}
	return true
}

// Update changes the registry; it fails after the store timeout without a quorum, and from then on at once.
func (r *Registrar) Update(change func(*Registry)) error {
	r.count(1)
	defer r.count(-1)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stateMu.Lock()
	failed, next := r.failed, r.registry.clone()
	r.stateMu.Unlock()
	if failed {
		return ErrStore
	}
	change(next)
	began := time.Now()
	for time.Since(began) < r.store {
		acks := r.peers.Accept(r.proposal, r.position+1, next)
		if err := r.replica.Accept(r.proposal, r.position+1, next); err == nil {
			acks++
		}
		if acks >= r.quorum {
			r.stateMu.Lock()
			r.position++
			r.registry = next
			r.storeTook = append(r.storeTook, time.Since(began))
			r.stateMu.Unlock()
			return nil
		}
		time.Sleep(recoverInterval)
	}
	r.stateMu.Lock()
	r.failed = true
	r.stateMu.Unlock()
	return ErrStore
}

func (r *Registrar) count(by int) {
	r.stateMu.Lock()
	r.queued += by
	r.stateMu.Unlock()
}

// Registry is the newest registry this master knows as leader.
func (r *Registrar) Registry() *Registry {
	r.stateMu.Lock()
	defer r.stateMu.Unlock()
	return r.registry.clone()
}

// Recovered reports whether the registry was read and the new leader written.
func (r *Registrar) Recovered() bool {
	r.stateMu.Lock()
	defer r.stateMu.Unlock()
	return r.recovered
}

// metrics are those the real registrar has: size and times only once recovered.
func (r *Registrar) metrics(into map[string]float64) {
	r.stateMu.Lock()
	defer r.stateMu.Unlock()
	into["registrar/queued_operations"] = float64(r.queued)
	if !r.recovered {
		return
	}
	text, _ := json.Marshal(r.registry)
	milliseconds := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	into["registrar/registry_size_bytes"] = float64(len(text))
	into["registrar/state_fetch_ms"] = milliseconds(r.fetchTook)
	into["registrar/state_store_ms"] = milliseconds(r.storeTook[len(r.storeTook)-1])
	if len(r.storeTook) > 1 { // statistics begin with the second write
		statistics(into, "registrar/state_store_ms", r.storeTook, milliseconds)
	}
}
