package agent

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"toots.test/standins/internal/mesos"
)

const backoff = time.Second

// follow keeps the agent registered with whoever leads.
func (a *Agent) follow() {
	for {
		a.mu.Lock()
		leader, changed := a.leader, a.changed
		a.mu.Unlock()
		if leader == nil {
			<-changed
			continue
		}
		ctx, cancel := context.WithCancel(context.Background())
		go func() {
			select {
			case <-changed:
			case <-ctx.Done():
			}
			cancel()
		}()
		a.session(ctx, net.JoinHostPort(leader.IP, strconv.Itoa(leader.Port)))
		cancel()
		select {
		case <-changed:
		case <-time.After(backoff):
		}
	}
}

// session registers with a master and stays attached until the connection or the master's leadership ends.
func (a *Agent) session(ctx context.Context, address string) {
	var reply mesos.Registered
	// a master that cannot write its registry takes its 20 s to say so
	if err := mesos.Post(ctx, 30*time.Second, address, mesos.PathRegister, a.registration(), &reply); err != nil {
		mesos.Log("W", "Failed to register with master@%s: %v", address, err)
		return
	}
	if reply.Gone {
		mesos.Log("I", "Agent asked to shut down by master@%s because 'Agent has been marked gone'", address)
		a.end("Agent has been marked gone")
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+mesos.PathAttach+"?agent="+url.QueryEscape(reply.AgentID), nil)
	if err != nil {
		return
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return
	}
	a.entered(reply, address)
	_, _ = io.Copy(io.Discard, answer.Body)
	a.mu.Lock()
	a.registered = false
	a.mu.Unlock()
}

func (a *Agent) registration() mesos.Register {
	a.mu.Lock()
	defer a.mu.Unlock()
	message := mesos.Register{Info: a.cfg.Info, PID: a.PID()}
	sent := map[string]bool{}
	for _, run := range a.state.Runs {
		if run.Ended {
			continue
		}
		message.Tasks = append(message.Tasks, run.Task)
		if info, known := a.state.Frameworks[run.Framework]; known && !sent[run.Framework] {
			sent[run.Framework] = true
			message.Frameworks = append(message.Frameworks, info)
		}
	}
	return message
}

func (a *Agent) entered(reply mesos.Registered, address string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	word := "Re-registered"
	if a.cfg.Info.ID == nil {
		word = "Registered"
		a.cfg.Info.ID = &mesos.ID{Value: reply.AgentID}
		a.state.Info.ID = a.cfg.Info.ID
		a.keep()
	}
	mesos.Log("I", "%s with master master@%s; given agent ID %s", word, address, reply.AgentID)
	a.registered, a.drain = true, reply.Drain
	for run := range a.sent {
		delete(a.sent, run) // send again what was not acknowledged
	}
}

// sendUpdates sends each task's oldest unacknowledged status, again every 10 s until it is acknowledged.
func (a *Agent) sendUpdates() {
	for range time.Tick(100 * time.Millisecond) {
		a.mu.Lock()
		var due []mesos.Update
		if a.registered {
			for _, run := range a.state.Runs {
				if len(run.Pending) > 0 && time.Since(a.sent[run]) > 10*time.Second {
					a.sent[run] = time.Now()
					due = append(due, mesos.Update{FrameworkID: run.Framework, Status: run.Pending[0]})
				}
			}
		}
		leader := a.leader
		a.mu.Unlock()
		for _, update := range due {
			if leader == nil {
				break
			}
			address := net.JoinHostPort(leader.IP, strconv.Itoa(leader.Port))
			if err := mesos.Post(context.Background(), 3*time.Second, address, mesos.PathUpdate, update, nil); err != nil {
				mesos.Log("W", "Failed to send a status update: %v", err)
			}
		}
	}
}

// acknowledge drops a status the framework has seen and lets the next one go.
func (a *Agent) acknowledge(ack mesos.Ack) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, run := range a.state.Runs {
		if run.Framework == ack.FrameworkID && run.Task.TaskID.Value == ack.TaskID && len(run.Pending) > 0 && run.Pending[0].UUID == ack.UUID {
			run.Pending = run.Pending[1:]
			delete(a.sent, run)
			a.keep()
			return
		}
	}
}
