package registrator

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"
)

// ConsulClient speaks to the local agent.
type ConsulClient struct {
	http  *http.Client
	base  string
	token string
}

// NewConsulClient takes the registry URI consul://host:port; without a host it
// is the agent's default address.
func NewConsulClient(uri *url.URL) *ConsulClient {
	base := "http://127.0.0.1:8500"
	if uri.Host != "" {
		base = "http://" + uri.Host
	}
	return &ConsulClient{http: &http.Client{Timeout: 30 * time.Second}, base: base, token: os.Getenv("CONSUL_HTTP_TOKEN")}
}

func (c *ConsulClient) call(method, path string, body, into any) error {
	var content io.Reader
	if body != nil {
		encoded, err := json.Marshal(body)
		if err != nil {
			return err
		}
		content = bytes.NewReader(encoded)
	}
	request, err := http.NewRequest(method, c.base+path, content)
	if err != nil {
		return err
	}
	if c.token != "" {
		request.Header.Set("X-Consul-Token", c.token)
	}
	answer, err := c.http.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(answer.Body, 4096))
		return fmt.Errorf("Unexpected response code: %d (%s)", answer.StatusCode, strings.TrimSpace(string(text)))
	}
	if into == nil {
		return nil
	}
	return json.NewDecoder(answer.Body).Decode(into)
}

// Ping asks for the leader; an agent without a leader answers too.
func (c *ConsulClient) Ping() (string, error) {
	var leader string
	err := c.call(http.MethodGet, "/v1/status/leader", nil, &leader)
	return leader, err
}

// Register adds a service or replaces it.
func (c *ConsulClient) Register(s Service) error {
	body := map[string]any{
		"ID": s.ID, "Name": s.Name, "Address": s.IP, "Port": s.Port, "Tags": s.Tags, "Meta": s.Attrs,
	}
	if check := checkOf(s); check != nil {
		body["Check"] = check
	}
	return c.call(http.MethodPut, "/v1/agent/service/register", body, nil)
}

// Deregister removes a service of this agent.
func (c *ConsulClient) Deregister(id string) error {
	return c.call(http.MethodPut, "/v1/agent/service/deregister/"+url.PathEscape(id), nil, nil)
}

// Services lists id and name of what the agent holds.
func (c *ConsulClient) Services() (map[string]string, error) {
	var listing map[string]struct{ Service string }
	if err := c.call(http.MethodGet, "/v1/agent/services", nil, &listing); err != nil {
		return nil, err
	}
	services := make(map[string]string, len(listing))
	for id, entry := range listing {
		services[id] = entry.Service
	}
	return services, nil
}

// checkOf builds the check; the first attribute in this order counts.
func checkOf(s Service) map[string]any {
	check := map[string]any{}
	address := fmt.Sprintf("%s:%d", s.IP, s.Port)
	set := func(field, attribute string) {
		if value := s.Attrs[attribute]; value != "" {
			check[field] = value
		}
	}
	needsInterval := true
	switch {
	case s.Attrs["check_http"] != "":
		check["HTTP"] = "http://" + address + s.Attrs["check_http"]
		set("Timeout", "check_timeout")
	case s.Attrs["check_cmd"] != "":
		check["Args"] = []string{"check-cmd", s.Attrs["check_cmd"]}
	case s.Attrs["check_script"] != "":
		script := strings.NewReplacer("$SERVICE_IP", s.IP, "$SERVICE_PORT", fmt.Sprint(s.Port)).Replace(s.Attrs["check_script"])
		check["Args"] = strings.Fields(script)
	case s.Attrs["check_ttl"] != "":
		check["TTL"] = s.Attrs["check_ttl"]
		needsInterval = false
	case s.Attrs["check_tcp"] != "":
		check["TCP"] = address
		set("Timeout", "check_timeout")
	default:
		return nil
	}
	if needsInterval {
		check["Interval"] = "10s"
		set("Interval", "check_interval")
	}
	set("Status", "check_initial_status")
	set("DeregisterCriticalServiceAfter", "check_deregister_after")
	return check
}
