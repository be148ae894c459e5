// Package docker is a small client of the Docker Engine API over its unix socket. Paths carry no version, so it
// works with every daemon; only fields that exist in all of them are used.
package docker

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
)

// ErrNotFound: no such container or image.
var ErrNotFound = errors.New("not found")

// Client talks to one daemon.
type Client struct {
	http   *http.Client
	logins Logins
}

// New creates a client of the daemon behind a socket; "unix://" before the path is allowed.
func New(socket string) *Client {
	path := strings.TrimPrefix(socket, "unix://")
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", path)
	}
	return &Client{http: &http.Client{Transport: &http.Transport{DialContext: dial}}}
}

// Ping asks if the daemon answers.
func (c *Client) Ping(ctx context.Context) error { return c.call(ctx, "GET", "/_ping", nil, nil) }

func (c *Client) call(ctx context.Context, method, path string, body, into any) error {
	answer, err := c.send(ctx, method, path, body)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if into == nil {
		_, err = io.Copy(io.Discard, answer.Body)
		return err
	}
	return json.NewDecoder(answer.Body).Decode(into)
}

// send makes the request and turns statuses from 400 into errors. The caller closes the body.
func (c *Client) send(ctx context.Context, method, path string, body any) (*http.Response, error) {
	return c.sendAs(ctx, method, path, body, "")
}

// sendAs sends a login for a registry besides.
func (c *Client) sendAs(ctx context.Context, method, path string, body any, login string) (*http.Response, error) {
	var payload io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		payload = bytes.NewReader(text)
	}
	request, err := http.NewRequestWithContext(ctx, method, "http://docker"+path, payload)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/json")
	if login != "" {
		request.Header.Set("X-Registry-Auth", login)
	}
	answer, err := c.http.Do(request)
	if err != nil {
		return nil, err
	}
	if answer.StatusCode < 400 {
		return answer, nil
	}
	defer answer.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(answer.Body, 4096))
	var told struct{ Message string }
	if json.Unmarshal(text, &told) != nil || told.Message == "" {
		told.Message = strings.TrimSpace(string(text))
	}
	if answer.StatusCode == http.StatusNotFound {
		return nil, fmt.Errorf("%w: %s", ErrNotFound, told.Message)
	}
	return nil, fmt.Errorf("docker answers %d: %s", answer.StatusCode, told.Message)
}

// query builds "?a=b&c=d" from pairs.
func query(pairs ...string) string {
	values := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		values.Set(pairs[i], pairs[i+1])
	}
	return "?" + values.Encode()
}
