package master

import (
	"time"

	"toots.test/standins/internal/mesos"
)

const recoverInterval = 300 * time.Millisecond

// Peers are the other replicas and how to ask them.
type Peers interface {
	// States asks every other replica for its state; those that do not answer are left out.
	States() []LogState
	// Promise asks every other replica for a promise and gives those that were given.
	Promise(proposal uint64) []LogState
	// Accept asks every other replica to take a write and counts those that did.
	Accept(proposal, position uint64, value *Registry) int
}

// RecoverReplica brings this replica to VOTING as mesos src/log/recover.cpp does: it catches up from a quorum of
// voting replicas, or, if all 2·quorum−1 replicas are there and none has ever voted, they begin together.
func RecoverReplica(replica *Replica, peers Peers, quorum int, autoInitialize bool) {
	for !replica.Recovered() {
		if next, ok := recoverStep(replica.State(), peers.States(), quorum, autoInitialize); ok {
			if err := replica.become(next); err != nil {
				mesos.Exit("Failed to recover the log: %v", err)
			}
			mesos.Log("I", "Updating replica status to %s", next.Status)
			continue
		}
		time.Sleep(recoverInterval)
	}
}

// recoverStep tells the replica's next state, if there is one.
func recoverStep(own LogState, others []LogState, quorum int, autoInitialize bool) (LogState, bool) {
	counts := map[string]int{own.Status: 1}
	newest := LogState{}
	for _, other := range others {
		counts[other.Status]++
		if other.Status == Voting && (other.Position >= newest.Position) {
			newest = other
		}
	}
	all := 2*quorum - 1
	switch {
	case counts[Voting] >= quorum:
		newest.Status = Voting
		return newest, true
	case own.Status == Empty && autoInitialize && counts[Empty]+counts[Starting] >= all:
		return LogState{Status: Starting}, true
	case own.Status == Starting && counts[Starting]+counts[Voting] >= all:
		return LogState{Status: Voting}, true
	}
	return LogState{}, false
}
