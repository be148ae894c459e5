package zkgroup

import (
	"errors"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/go-zookeeper/zk"
)

const retry = 300 * time.Millisecond

// Member is one child of a group.
type Member struct {
	Name     string
	Sequence int
	Data     []byte
}

// Join keeps an ephemeral sequential child `label%010d` (or `%010d` without a label) under the URL's path plus sub.
// joined is told its name, gone that it vanished (deleted or session over), after which it joins again.
func (c *Client) Join(sub, label string, data []byte, joined, gone func(name string)) {
	parent := c.url.Path + sub
	if label != "" {
		label += "_"
	}
	go func() {
		for {
			c.await()
			if err := c.ensure(parent); err != nil {
				time.Sleep(retry)
				continue
			}
			path, err := c.conn.Create(parent+"/"+label, data, zk.FlagEphemeral|zk.FlagSequence, c.acl)
			if err != nil {
				time.Sleep(retry)
				continue
			}
			name := path[len(parent)+1:]
			joined(name)
			c.untilGone(path)
			gone(name)
		}
	}()
}

func (c *Client) untilGone(path string) {
	for {
		c.await()
		there, _, watch, err := c.conn.ExistsW(path)
		switch {
		case err != nil:
			time.Sleep(retry)
		case !there:
			return
		default:
			<-watch
		}
	}
}

// Watch tells f the members of a group, lowest sequence first, at every change; only children with the label count.
// It is told nothing while the session is lost: OnLost tells that.
func (c *Client) Watch(sub, label string, f func([]Member)) {
	parent := c.url.Path + sub
	go func() {
		for {
			c.await()
			names, _, watch, err := c.conn.ChildrenW(parent)
			if errors.Is(err, zk.ErrNoNode) {
				err = c.ensure(parent)
			}
			if err != nil || watch == nil {
				time.Sleep(retry)
				continue
			}
			members, complete := c.read(parent, label, names)
			if !complete {
				time.Sleep(retry)
				continue
			}
			if !c.Lost() {
				f(members)
			}
			c.mu.Lock()
			changed := c.changed
			c.mu.Unlock()
			select {
			case <-watch:
			case <-changed: // the session was renewed or lost: look again
			}
		}
	}()
}

// read gets the members' data; not complete if a connection failed on the way.
func (c *Client) read(parent, label string, names []string) (members []Member, complete bool) {
	for _, name := range names {
		sequence, ok := sequenceOf(name, label)
		if !ok {
			continue
		}
		data, _, err := c.conn.Get(parent + "/" + name)
		if errors.Is(err, zk.ErrNoNode) {
			continue
		}
		if err != nil {
			return nil, false
		}
		members = append(members, Member{name, sequence, data})
	}
	sort.Slice(members, func(i, j int) bool { return members[i].Sequence < members[j].Sequence })
	return members, true
}

func sequenceOf(name, label string) (int, bool) {
	if label != "" {
		var ok bool
		if name, ok = strings.CutPrefix(name, label+"_"); !ok {
			return 0, false
		}
	}
	sequence, err := strconv.Atoi(name)
	return sequence, err == nil
}
