package framework

import (
	"context"
	"errors"
	"log"
	"sync"
	"time"

	"github.com/go-zookeeper/zk"
)

// ErrDisconnected ends a driver whose master is gone or has been replaced.
var ErrDisconnected = errors.New("disconnected from the master")

// Driver keeps a framework registered with the leading master.
type Driver struct {
	ZK   *zk.Conn
	Path string // of the masters' group
	// Info is asked again for each subscription: it carries the framework's id.
	Info func() Info
	// Handle gets every event, in order.
	Handle func(*Session, Event)
	// Registered and Lost tell of the connection.
	Registered func(Master, *Session, Event)
	Lost       func()
	// Reconnect makes the driver follow a new master; without it the driver
	// ends with ErrDisconnected, as Marathon does when it loses its leadership.
	Reconnect bool

	lock    sync.Mutex
	session *Session
}

// Session is the current subscription or nil.
func (d *Driver) Session() *Session {
	d.lock.Lock()
	defer d.lock.Unlock()
	return d.session
}

func (d *Driver) setSession(s *Session) {
	d.lock.Lock()
	defer d.lock.Unlock()
	d.session = s
}

// Run registers and handles events until the context ends or the master is lost.
func (d *Driver) Run(ctx context.Context) error {
	var last string // node of the master that accepted us
	for ctx.Err() == nil {
		master, changed, err := Detect(d.ZK, d.Path)
		if last != "" && !d.Reconnect && (errors.Is(err, ErrNoMaster) || err == nil && master.Node != last) {
			return ErrDisconnected
		}
		if err != nil {
			wait(ctx, changed, time.Second)
			continue
		}
		subscribed, err := d.subscribe(ctx, master, changed)
		if subscribed {
			last = master.Node
		}
		if err != nil && ctx.Err() == nil {
			log.Printf("subscription to %s ended: %v", master.Endpoint(), err)
		}
		wait(ctx, nil, 500*time.Millisecond)
	}
	return ctx.Err()
}

// subscribe follows one stream; it ends early when the group changes so that a
// new master is seen although the old one still holds the connection.
func (d *Driver) subscribe(ctx context.Context, master Master, changed <-chan zk.Event) (bool, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	session, err := Subscribe(ctx, master.Endpoint(), d.Info())
	if err != nil {
		return false, err
	}
	go d.guard(ctx, cancel, master, changed)
	defer session.Close()
	subscribed := false
	defer func() {
		d.setSession(nil)
		if subscribed && d.Lost != nil {
			d.Lost()
		}
	}()
	for {
		event, err := session.Next()
		if err != nil {
			return subscribed, err
		}
		switch event.Type {
		case "SUBSCRIBED":
			subscribed = true
			d.setSession(session)
			d.Registered(master, session, event)
		case "ERROR":
			return subscribed, errors.New(event.Error.Message)
		default:
			d.Handle(session, event)
		}
	}
}

// guard cancels the stream when another master leads.
func (d *Driver) guard(ctx context.Context, cancel context.CancelFunc, master Master, changed <-chan zk.Event) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-changed:
		}
		current, next, err := Detect(d.ZK, d.Path)
		if errors.Is(err, ErrNoMaster) || err == nil && current.Node != master.Node {
			cancel()
			return
		}
		if next == nil {
			return
		}
		changed = next
	}
}

func wait(ctx context.Context, changed <-chan zk.Event, limit time.Duration) {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-changed:
	case <-timer.C:
	}
}
