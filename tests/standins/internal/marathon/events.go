package marathon

import (
	"encoding/json"
	"sync"
	"time"
)

// Event is one message of /v2/events.
type Event struct {
	Type string
	Data []byte
}

// Bus hands events to everyone who listens.
type Bus struct {
	lock      sync.Mutex
	listeners map[chan Event]bool
}

// Publish adds type and time to the fields and hands the event out. A listener
// that does not read loses events, as in Marathon.
func (b *Bus) Publish(kind string, fields map[string]any) {
	fields["eventType"] = kind
	if _, given := fields["timestamp"]; !given {
		fields["timestamp"] = Timestamp(time.Now())
	}
	data, err := json.Marshal(fields)
	if err != nil {
		return
	}
	b.lock.Lock()
	defer b.lock.Unlock()
	for listener := range b.listeners {
		select {
		case listener <- Event{kind, data}:
		default:
		}
	}
}

// Listen returns a channel and the function that ends it.
func (b *Bus) Listen() (<-chan Event, func()) {
	listener := make(chan Event, 1024) // event_stream_max_outstanding_messages
	b.lock.Lock()
	defer b.lock.Unlock()
	if b.listeners == nil {
		b.listeners = map[chan Event]bool{}
	}
	b.listeners[listener] = true
	return listener, func() {
		b.lock.Lock()
		defer b.lock.Unlock()
		delete(b.listeners, listener)
	}
}
