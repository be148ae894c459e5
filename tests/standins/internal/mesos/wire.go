package mesos

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"
)

// Paths of the stand-ins' own protocol. The real programs speak libprocess messages here; nothing but the stand-ins may use these.
const (
	PathRegister   = "/standin/register"
	PathAttach     = "/standin/attach"
	PathUnregister = "/standin/unregister"
	PathUpdate     = "/standin/update"
	PathLaunch     = "/standin/launch"
	PathKill       = "/standin/kill"
	PathAck        = "/standin/ack"
	PathPing       = "/standin/ping"
	PathShutdown   = "/standin/shutdown"
	PathDrain      = "/standin/drain"
	PathLogState   = "/standin/log/state"
	PathLogPromise = "/standin/log/promise"
	PathLogAccept  = "/standin/log/accept"
)

// Register is the registration of an agent at a leading master.
type Register struct {
	Info       AgentInfo
	PID        string
	Frameworks []FrameworkInfo
	Tasks      []Task
}

// Registered is the answer.
type Registered struct {
	AgentID string
	Gone    bool // marked gone: the agent ends
	Drain   *Drain
}

// Drain is what an agent knows of its own draining.
type Drain struct {
	MaxGracePeriod *Nanos
	MarkGone       bool
	Start          time.Time
}

// Launch asks an agent to run a task.
type Launch struct {
	Framework FrameworkInfo
	Task      TaskInfo
}

// Kill asks an agent to end a task.
type Kill struct {
	FrameworkID, TaskID string
	Grace               *time.Duration
	Reason              string
}

// Update is a task's status sent to the framework.
type Update struct {
	FrameworkID string
	Status      TaskStatus
}

// Ack tells an agent that the framework has seen a status.
type Ack struct {
	FrameworkID, TaskID, UUID string
}

var wire = &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}

// Post sends JSON to another stand-in and reads its JSON answer if `into` is given.
func Post(ctx context.Context, timeout time.Duration, address, path string, body, into any) error {
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+address+path, bytes.NewReader(text))
	if err != nil {
		return err
	}
	answer, err := wire.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		told, _ := io.ReadAll(io.LimitReader(answer.Body, 1024))
		return fmt.Errorf("%s%s answers %d: %s", address, path, answer.StatusCode, told)
	}
	if into == nil {
		_, err = io.Copy(io.Discard, answer.Body)
		return err
	}
	return json.NewDecoder(answer.Body).Decode(into)
}

// Receive decodes a message of the stand-ins' protocol.
func Receive(w http.ResponseWriter, r *http.Request, into any) bool {
	if err := json.NewDecoder(io.LimitReader(r.Body, maxBody)).Decode(into); err != nil {
		Text(w, http.StatusBadRequest, err.Error())
		return false
	}
	return true
}
