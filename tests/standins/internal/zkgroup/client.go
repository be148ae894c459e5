package zkgroup

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/go-zookeeper/zk"
)

// Client is one session that is renewed when it expires.
type Client struct {
	url     URL
	timeout time.Duration
	conn    *zk.Conn
	acl     []zk.ACL

	mu      sync.Mutex
	session bool // a server holds our session now
	lost    bool // no server for the session timeout
	timer   *time.Timer
	changed chan struct{} // closed at each change of the above
	onLost  []func()
}

type logger struct{}

func (logger) Printf(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "ZOO_INFO %s\n", fmt.Sprintf(format, args...))
}

// Connect starts a session in the background; it never fails for servers that do not answer.
func Connect(url URL, timeout time.Duration) (*Client, error) {
	if len(url.Servers) == 0 {
		return nil, errors.New("no ZooKeeper servers")
	}
	conn, events, err := zk.Connect(url.Servers, timeout, zk.WithLogger(logger{}), zk.WithLogInfo(false))
	if err != nil {
		return nil, err
	}
	client := &Client{url: url, timeout: timeout, conn: conn, acl: zk.WorldACL(zk.PermAll), changed: make(chan struct{})}
	if user, pass, ok := strings.Cut(url.Auth, ":"); ok {
		client.acl = append(zk.WorldACL(zk.PermRead), zk.DigestACL(zk.PermAll, user, pass)...)
		go func() { _ = conn.AddAuth("digest", []byte(url.Auth)) }() // waits for a server
	}
	client.startTimer()
	go client.follow(events)
	return client, nil
}

func (c *Client) follow(events <-chan zk.Event) {
	for event := range events {
		switch event.State {
		case zk.StateHasSession:
			c.set(true, false)
		case zk.StateExpired:
			c.set(false, true)
		case zk.StateDisconnected:
			c.mu.Lock()
			c.session = false
			c.startTimer()
			c.mu.Unlock()
		}
	}
}

// startTimer begins the client-side session timeout; the caller holds the lock or has the client alone.
func (c *Client) startTimer() {
	if c.timer == nil && !c.lost {
		c.timer = time.AfterFunc(c.timeout, func() { c.set(false, true) })
	}
}

func (c *Client) set(session, lost bool) {
	c.mu.Lock()
	if c.timer != nil {
		c.timer.Stop()
		c.timer = nil
	}
	newlyLost := lost && !c.lost
	c.session, c.lost = session, lost
	close(c.changed)
	c.changed = make(chan struct{})
	listeners := c.onLost
	c.mu.Unlock()
	if newlyLost {
		for _, listener := range listeners {
			listener()
		}
	}
}

// OnLost calls f whenever the session ends or no server was reached for its timeout.
func (c *Client) OnLost(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.onLost = append(c.onLost, f)
}

// Lost reports whether the session is gone for now.
func (c *Client) Lost() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lost
}

// await blocks until a server holds the session.
func (c *Client) await() {
	for {
		c.mu.Lock()
		ready, changed := c.session, c.changed
		c.mu.Unlock()
		if ready {
			return
		}
		<-changed
	}
}

// ensure creates the persistent nodes of a path.
func (c *Client) ensure(path string) error {
	for at := 1; at <= len(path); at++ {
		if at < len(path) && path[at] != '/' {
			continue
		}
		_, err := c.conn.Create(path[:at], nil, 0, c.acl)
		if err != nil && !errors.Is(err, zk.ErrNodeExists) && !errors.Is(err, zk.ErrNoAuth) {
			return err
		}
	}
	return nil
}
