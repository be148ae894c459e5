package registrator

import (
	"errors"
	"flag"
	"log"
	"net/url"
	"os"
	"time"
)

// Run is the whole program; it returns the exit code.
func Run(args []string) int {
	log.SetOutput(os.Stdout)
	if len(args) == 1 && args[0] == "--version" {
		os.Stdout.WriteString(Version + "\n")
		return 0
	}
	log.Printf("Starting registrator %s ... (toots stand-in for Registrator)", Version)
	options, err := Parse(args, os.Stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case errors.Is(err, ErrUsage):
		return 2
	case err != nil:
		log.Print(err)
		return 1
	}
	if options.IP != "" {
		log.Println("Forcing host IP to", options.IP)
	}
	bridge, err := newBridge(options)
	if err == nil {
		err = connect(bridge, options)
	}
	if err == nil {
		err = follow(bridge, options)
	}
	log.Print(err)
	return 1
}

func newBridge(o Options) (*Bridge, error) {
	host := os.Getenv("DOCKER_HOST")
	if host == "" {
		host = "unix:///tmp/docker.sock"
	}
	docker, err := NewDockerClient(host)
	if err != nil {
		return nil, err
	}
	uri, err := url.Parse(o.URI)
	if err != nil {
		return nil, errors.New("bad adapter uri: " + o.URI)
	}
	if uri.Scheme != "consul" {
		return nil, errors.New("unrecognized adapter: " + o.URI)
	}
	log.Println("Using consul adapter:", uri)
	hostname, err := os.Hostname()
	if err != nil {
		return nil, err
	}
	return &Bridge{
		Docker: docker, Consul: NewConsulClient(uri), Cleanup: o.Cleanup, Deregister: o.Deregister,
		Settings: Settings{Hostname: hostname, HostIP: o.IP, Internal: o.Internal, ForceTags: o.Tags, TTL: o.TTL},
	}, nil
}

// connect asks the backend; attempts are counted from 0, -1 never gives up.
func connect(b *Bridge, o Options) error {
	for attempt := 0; ; attempt++ {
		log.Printf("Connecting to backend (%v/%v)", attempt, o.RetryAttempts)
		leader, err := b.Consul.Ping()
		if err == nil {
			log.Println("consul: current leader ", leader)
			return nil
		}
		if attempt == o.RetryAttempts {
			return err
		}
		time.Sleep(time.Duration(o.RetryInterval) * time.Millisecond)
	}
}

// follow listens before it lists, so that nothing is missed in between. There
// is no reconnection: the end of the stream is the end of the program.
func follow(b *Bridge, o Options) error {
	events, err := b.Docker.Events()
	if err != nil {
		return err
	}
	log.Println("Listening for Docker events ...")
	b.Sync(false)
	refresh, resync := ticker(o.TTLRefresh), ticker(o.Resync)
	for {
		select {
		case event, open := <-events:
			if !open {
				return errors.New("docker event loop closed")
			}
			switch event.Status {
			case "start":
				b.Add(event.ID)
			case "die":
				b.Remove(event.ID)
			}
		case <-refresh:
			b.Refresh()
		case <-resync:
			b.Sync(true)
		}
	}
}

// ticker never ticks when the flag is 0.
func ticker(seconds int) <-chan time.Time {
	if seconds <= 0 {
		return nil
	}
	return time.NewTicker(time.Duration(seconds) * time.Second).C
}
