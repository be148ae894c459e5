package docker

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"time"
)

// PortBinding is a host side of a published port.
type PortBinding struct {
	HostIP   string `json:"HostIp"`
	HostPort string
}

// Spec is the body of a container creation.
type Spec struct {
	Image        string
	Hostname     string              `json:",omitempty"`
	User         string              `json:",omitempty"`
	Env          []string            `json:",omitempty"`
	Cmd          []string            `json:",omitempty"`
	Entrypoint   []string            `json:",omitempty"`
	Labels       map[string]string   `json:",omitempty"`
	ExposedPorts map[string]struct{} `json:",omitempty"`
	HostConfig   HostConfig
}

// HostConfig is the part of a creation that concerns the host.
type HostConfig struct {
	Binds           []string                 `json:",omitempty"`
	NetworkMode     string                   `json:",omitempty"`
	PortBindings    map[string][]PortBinding `json:",omitempty"`
	Privileged      bool                     `json:",omitempty"`
	PublishAllPorts bool                     `json:",omitempty"`
	CPUShares       int64                    `json:"CpuShares,omitempty"`
	Memory          int64                    `json:",omitempty"`
	ExtraHosts      []string                 `json:",omitempty"`
	DNS             []string                 `json:"Dns,omitempty"`
	CapAdd          []string                 `json:",omitempty"`
}

// Container is what an inspection tells.
type Container struct {
	ID    string `json:"Id"`
	Name  string
	State struct {
		Status   string
		Running  bool
		Pid      int
		ExitCode int
		Error    string
	}
	Config struct {
		Hostname     string
		Image        string
		Env          []string
		Labels       map[string]string
		ExposedPorts map[string]struct{}
	}
	HostConfig struct {
		NetworkMode  string
		PortBindings map[string][]PortBinding
	}
	NetworkSettings struct {
		IPAddress string
		Ports     map[string][]PortBinding
		Networks  map[string]struct{ IPAddress string }
	}
}

// IP is the address in the first network that gives one.
func (c *Container) IP() string {
	if c.NetworkSettings.IPAddress != "" {
		return c.NetworkSettings.IPAddress
	}
	for _, network := range c.NetworkSettings.Networks {
		if network.IPAddress != "" {
			return network.IPAddress
		}
	}
	return ""
}

// Listed is one entry of a list of containers.
type Listed struct {
	ID     string `json:"Id"`
	Names  []string
	Image  string
	State  string
	Labels map[string]string
}

// Create makes a container and answers its id.
func (c *Client) Create(ctx context.Context, name string, spec Spec) (string, error) {
	var made struct {
		ID string `json:"Id"`
	}
	err := c.call(ctx, "POST", "/containers/create"+query("name", name), spec, &made)
	return made.ID, err
}

// Start starts a container.
func (c *Client) Start(ctx context.Context, id string) error {
	return c.call(ctx, "POST", "/containers/"+url.PathEscape(id)+"/start", nil, nil)
}

// Stop sends SIGTERM and after the grace SIGKILL.
func (c *Client) Stop(ctx context.Context, id string, grace time.Duration) error {
	seconds := strconv.Itoa(int(grace.Round(time.Second) / time.Second))
	return c.call(ctx, "POST", "/containers/"+url.PathEscape(id)+"/stop"+query("t", seconds), nil, nil)
}

// Remove removes a container, running or not.
func (c *Client) Remove(ctx context.Context, id string) error {
	return c.call(ctx, "DELETE", "/containers/"+url.PathEscape(id)+query("force", "1", "v", "1"), nil, nil)
}

// Wait blocks until the container ends and answers its exit code.
func (c *Client) Wait(ctx context.Context, id string) (int, error) {
	var ended struct {
		StatusCode int
		Error      *struct{ Message string }
	}
	if err := c.call(ctx, "POST", "/containers/"+url.PathEscape(id)+"/wait", nil, &ended); err != nil {
		return -1, err
	}
	if ended.Error != nil && ended.Error.Message != "" {
		return ended.StatusCode, fmt.Errorf("wait: %s", ended.Error.Message)
	}
	return ended.StatusCode, nil
}

// Inspect describes a container.
func (c *Client) Inspect(ctx context.Context, id string) (*Container, error) {
	var container Container
	err := c.call(ctx, "GET", "/containers/"+url.PathEscape(id)+"/json", nil, &container)
	return &container, err
}

// List lists containers; all also those that do not run.
func (c *Client) List(ctx context.Context, all bool) ([]Listed, error) {
	var listed []Listed
	err := c.call(ctx, "GET", "/containers/json"+query("all", strconv.FormatBool(all)), nil, &listed)
	return listed, err
}

// Logs writes the container's output from the beginning, following it until it ends. The stream is the daemon's
// multiplexed one: demultiplexed here into out and errs.
func (c *Client) Logs(ctx context.Context, id string, out, errs io.Writer) error {
	path := "/containers/" + url.PathEscape(id) + "/logs" + query("follow", "1", "stdout", "1", "stderr", "1")
	answer, err := c.send(ctx, "GET", path, nil)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	return demultiplex(answer.Body, out, errs)
}

// Event is one entry of the daemon's event stream.
type Event struct {
	Type   string
	Action string
	Actor  struct {
		ID         string
		Attributes map[string]string
	}
}

// Events calls f for each container event until the stream or the context ends.
func (c *Client) Events(ctx context.Context, f func(Event)) error {
	answer, err := c.send(ctx, "GET", "/events"+query("filters", `{"type":["container"]}`), nil)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	decoder := json.NewDecoder(answer.Body)
	for {
		var event Event
		if err := decoder.Decode(&event); err != nil {
			return err
		}
		f(event)
	}
}
