package docker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
)

// daemon serves a handler on a unix socket of its own.
func daemon(t *testing.T, handler http.HandlerFunc) *Client {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "d.sock")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: handler}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close() })
	return New("unix://" + socket)
}

func TestCreateSendsTheSpecAndReadsTheID(t *testing.T) {
	var got Spec
	var name string
	client := daemon(t, func(w http.ResponseWriter, r *http.Request) {
		name = r.URL.Query().Get("name")
		_ = json.NewDecoder(r.Body).Decode(&got)
		fmt.Fprint(w, `{"Id":"abc"}`)
	})
	spec := Spec{Image: "debian:12", HostConfig: HostConfig{PortBindings: map[string][]PortBinding{"80/tcp": {{HostPort: "31000"}}}}}
	id, err := client.Create(context.Background(), "mesos-x", spec)
	if err != nil || id != "abc" || name != "mesos-x" || got.HostConfig.PortBindings["80/tcp"][0].HostPort != "31000" {
		t.Errorf("id %q name %q err %v spec %+v", id, name, err, got)
	}
}

func TestErrorsCarryTheDaemonsWords(t *testing.T) {
	client := daemon(t, func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.Path, "gone") {
			w.WriteHeader(http.StatusNotFound)
		} else {
			w.WriteHeader(http.StatusConflict)
		}
		fmt.Fprint(w, `{"message":"told so"}`)
	})
	if err := client.Start(context.Background(), "gone"); !errors.Is(err, ErrNotFound) {
		t.Errorf("404 gives %v", err)
	}
	if err := client.Start(context.Background(), "x"); err == nil || !strings.Contains(err.Error(), "told so") {
		t.Errorf("409 gives %v", err)
	}
	if there, err := client.HasImage(context.Background(), "gone"); there || err != nil {
		t.Errorf("absent image: %v %v", there, err)
	}
}

func TestALocalImageIsNotPulledAndAFailedPullIsAnError(t *testing.T) {
	pulled := ""
	client := daemon(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/images/create" {
			pulled = r.URL.Query().Get("fromImage")
			fmt.Fprint(w, `{"status":"x"}`, "\n", `{"error":"no such tag"}`)
			return
		}
		fmt.Fprint(w, `{"Id":"sha256:1"}`)
	})
	if err := client.EnsureImage(context.Background(), "web", false); err != nil || pulled != "" {
		t.Errorf("local image: %v, pulled %q", err, pulled)
	}
	if err := client.EnsureImage(context.Background(), "reg:5000/web", true); err == nil || pulled != "reg:5000/web:latest" {
		t.Errorf("pull: %v, asked for %q", err, pulled)
	}
}

func TestLogsAreSplitByStream(t *testing.T) {
	client := daemon(t, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte{1, 0, 0, 0, 0, 0, 0, 2, 'o', 'k', 2, 0, 0, 0, 0, 0, 0, 1, 'e'})
	})
	var out, errs strings.Builder
	if err := client.Logs(context.Background(), "x", &out, &errs); err != nil || out.String() != "ok" || errs.String() != "e" {
		t.Errorf("out %q err %q: %v", out.String(), errs.String(), err)
	}
}
