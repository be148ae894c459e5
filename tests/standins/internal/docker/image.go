package docker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Image is what an image inspection tells.
type Image struct {
	ID     string `json:"Id"`
	Config struct {
		Env        []string
		Cmd        []string
		Entrypoint []string
	}
}

// HasImage reports whether the image is local.
func (c *Client) HasImage(ctx context.Context, name string) (bool, error) {
	err := c.call(ctx, "GET", "/images/"+name+"/json", nil, &Image{})
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// Pull pulls an image; without a tag or digest it is `latest`, as the docker command line has it.
func (c *Client) Pull(ctx context.Context, name string) error {
	if !strings.Contains(name[strings.LastIndex(name, "/")+1:], ":") && !strings.Contains(name, "@") {
		name += ":latest"
	}
	answer, err := c.sendAs(ctx, "POST", "/images/create"+query("fromImage", name), nil, c.logins.header(name))
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	for decoder := json.NewDecoder(answer.Body); ; {
		var progress struct{ Error string }
		if err := decoder.Decode(&progress); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if progress.Error != "" {
			return fmt.Errorf("pull %s: %s", name, progress.Error)
		}
	}
}

// EnsureImage has the image local, pulling it if it is absent or if told to.
func (c *Client) EnsureImage(ctx context.Context, name string, always bool) error {
	if !always {
		if there, err := c.HasImage(ctx, name); err != nil || there {
			return err
		}
	}
	return c.Pull(ctx, name)
}
