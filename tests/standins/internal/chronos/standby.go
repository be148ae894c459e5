package chronos

import (
	"io"
	"net/http"
	"strconv"
	"time"

	"toots.test/standins/internal/jetty"
)

// Standby hands every request to the leader, as Chronos' RedirectFilter does;
// nothing in the answers tells of it but repeated headers.
type Standby struct {
	Self string
	// Leader asks ZooKeeper again for every request, on the leader too: it hangs
	// while ZooKeeper does, and its failure ends the process.
	Leader func() (string, error)
	Leads  func() bool
	Local  http.Handler
	Fatal  func(error)
	client *http.Client
}

// ServeHTTP serves locally when leading, else proxies.
func (s *Standby) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	leader, err := s.Leader()
	if err != nil {
		s.Fatal(err)
		jetty.Error(w, r, http.StatusInternalServerError, "Server Error")
		return
	}
	if s.Leads() {
		s.Local.ServeHTTP(w, r)
		return
	}
	if leader == "" || leader == s.Self {
		proxyError(w, r, "java.net.UnknownHostException")
		return
	}
	s.forward(w, r, leader)
}

func proxyError(w http.ResponseWriter, r *http.Request, cause string) {
	w.Header().Set("Server", serverName)
	w.Header().Set("Access-Control-Allow-Origin", "*")
	jetty.Error(w, r, http.StatusInternalServerError, "Error proxying request to leader (maybe the leadership just changed?)??Error:?"+cause)
}

func (s *Standby) forward(w http.ResponseWriter, r *http.Request, leader string) {
	request, err := http.NewRequestWithContext(r.Context(), r.Method, "http://"+leader+r.URL.RequestURI(), r.Body)
	if err != nil {
		proxyError(w, r, err.Error())
		return
	}
	request.Header = r.Header.Clone()
	request.Header.Del("Accept-Encoding")
	request.ContentLength = r.ContentLength
	answer, err := s.client.Do(request)
	if err != nil {
		if r.Context().Err() == nil {
			proxyError(w, r, "java.net.ConnectException: Connection refused")
		}
		return
	}
	defer answer.Body.Close()
	h := w.Header()
	for name, values := range answer.Header {
		if name != "Content-Length" && name != "Connection" && name != "Date" && name != "Transfer-Encoding" {
			h[name] = values
		}
	}
	h.Set("Access-Control-Allow-Origin", "*")
	if answer.StatusCode >= http.StatusBadRequest {
		swallow(w, r, answer)
		return
	}
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		proxyError(w, r, err.Error())
		return
	}
	if answer.StatusCode != http.StatusNoContent {
		length := len(body)
		if r.Method == http.MethodHead && answer.ContentLength > 0 {
			length = int(answer.ContentLength)
		} else if r.Method != http.MethodHead {
			h["Vary"] = []string{"Accept-Encoding, User-Agent", "Accept-Encoding, User-Agent"}
		}
		h.Set("Content-Length", strconv.Itoa(length))
	}
	w.WriteHeader(answer.StatusCode)
	_, _ = w.Write(body)
}

// swallow loses the body of an error: without a length the answer is empty, with
// one the client waits for a body that never comes.
func swallow(w http.ResponseWriter, r *http.Request, answer *http.Response) {
	if answer.ContentLength <= 0 || r.Method == http.MethodHead {
		w.Header().Set("Content-Length", "0")
		w.WriteHeader(answer.StatusCode)
		return
	}
	w.Header().Set("Content-Length", strconv.FormatInt(answer.ContentLength, 10))
	w.WriteHeader(answer.StatusCode)
	if flusher, ok := w.(http.Flusher); ok {
		flusher.Flush()
	}
	select {
	case <-r.Context().Done():
	case <-time.After(30 * time.Second): // Jetty's idle timeout
	}
}
