// Package latch takes part in an election as Curator's LeaderLatch does: every
// participant is an ephemeral sequential node `_c_<uuid>-latch-<sequence>`, the
// lowest sequence leads, the data names the participant.
package latch

import (
	"crypto/rand"
	"errors"
	"fmt"
	"sort"
	"strings"

	"github.com/go-zookeeper/zk"
)

// UUID makes a random identifier of version 4.
func UUID() string {
	var b [16]byte
	_, _ = rand.Read(b[:])
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// EnsurePath creates a persistent node and its parents.
func EnsurePath(conn *zk.Conn, path string) error {
	at := ""
	for _, part := range strings.Split(strings.Trim(path, "/"), "/") {
		at += "/" + part
		_, err := conn.Create(at, nil, 0, zk.WorldACL(zk.PermAll))
		if err != nil && !errors.Is(err, zk.ErrNodeExists) {
			return err
		}
	}
	return nil
}

// Latch is one participation.
type Latch struct {
	conn    *zk.Conn
	dir, id string
	node    string
}

// Join enters the election in dir under the given id (host:port).
func Join(conn *zk.Conn, dir, id string) (*Latch, error) {
	if err := EnsurePath(conn, dir); err != nil {
		return nil, err
	}
	path, err := conn.Create(dir+"/_c_"+UUID()+"-latch-", []byte(id), zk.FlagEphemeral|zk.FlagSequence, zk.WorldACL(zk.PermAll))
	if err != nil {
		return nil, err
	}
	return &Latch{conn: conn, dir: dir, id: id, node: path[strings.LastIndex(path, "/")+1:]}, nil
}

// Leave removes the own node.
func (l *Latch) Leave() error { return l.conn.Delete(l.dir+"/"+l.node, -1) }

// State is what one reading of the election showed.
type State struct {
	Leader    string // id of the leader, empty when there is none
	Leading   bool
	Present   bool // the own node is there
	Duplicate bool // a younger participant has the own id
}

// Read looks at the election; the channel fires when it changes.
func (l *Latch) Read() (State, <-chan zk.Event, error) {
	children, _, changed, err := l.conn.ChildrenW(l.dir)
	if err != nil {
		return State{}, nil, err
	}
	state, err := l.evaluate(children)
	return state, changed, err
}

func (l *Latch) evaluate(children []string) (State, error) {
	bySequence(children)
	var state State
	for i, child := range children {
		if !strings.Contains(child, "latch-") {
			continue
		}
		if child == l.node {
			state.Present = true
		}
		data, _, err := l.conn.Get(l.dir + "/" + child)
		if errors.Is(err, zk.ErrNoNode) {
			return l.rest(children, i)
		}
		if err != nil {
			return state, err
		}
		if state.Leader == "" {
			state.Leader, state.Leading = string(data), child == l.node
		}
		if string(data) == l.id && child != l.node && state.Present {
			state.Duplicate = true
		}
	}
	return state, nil
}

// rest evaluates again without a node that vanished in between.
func (l *Latch) rest(children []string, gone int) (State, error) {
	return l.evaluate(append(append([]string{}, children[:gone]...), children[gone+1:]...))
}

// bySequence sorts by the ten digits at the end; the uuid before them is random.
func bySequence(children []string) {
	sequence := func(name string) string { return name[max(0, len(name)-10):] }
	sort.Slice(children, func(i, j int) bool { return sequence(children[i]) < sequence(children[j]) })
}

// Leader reads who leads, without taking part; empty when nobody does. It fails
// with zk.ErrNoNode when the leader's node vanishes between the two readings.
func Leader(conn *zk.Conn, dir string) (string, error) {
	children, _, err := conn.Children(dir)
	if err != nil || len(children) == 0 {
		return "", err
	}
	bySequence(children)
	data, _, err := conn.Get(dir + "/" + children[0])
	return string(data), err
}
