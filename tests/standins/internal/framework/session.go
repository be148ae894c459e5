package framework

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const maxRecord = 16 << 20

// Session is one subscription; it ends with the stream.
type Session struct {
	endpoint, streamID string
	frameworkID        string
	client             *http.Client
	stream             *http.Response
	reader             *bufio.Reader
	cancel             context.CancelFunc
}

// Subscribe opens the stream at host:port. The first event is SUBSCRIBED.
func Subscribe(ctx context.Context, endpoint string, info Info) (*Session, error) {
	ctx, cancel := context.WithCancel(ctx)
	s := &Session{endpoint: endpoint, cancel: cancel, client: &http.Client{
		Transport: &http.Transport{
			DialContext:           (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
			ResponseHeaderTimeout: 10 * time.Second,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	call := map[string]any{"type": "SUBSCRIBE", "subscribe": map[string]any{"framework_info": info}}
	if info.ID != nil {
		call["framework_id"] = info.ID
		s.frameworkID = info.ID.Value
	}
	answer, err := s.post(ctx, call)
	if err != nil {
		cancel()
		return nil, err
	}
	if answer.StatusCode != http.StatusOK {
		defer cancel()
		return nil, refused("SUBSCRIBE", answer)
	}
	s.stream, s.streamID = answer, answer.Header.Get("Mesos-Stream-Id")
	s.reader = bufio.NewReader(answer.Body)
	return s, nil
}

func (s *Session) post(ctx context.Context, call any) (*http.Response, error) {
	body, err := json.Marshal(call)
	if err != nil {
		return nil, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+s.endpoint+"/api/v1/scheduler", bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Accept", "application/json")
	if s.streamID != "" {
		request.Header.Set("Mesos-Stream-Id", s.streamID)
	}
	return s.client.Do(request)
}

func refused(call string, answer *http.Response) error {
	defer answer.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(answer.Body, 4096))
	return fmt.Errorf("%s answered with %s: %s", call, answer.Status, strings.TrimSpace(string(text)))
}

// Next reads one record: its length in decimal, a line feed, the JSON.
func (s *Session) Next() (Event, error) {
	line, err := s.reader.ReadString('\n')
	if err != nil {
		return Event{}, err
	}
	size, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil || size < 0 || size > maxRecord {
		return Event{}, fmt.Errorf("bad record length %q", line)
	}
	record := make([]byte, size)
	if _, err := io.ReadFull(s.reader, record); err != nil {
		return Event{}, err
	}
	var event Event
	if err := json.Unmarshal(record, &event); err != nil {
		return Event{}, err
	}
	if event.Type == "SUBSCRIBED" {
		s.frameworkID = event.Subscribed.FrameworkID.Value
	}
	return event, nil
}

// call sends a call of the given type; its content is under the lower-case type.
func (s *Session) call(kind string, content any) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	call := map[string]any{"type": kind, "framework_id": Value{s.frameworkID}}
	if content != nil {
		call[strings.ToLower(kind)] = content
	}
	answer, err := s.post(ctx, call)
	if err != nil {
		return err
	}
	if answer.StatusCode != http.StatusAccepted {
		return refused(kind, answer)
	}
	return answer.Body.Close()
}

// Launch accepts an offer for these tasks.
func (s *Session) Launch(offer Value, tasks []Task) error {
	return s.call("ACCEPT", map[string]any{
		"offer_ids":  []Value{offer},
		"operations": []any{map[string]any{"type": "LAUNCH", "launch": map[string]any{"task_infos": tasks}}},
		"filters":    map[string]any{"refuse_seconds": 0},
	})
}

// Decline refuses offers for a while.
func (s *Session) Decline(offers []Value, refuse time.Duration) error {
	return s.call("DECLINE", map[string]any{
		"offer_ids": offers, "filters": map[string]any{"refuse_seconds": refuse.Seconds()},
	})
}

// Revive asks for offers again at once.
func (s *Session) Revive() error { return s.call("REVIVE", nil) }

// Suppress asks for no more offers.
func (s *Session) Suppress() error { return s.call("SUPPRESS", nil) }

// Acknowledge confirms a status update that carries a uuid.
func (s *Session) Acknowledge(status Status) error {
	if status.UUID == "" {
		return nil
	}
	return s.call("ACKNOWLEDGE", map[string]any{"agent_id": status.AgentID, "task_id": status.TaskID, "uuid": status.UUID})
}

// Kill asks for the end of a task.
func (s *Session) Kill(task, agent string) error {
	content := map[string]any{"task_id": Value{task}}
	if agent != "" {
		content["agent_id"] = Value{agent}
	}
	return s.call("KILL", content)
}

// Reconcile asks for the states of tasks (id to agent); none means all.
func (s *Session) Reconcile(tasks map[string]string) error {
	list := []any{}
	for task, agent := range tasks {
		entry := map[string]any{"task_id": Value{task}}
		if agent != "" {
			entry["agent_id"] = Value{agent}
		}
		list = append(list, entry)
	}
	return s.call("RECONCILE", map[string]any{"tasks": list})
}

// Close ends the subscription without tearing the framework down.
func (s *Session) Close() {
	s.cancel()
	s.stream.Body.Close()
}
