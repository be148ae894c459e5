package marathon

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"regexp"
	"strings"
)

// Problem is an answer that explains what is wrong with a request.
type Problem struct {
	Status  int
	Message string
	Details any // string, list or nil
	Extra   map[string]any
}

func (p *Problem) Error() string { return p.Message }

type detail struct {
	Path   string   `json:"path"`
	Errors []string `json:"errors"`
}

func invalid(details ...detail) *Problem {
	return &Problem{Status: 422, Message: "Invalid JSON", Details: details}
}

func notValid(text string) *Problem {
	return &Problem{Status: 422, Message: "Object is not valid", Details: []detail{{"/", []string{text}}}}
}

const segment = `(([a-z0-9]|[a-z0-9][a-z0-9\-]*[a-z0-9])\.)*([a-z0-9]|[a-z0-9][a-z0-9\-]*[a-z0-9])`

var pathID = regexp.MustCompile(`^/?(` + segment + `|\.|\.\.)(/(` + segment + `|\.|\.\.))*$|^/?$`)

// readJSON distinguishes nothing, broken JSON and JSON.
func readJSON(body []byte) (any, *Problem) {
	if len(bytes.TrimSpace(body)) == 0 {
		return nil, &Problem{Status: 400, Message: "Please specify data in JSON format",
			Details: "No content to map due to end-of-input\n at [Source: (byte[])\"\"; line: 1, column: 0]"}
	}
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.UseNumber()
	var value any
	if err := decoder.Decode(&value); err != nil {
		text := err.Error()
		if errors.Is(err, io.ErrUnexpectedEOF) {
			text = "Unexpected end-of-input within/between Object entries"
		}
		return nil, &Problem{Status: 400, Message: "Invalid JSON", Details: text}
	}
	return value, nil
}

// numbers lists the fields that must be numbers and are at least 0.
var numbers = []string{"instances", "mem", "cpus", "disk", "gpus", "backoffSeconds", "backoffFactor", "maxLaunchDelaySeconds"}

// checkTypes finds wrong types before anything is decoded.
func checkTypes(object map[string]any) *Problem {
	var details, minima []detail
	for _, field := range numbers {
		value, given := object[field]
		if !given || value == nil {
			continue
		}
		number, ok := value.(json.Number)
		if !ok {
			details = append(details, detail{"/" + field, []string{"error.expected.jsnumber"}})
		} else if strings.HasPrefix(number.String(), "-") {
			minima = append(minima, detail{"/" + field, []string{"error.min"}})
		}
	}
	for _, field := range []string{"cmd", "id", "role"} {
		if value, given := object[field]; given && value != nil {
			if _, ok := value.(string); !ok {
				details = append(details, detail{"/" + field, []string{"error.expected.jsstring"}})
			}
		}
	}
	for _, field := range []string{"env", "labels", "container"} {
		if value, given := object[field]; given && value != nil {
			if _, ok := value.(map[string]any); !ok {
				details = append(details, detail{"/" + field, []string{"error.expected.jsobject"}})
			}
		}
	}
	if id, ok := object["id"].(string); ok && !pathID.MatchString(id) {
		details = append(details, detail{"/id", []string{"error.pattern"}})
	}
	if details = append(details, minima...); len(details) > 0 {
		return invalid(details...)
	}
	return nil
}

// ParseApp reads a complete definition. With an id it need not carry one (PUT).
func ParseApp(body []byte, id string) (*App, *Problem) {
	value, problem := readJSON(body)
	if problem != nil {
		return nil, problem
	}
	return appOf(value, id, true)
}

func appOf(value any, id string, defaultPort bool) (*App, *Problem) {
	object, ok := value.(map[string]any)
	if !ok {
		encoded, _ := json.Marshal(value)
		return nil, invalid(detail{"/id", []string{string(encoded) + " is not an object"}})
	}
	if id != "" {
		object["id"] = id
	}
	if _, given := object["id"]; !given {
		encoded, _ := json.Marshal(object)
		return nil, invalid(detail{"/id", []string{"'id' is undefined on object: " + string(encoded)}})
	}
	return build(object, defaultPort)
}

// build normalises an object of known id into an app.
func build(object map[string]any, defaultPort bool) (*App, *Problem) {
	if problem := checkTypes(object); problem != nil {
		return nil, problem
	}
	normaliseContainer(object)
	normalisePorts(object)
	encoded, _ := json.Marshal(object)
	app := &App{
		BackoffFactor: 1.15, BackoffSeconds: 1, CPUs: 1, Mem: 128, Instances: 1, MaxLaunchDelaySeconds: 300,
		UpgradeStrategy: UpgradeStrategy{1, 1}, KillSelection: "YOUNGEST_FIRST", Role: "*",
		UnreachableStrategy: json.RawMessage(`{"inactiveAfterSeconds":0,"expungeAfterSeconds":0}`),
	}
	if err := json.Unmarshal(encoded, app); err != nil {
		field := "/"
		var wrong *json.UnmarshalTypeError
		if errors.As(err, &wrong) {
			field += strings.ReplaceAll(wrong.Field, ".", "/")
		}
		return nil, invalid(detail{field, []string{"error.expected." + expected(wrong)}})
	}
	app.ID = CleanID(app.ID)
	fill(app, defaultPort)
	if app.Cmd == "" && len(app.Args) == 0 && app.Container == nil {
		return nil, notValid("AppDefinition must either contain one of 'cmd' or 'args', and/or a 'container'.")
	}
	if app.Container != nil && app.Container.Type == "DOCKER" && (app.Container.Docker == nil || app.Container.Docker.Image == "") {
		return nil, &Problem{Status: 422, Message: "Object is not valid", Details: []detail{{"/container/docker/image", []string{"must not be empty"}}}}
	}
	return app, nil
}

func expected(wrong *json.UnmarshalTypeError) string {
	if wrong == nil {
		return "jsobject"
	}
	switch wrong.Type.Kind().String() {
	case "string":
		return "jsstring"
	case "bool":
		return "jsboolean"
	case "slice":
		return "jsarray"
	case "map", "struct":
		return "jsobject"
	}
	return "jsnumber"
}

// CleanID makes an id absolute.
func CleanID(id string) string { return path.Clean("/" + id) }

// normaliseContainer moves the old docker.network and docker.portMappings to
// where 1.5 and later keep them.
func normaliseContainer(object map[string]any) {
	container, _ := object["container"].(map[string]any)
	docker, _ := container["docker"].(map[string]any)
	if docker == nil {
		return
	}
	switch network, _ := docker["network"].(string); network {
	case "BRIDGE":
		object["networks"] = []any{map[string]any{"mode": "container/bridge"}}
	case "HOST":
		object["networks"] = []any{map[string]any{"mode": "host"}}
	case "USER":
		object["networks"] = []any{map[string]any{"mode": "container"}}
	}
	if mappings, given := docker["portMappings"]; given && container["portMappings"] == nil {
		container["portMappings"] = mappings
	}
	delete(docker, "network")
	delete(docker, "portMappings")
}

// normalisePorts turns the old list of numbers into definitions.
func normalisePorts(object map[string]any) {
	ports, ok := object["ports"].([]any)
	if !ok || object["portDefinitions"] != nil {
		return
	}
	definitions := []any{}
	for _, port := range ports {
		definitions = append(definitions, map[string]any{"port": port, "protocol": "tcp"})
	}
	object["portDefinitions"] = definitions
}

// fill adds the defaults that depend on other fields.
func fill(app *App, defaultPort bool) {
	if len(app.Networks) == 0 {
		app.Networks = []Network{{Mode: "host"}}
	}
	if app.Labels == nil {
		app.Labels = map[string]string{}
	}
	for i, dependency := range app.Dependencies {
		app.Dependencies[i] = absolute(dependency, path.Dir(app.ID))
	}
	if app.Container != nil {
		fillContainer(app)
	}
	if app.bridged() {
		app.PortDefinitions = nil
	} else {
		if app.PortDefinitions == nil {
			app.PortDefinitions = &[]PortDefinition{}
			if defaultPort {
				*app.PortDefinitions = append(*app.PortDefinitions, PortDefinition{Name: "default"})
			}
		}
		for i := range *app.PortDefinitions {
			orDefault(&(*app.PortDefinitions)[i].Protocol, "tcp")
		}
	}
	for i := range app.HealthChecks {
		fillCheck(&app.HealthChecks[i])
	}
}

func fillContainer(app *App) {
	c := app.Container
	orDefault(&c.Type, "MESOS")
	if c.Docker != nil && c.Docker.Parameters == nil {
		c.Docker.Parameters = []Parameter{}
	}
	if c.Volumes == nil {
		c.Volumes = []Volume{}
	}
	if !app.bridged() {
		c.PortMappings = nil
		return
	}
	if c.PortMappings == nil {
		c.PortMappings = []PortMapping{{Name: "default"}}
	}
	for i := range c.PortMappings {
		orDefault(&c.PortMappings[i].Protocol, "tcp")
		if c.PortMappings[i].Labels == nil {
			c.PortMappings[i].Labels = map[string]string{}
		}
	}
}

func fillCheck(check *HealthCheck) {
	orDefault(&check.Protocol, "HTTP")
	orDefault(&check.IPProtocol, "IPv4")
	for field, value := range map[*int]int{
		&check.GracePeriodSeconds: 300, &check.IntervalSeconds: 60, &check.MaxConsecutiveFailures: 3,
		&check.TimeoutSeconds: 20, &check.DelaySeconds: 15,
	} {
		if *field == 0 {
			*field = value
		}
	}
	if check.Protocol == "HTTP" || check.Protocol == "HTTPS" {
		orDefault(&check.Path, "/")
		if check.IgnoreHTTP1xx == nil {
			check.IgnoreHTTP1xx = new(bool)
		}
	}
	if check.PortIndex == nil && check.Port == 0 && check.Protocol != "COMMAND" {
		check.PortIndex = new(int)
	}
}

func orDefault(field *string, value string) {
	if *field == "" {
		*field = value
	}
}

func absolute(id, base string) string {
	if strings.HasPrefix(id, "/") {
		return path.Clean(id)
	}
	return path.Clean(base + "/" + id)
}

// Merge applies a partial definition to an app (PUT and PATCH).
func Merge(app *App, body []byte) (*App, *Problem) {
	value, problem := readJSON(body)
	if problem != nil {
		return nil, problem
	}
	change, ok := value.(map[string]any)
	if !ok {
		return nil, invalid(detail{"/", []string{"error.expected.jsobject"}})
	}
	if problem := checkTypes(change); problem != nil {
		return nil, problem
	}
	return mergeObject(app, change)
}

func mergeObject(app *App, change map[string]any) (*App, *Problem) {
	encoded, _ := json.Marshal(app)
	object, _ := readJSON(encoded)
	base, ok := object.(map[string]any)
	if !ok {
		return nil, notValid(fmt.Sprintf("%s cannot be changed", app.ID))
	}
	for field, value := range change {
		switch field {
		case "id", "version", "versionInfo": // of the path and of Marathon
		case "cmd":
			delete(base, "args")
			base[field] = value
		case "args":
			delete(base, "cmd")
			base[field] = value
		case "ports":
			delete(base, "portDefinitions")
			base[field] = value
		default:
			base[field] = value
		}
	}
	return build(base, false)
}
