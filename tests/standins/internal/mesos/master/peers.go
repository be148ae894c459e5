package master

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"time"

	"toots.test/standins/internal/mesos"
)

const peerTimeout = time.Second

// HTTPPeers are the replicas named in ZooKeeper, asked over the stand-ins' own paths.
type HTTPPeers struct {
	mu    sync.Mutex
	own   string
	addrs []string // without our own
	size  int
}

// NewHTTPPeers makes the peers of the replica at an address (`ip:port`).
func NewHTTPPeers(own string) *HTTPPeers { return &HTTPPeers{own: own, size: 1} }

// Set takes the pids of log_replicas, such as `log-replica(1)@10.0.0.1:5050`.
func (p *HTTPPeers) Set(pids []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.addrs = nil
	known := map[string]bool{} // a restarted master's old node lives on beside its new one for a while
	for _, pid := range pids {
		_, address, ok := strings.Cut(pid, "@")
		if ok && !known[address] && address != p.own {
			p.addrs = append(p.addrs, address)
		}
		known[address] = true
	}
	p.size = len(known)
}

// Size is the metric registrar/log/ensemble_size: how many replicas are known to live.
func (p *HTTPPeers) Size() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.size
}

type logMessage struct {
	Proposal, Position uint64
	Value              *Registry
}

func ask[T any](p *HTTPPeers, path string, message logMessage) []T {
	p.mu.Lock()
	addrs := append([]string(nil), p.addrs...)
	p.mu.Unlock()
	answers := make([]*T, len(addrs))
	var group sync.WaitGroup
	for i, address := range addrs {
		group.Add(1)
		go func() {
			defer group.Done()
			var answer T
			if mesos.Post(context.Background(), peerTimeout, address, path, message, &answer) == nil {
				answers[i] = &answer
			}
		}()
	}
	group.Wait()
	var got []T
	for _, answer := range answers {
		if answer != nil {
			got = append(got, *answer)
		}
	}
	return got
}

// States implements Peers.
func (p *HTTPPeers) States() []LogState { return ask[LogState](p, mesos.PathLogState, logMessage{}) }

// Promise implements Peers.
func (p *HTTPPeers) Promise(proposal uint64) []LogState {
	return ask[LogState](p, mesos.PathLogPromise, logMessage{Proposal: proposal})
}

// Accept implements Peers.
func (p *HTTPPeers) Accept(proposal, position uint64, value *Registry) (count int) {
	for _, taken := range ask[bool](p, mesos.PathLogAccept, logMessage{proposal, position, value}) {
		if taken {
			count++
		}
	}
	return count
}

// serveLog answers other masters' replicas.
func (r *Replica) serveLog(w http.ResponseWriter, request *http.Request) bool {
	switch request.URL.Path {
	case mesos.PathLogState, mesos.PathLogPromise, mesos.PathLogAccept:
	default:
		return false
	}
	var message logMessage
	if !mesos.Receive(w, request, &message) {
		return true
	}
	switch request.URL.Path {
	case mesos.PathLogState:
		mesos.JSON(w, request, r.State())
	case mesos.PathLogPromise:
		state, err := r.Promise(message.Proposal)
		if err != nil {
			state = LogState{Promised: state.Promised} // no Voting status: refused
		}
		mesos.JSON(w, request, state)
	default:
		mesos.JSON(w, request, r.Accept(message.Proposal, message.Position, message.Value) == nil)
	}
	return true
}
