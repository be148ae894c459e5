package master

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"toots.test/standins/internal/mesos"
)

const heartbeat = 15 * time.Second

func lower(text string) string { return strings.ToLower(text) }

// stream is a subscriber's event stream in RecordIO: length in decimal, newline, record.
type stream struct {
	id     string
	events chan string
	done   chan struct{}
	once   sync.Once
}

func newStream() *stream {
	return &stream{id: mesos.NewUUID(), events: make(chan string, 4096), done: make(chan struct{})}
}

// send queues an event; a subscriber that does not read its queue empty is cut off.
func (s *stream) send(message map[string]any) {
	text, err := mesos.Encode(message)
	if err != nil {
		return
	}
	select {
	case s.events <- text:
	case <-s.done:
	default:
		s.close()
	}
}

func (s *stream) close() { s.once.Do(func() { close(s.done) }) }

// serve writes events and heartbeats until the subscriber or the stream ends.
func (s *stream) serve(w http.ResponseWriter, r *http.Request, withID bool) {
	if withID {
		w.Header().Set("Mesos-Stream-Id", s.id)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusOK)
	control := http.NewResponseController(w)
	_ = control.Flush()
	ticker := time.NewTicker(heartbeat)
	defer ticker.Stop()
	for {
		var text string
		select {
		case <-r.Context().Done():
			return
		case text = <-s.events:
		case <-ticker.C:
			text = `{"type":"HEARTBEAT"}`
		case <-s.done:
			s.drain(w)
			return
		}
		if _, err := fmt.Fprintf(w, "%d\n%s", len(text), text); err != nil {
			return
		}
		_ = control.Flush()
	}
}

// drain writes what was queued before the end, such as an ERROR.
func (s *stream) drain(w http.ResponseWriter) {
	for {
		select {
		case text := <-s.events:
			fmt.Fprintf(w, "%d\n%s", len(text), text)
		default:
			return
		}
	}
}
