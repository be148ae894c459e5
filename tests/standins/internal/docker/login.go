package docker

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"strings"
)

// Logins are the registries' logins of a docker configuration: server to "user:password".
type Logins map[string]string

// ParseLogins reads a docker configuration: an absolute path (file:// before it is allowed) or the JSON itself. Empty text is none.
func ParseLogins(text string) (Logins, error) {
	if text == "" {
		return nil, nil
	}
	content := []byte(text)
	if path := strings.TrimPrefix(text, "file://"); strings.HasPrefix(path, "/") {
		var err error
		if content, err = os.ReadFile(path); err != nil {
			return nil, err
		}
	}
	var config struct {
		Auths map[string]struct{ Auth string }
	}
	if err := json.Unmarshal(content, &config); err != nil {
		return nil, err
	}
	logins := Logins{}
	for server, entry := range config.Auths {
		login, err := base64.StdEncoding.DecodeString(entry.Auth)
		if err != nil {
			return nil, fmt.Errorf("auth of %s: %w", server, err)
		}
		logins[server] = string(login)
	}
	return logins, nil
}

// WithLogins uses these logins for pulls.
func (c *Client) WithLogins(logins Logins) *Client {
	c.logins = logins
	return c
}

// header is the X-Registry-Auth for an image; empty when its registry has no login.
func (l Logins) header(image string) string {
	server, _, _ := strings.Cut(image, "/")
	user, password, found := strings.Cut(l[server], ":")
	if !found {
		return ""
	}
	text, _ := json.Marshal(map[string]string{"username": user, "password": password, "serveraddress": server})
	return base64.URLEncoding.EncodeToString(text)
}
