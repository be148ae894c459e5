package jetty

import (
	"bufio"
	"net"
	"net/http"
	"testing"
)

func TestReasonPhrasesReachTheWire(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/page":
			Error(w, r, 502, "Could not determine the current leader")
		case "/empty":
			SetReason(w, "")
			w.WriteHeader(422)
		}
	})}
	go func() { _ = server.Serve(Listener{listener}) }()
	defer server.Close()
	conn, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	reader := bufio.NewReader(conn)
	// One connection on purpose: a rewritten answer must leave it usable.
	for _, c := range []struct{ path, status string }{
		{"/page", "502 Could not determine the current leader"}, {"/empty", "422 "}, {"/plain", "200 OK"},
	} {
		if _, err := conn.Write([]byte("GET " + c.path + " HTTP/1.1\r\nHost: x\r\n\r\n")); err != nil {
			t.Fatal(err)
		}
		answer, err := http.ReadResponse(reader, nil)
		if err != nil {
			t.Fatal(err)
		}
		if answer.Status != c.status || answer.Header.Get(reasonHeader) != "" {
			t.Errorf("%s: status %q, header %v", c.path, answer.Status, answer.Header)
		}
		buffer := make([]byte, 1<<16)
		for {
			if _, err := answer.Body.Read(buffer); err != nil {
				break
			}
		}
	}
}
