package mesos

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// Call is one call of a v1 API.
type Call struct {
	Type string
	Body map[string]json.RawMessage // the whole message
}

// words differ between the agent and the rest.
type words struct{ badProtobuf, contentType, accept string }

func wordsOf(message string) words {
	if message == "agent::Call" {
		return words{"Failed to parse body into a protobuf object",
			"Expecting 'Content-Type' of application/json or application/x-protobuf or application/recordio",
			"Expecting 'Accept' to allow application/json or application/x-protobuf or application/recordio"}
	}
	return words{"Failed to parse body into Call protobuf", "Expecting 'Content-Type' of application/json or application/x-protobuf",
		"Expecting 'Accept' to allow 'application/x-protobuf' or 'application/json'"}
}

const maxBody = 16 << 20

// ReadCall reads a POSTed v1 call, or answers as the real program does and tells false. `message` is the protobuf's name
// ("master::Call"), `known` the call types that exist. A client that accepts only protobuf is told by `protobuf`.
func ReadCall(w http.ResponseWriter, r *http.Request, message string, known func(string) bool) (call Call, protobuf, ok bool) {
	if r.Method != http.MethodPost {
		MethodNotAllowed(w, "POST", r.Method)
		return call, false, false
	}
	kind := r.Header.Get("Content-Type")
	switch kind {
	case "":
		Text(w, http.StatusBadRequest, "Expecting 'Content-Type' to be present")
	case "application/x-protobuf":
		Text(w, http.StatusBadRequest, wordsOf(message).badProtobuf)
	case "application/json":
		return readJSONCall(w, r, message, known)
	default:
		Text(w, http.StatusUnsupportedMediaType, wordsOf(message).contentType)
	}
	return call, false, false
}

func readJSONCall(w http.ResponseWriter, r *http.Request, message string, known func(string) bool) (call Call, protobuf, ok bool) {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody))
	if err != nil || json.Unmarshal(body, &call.Body) != nil {
		Text(w, http.StatusBadRequest, "Failed to parse body into JSON: syntax error at line 1 near: ")
		return call, false, false
	}
	_ = json.Unmarshal(call.Body["type"], &call.Type)
	if !known(call.Type) {
		Text(w, http.StatusBadRequest, fmt.Sprintf("Failed to validate %s: Expecting 'type' to be present", message))
		return call, false, false
	}
	accept := r.Header.Get("Accept")
	switch {
	case accept == "" || strings.Contains(accept, "*/*") || strings.Contains(accept, "application/json") || strings.Contains(accept, "application/*"):
		return call, false, true
	case strings.Contains(accept, "application/x-protobuf"):
		return call, true, true
	}
	Text(w, http.StatusNotAcceptable, wordsOf(message).accept)
	return call, false, false
}

// Field decodes the call's own field (`drain_agent` of DRAIN_AGENT); false with an answer if it is absent or malformed.
func (c Call) Field(w http.ResponseWriter, message string, into any) bool {
	name := strings.ToLower(c.Type)
	raw, there := c.Body[name]
	if !there {
		Text(w, http.StatusBadRequest, fmt.Sprintf("Failed to validate %s: Expecting '%s' to be present", message, name))
		return false
	}
	if err := json.Unmarshal(raw, into); err != nil {
		Text(w, http.StatusBadRequest, "Failed to convert JSON into Call protobuf: "+err.Error())
		return false
	}
	return true
}

// Reply answers a call with `{"type":T,"t":value}`.
func (c Call) Reply(w http.ResponseWriter, r *http.Request, value any) {
	body := map[string]any{"type": c.Type}
	if value != nil {
		body[strings.ToLower(c.Type)] = value
	}
	JSON(w, r, body)
}

// HealthProtobuf is the protobuf form of a GET_HEALTH answer, the one call asked for so by probes.
func HealthProtobuf(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/x-protobuf")
	write(w, http.StatusOK, "\x08\x01\x12\x02\x08\x01")
}
