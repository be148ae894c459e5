package master

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
)

// Statuses of a log replica (mesos src/messages/log.proto, Metadata::Status).
const (
	Empty    = "EMPTY"
	Starting = "STARTING"
	Voting   = "VOTING"
)

// LogState is what one replica has on disk; only the newest registry is kept of the log.
type LogState struct {
	Status   string
	Promised uint64 // no write of a lower proposal is taken
	Position uint64
	Value    *Registry
}

// Replica is this master's copy of the replicated log.
type Replica struct {
	mu    sync.Mutex
	path  string // empty: in memory
	state LogState
	lock  *os.File
}

var errOutvoted = errors.New("a newer proposal was promised")

// OpenReplica reads the log of a work directory, or begins an empty one.
func OpenReplica(workDir string) (*Replica, error) {
	folder := filepath.Join(workDir, "replicated_log")
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return nil, err
	}
	lockPath := filepath.Join(folder, "LOCK")
	lock, err := os.OpenFile(lockPath, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	if syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) != nil {
		return nil, fmt.Errorf("IO error: lock %s: Resource temporarily unavailable", lockPath)
	}
	replica := &Replica{path: filepath.Join(folder, "standin.json"), state: LogState{Status: Empty}, lock: lock}
	content, err := os.ReadFile(replica.path)
	if errors.Is(err, os.ErrNotExist) {
		return replica, nil
	}
	if err == nil {
		err = json.Unmarshal(content, &replica.state)
	}
	return replica, err
}

// MemoryReplica is a log that is not kept, for --registry=in_memory.
func MemoryReplica() *Replica { return &Replica{state: LogState{Status: Empty}} }

// State is a copy of the replica's state.
func (r *Replica) State() LogState {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.state
}

// Recovered is the metric registrar/log/recovered: it speaks of this replica alone.
func (r *Replica) Recovered() bool { return r.State().Status == Voting }

func (r *Replica) become(state LogState) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.save(state)
}

// save writes beside and renames; the caller holds the lock.
func (r *Replica) save(state LogState) error {
	if r.path != "" {
		content, err := json.Marshal(state)
		if err != nil {
			return err
		}
		if err := os.WriteFile(r.path+".new", content, 0o600); err != nil {
			return err
		}
		if err := os.Rename(r.path+".new", r.path); err != nil {
			return err
		}
	}
	r.state = state
	return nil
}

// Promise takes a proposal and answers what the replica knows, if it votes.
func (r *Replica) Promise(proposal uint64) (LogState, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.state.Status != Voting {
		return LogState{}, errors.New("the replica does not vote")
	}
	if proposal <= r.state.Promised {
		return LogState{Promised: r.state.Promised}, errOutvoted
	}
	state := r.state
	state.Promised = proposal
	return state, r.save(state)
}

// Accept takes a write of a proposal.
func (r *Replica) Accept(proposal, position uint64, value *Registry) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.state.Status != Voting {
		return errors.New("the replica does not vote")
	}
	if proposal < r.state.Promised {
		return errOutvoted
	}
	return r.save(LogState{Status: Voting, Promised: proposal, Position: position, Value: value})
}
