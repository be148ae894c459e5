package registrator

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
)

// Binding is a host address a container port is published on.
type Binding struct{ HostIP, HostPort string }

// Container is what the mapping reads of the Engine's inspection.
type Container struct {
	ID, Name string
	State    struct{ ExitCode int }
	Config   struct {
		Image        string
		Env          []string
		Labels       map[string]string
		ExposedPorts map[string]struct{}
	}
	NetworkSettings struct {
		IPAddress string
		Ports     map[string][]Binding
		Networks  map[string]struct{ IPAddress string }
	}
}

// DockerClient speaks the unversioned Engine API, as Registrator's library does.
type DockerClient struct {
	http *http.Client
	base string
}

// NewDockerClient connects to a DOCKER_HOST of the form unix:// or tcp://.
func NewDockerClient(host string) (*DockerClient, error) {
	kind, address, found := strings.Cut(host, "://")
	if !found || (kind != "unix" && kind != "tcp" && kind != "http") {
		return nil, fmt.Errorf("invalid endpoint")
	}
	if kind != "unix" {
		return &DockerClient{http: &http.Client{}, base: "http://" + address}, nil
	}
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", address)
	}}
	return &DockerClient{http: &http.Client{Transport: transport}, base: "http://docker"}, nil
}

func (d *DockerClient) get(path string, into any) error {
	answer, err := d.http.Get(d.base + path)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(io.LimitReader(answer.Body, 4096))
		return fmt.Errorf("API error (%d): %s", answer.StatusCode, strings.TrimSpace(string(body)))
	}
	return json.NewDecoder(answer.Body).Decode(into)
}

// Running lists the ids of the running containers.
func (d *DockerClient) Running() ([]string, error) {
	var listing []struct {
		ID string `json:"Id"`
	}
	if err := d.get("/containers/json", &listing); err != nil {
		return nil, err
	}
	ids := make([]string, 0, len(listing))
	for _, entry := range listing {
		ids = append(ids, entry.ID)
	}
	return ids, nil
}

// Inspect describes one container.
func (d *DockerClient) Inspect(id string) (Container, error) {
	var c Container
	err := d.get("/containers/"+id+"/json", &c)
	return c, err
}

// Event is one message of the Engine's event stream. Engines before API 1.22 know only the last two
// fields, those from API 1.52 on only the others; go-dockerclient, which the program uses, reads both.
type Event struct {
	Type   string
	Action string
	Actor  struct{ ID string }
	Status string `json:"status"`
	ID     string `json:"id"`
}

func (e *Event) fill() {
	if e.Status == "" {
		e.Status = e.Action
	}
	if e.ID == "" {
		e.ID = e.Actor.ID
	}
}

// Events follows container events until the stream closes, then closes the channel.
func (d *DockerClient) Events() (<-chan Event, error) {
	answer, err := d.http.Get(d.base + "/events")
	if err != nil {
		return nil, err
	}
	if answer.StatusCode != http.StatusOK {
		answer.Body.Close()
		return nil, fmt.Errorf("API error (%d)", answer.StatusCode)
	}
	events := make(chan Event, 64)
	go func() {
		defer close(events)
		defer answer.Body.Close()
		decoder := json.NewDecoder(answer.Body)
		for {
			var event Event
			if decoder.Decode(&event) != nil {
				return
			}
			event.fill()
			if event.Type == "" || event.Type == "container" {
				events <- event
			}
		}
	}()
	return events, nil
}
