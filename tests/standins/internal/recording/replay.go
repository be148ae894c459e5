package recording

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
)

// Replayed is a recorded block's request, rebuilt from its name as the recorder named it.
type Replayed struct {
	Method, Target, Body string
	Header               http.Header
}

var methods = []string{"HEAD", "POST", "PUT", "DELETE", "OPTIONS", "BREW"}

// malformed are the deliberately wrong v1 calls: content type, accept, body.
var malformed = map[string][3]string{
	"accept-protobuf":    {"application/json", "application/x-protobuf", `{"type":"GET_HEALTH"}`},
	"accept-xml":         {"application/json", "application/xml", `{"type":"GET_HEALTH"}`},
	"badjson":            {"application/json", "", `{`},
	"emptybody":          {"application/json", "", ``},
	"emptyobj":           {"application/json", "", `{}`},
	"json-charset":       {"application/json; charset=utf-8", "", `{"type":"GET_HEALTH"}`},
	"lowertype":          {"application/json", "", `{"type":"get_health"}`},
	"metrics-notimeout":  {"application/json", "", `{"type":"GET_METRICS"}`},
	"noctype":            {"", "", `{"type":"GET_HEALTH"}`},
	"protobuf-body-json": {"application/x-protobuf", "", `{"type":"GET_HEALTH"}`},
	"textplain":          {"text/plain", "", `{"type":"GET_HEALTH"}`},
	"unknownfield":       {"application/json", "", `{"type":"GET_HEALTH","x":1}`},
}

// MesosRequest rebuilds the request of a block of the Mesos recordings.
func MesosRequest(name string) Replayed {
	request := Replayed{Method: "GET", Header: http.Header{}}
	if rest, ok := strings.CutPrefix(name, "api-v1-"); ok && rest != "scheduler" && rest != "PUT" {
		request.Method, request.Target = "POST", "/api/v1"
		kind, accept, body := "application/json", "application/json", `{"type":"`+rest+`"}`
		if wrong, is := strings.CutPrefix(rest, "x-"); is {
			kind, accept, body = malformed[wrong][0], malformed[wrong][1], malformed[wrong][2]
		}
		if kind != "" {
			request.Header.Set("Content-Type", kind)
		}
		if accept != "" {
			request.Header.Set("Accept", accept)
		}
		request.Body = body
		return request
	}
	for _, method := range methods {
		if base, ok := strings.CutSuffix(name, "-"+method); ok {
			name, request.Method = base, method
		}
	}
	query := ""
	for _, one := range []string{"_x_1", "_timeout_1secs", "_jsonp_cb"} {
		if base, ok := strings.CutSuffix(name, one); ok {
			parts := strings.Split(one[1:], "_")
			name, query = base, "?"+parts[0]+"="+parts[1]
		}
	}
	name, slash := strings.CutSuffix(name, "_slash")
	name, double := strings.CutPrefix(name, "dbl-")
	target := "/" + strings.ReplaceAll(strings.ReplaceAll(name, "-", "/"), "_2e", "%2e")
	target = strings.ReplaceAll(target, "state/summary", "state-summary")
	if slash {
		target += "/"
	}
	if double {
		target = "/" + target
	}
	request.Target = target + query
	return request
}

// Replay asks a handler and gives its answer as an exchange; status 0 if it closed the connection.
func Replay(handler http.Handler, asked Replayed) (got Exchange) {
	request := httptest.NewRequest(asked.Method, "http://stand-in"+asked.Target, strings.NewReader(asked.Body))
	request.Header = asked.Header
	recorder := httptest.NewRecorder()
	defer func() {
		if recover() == http.ErrAbortHandler {
			got = Exchange{}
		}
	}()
	handler.ServeHTTP(recorder, request)
	answer := recorder.Result()
	body, _ := io.ReadAll(answer.Body)
	return Exchange{Status: answer.StatusCode, Header: answer.Header, Answer: strings.TrimRight(string(body), "\n")}
}

// Compare tells how an answer differs from the recorded one: status, the headers that matter, text as it is, JSON by
// its shape.
func Compare(want, got Exchange, ignore func(path string) bool) []string {
	var out []string
	if want.Status != got.Status {
		return []string{"status " + http.StatusText(got.Status) + ", recorded " + http.StatusText(want.Status) + ": " + got.Answer}
	}
	for _, name := range []string{"Content-Type", "Location", "Allow"} {
		if want.Header.Get(name) != got.Header.Get(name) {
			out = append(out, name+" is "+got.Header.Get(name)+", recorded "+want.Header.Get(name))
		}
	}
	if want.Header.Get("Content-Type") != "application/json" {
		if want.Header.Get("Content-Type") == "text/plain; charset=utf-8" && strings.TrimSpace(want.Answer) != strings.TrimSpace(got.Answer) {
			out = append(out, "text is "+got.Answer+", recorded "+want.Answer)
		}
		return out
	}
	recorded, err := Shape(want.Answer)
	if err != nil {
		return append(out, "recorded JSON does not parse: "+err.Error())
	}
	shape, err := Shape(got.Answer)
	if err != nil {
		return append(out, "answered JSON does not parse: "+err.Error())
	}
	return append(out, Differences(recorded, shape, ignore)...)
}
