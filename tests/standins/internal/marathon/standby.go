package marathon

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"time"

	"toots.test/standins/internal/jetty"
)

// Standby hands every request to the leader, as Marathon's LeaderProxyFilter.
type Standby struct {
	Self   string
	Leader func() string // empty when there is none
	Leads  func() bool
	// Local serves while this process leads.
	Local http.Handler

	client *http.Client
}

// Attempts and pause of waiting for a leader.
const (
	leaderAttempts = 11
	leaderPause    = 250 * time.Millisecond
)

// NewStandby takes the timeouts of the leader_proxy flags.
func NewStandby(self string, connect, read time.Duration) *Standby {
	transport := &http.Transport{
		DialContext:           (&net.Dialer{Timeout: connect}).DialContext,
		ResponseHeaderTimeout: read, DisableCompression: true, MaxConnsPerHost: 64,
	}
	return &Standby{Self: self, client: &http.Client{Transport: transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

// ServeHTTP serves locally when leading, else proxies.
func (s *Standby) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	for attempt := 0; attempt < leaderAttempts; attempt++ {
		if s.Leads() {
			s.Local.ServeHTTP(w, r)
			return
		}
		if leader := s.Leader(); leader != "" && leader != s.Self {
			s.forward(w, r, leader)
			return
		}
		time.Sleep(leaderPause)
	}
	jetty.Error(w, r, http.StatusBadGateway, "Could not determine the current leader")
}

func (s *Standby) forward(w http.ResponseWriter, r *http.Request, leader string) {
	via := "1.1 " + s.Self
	switch {
	case r.Method == http.MethodGet && strings.TrimSuffix(r.URL.Path, "/") == "/v2/events":
		w.Header().Set("Location", "http://"+leader+r.URL.RequestURI())
		w.Header().Set("Content-Length", "0")
		w.WriteHeader(http.StatusFound)
		return
	case r.Header.Get("X-Marathon-Via") == via:
		jetty.Error(w, r, http.StatusBadGateway, "Detected proxying loop.")
		return
	case r.Method == http.MethodHead:
		// The real proxy waits for a body that never comes.
		w.Header().Set("Connection", "close")
		jetty.Error(w, r, http.StatusInternalServerError, "Server Error")
		return
	}
	request, err := http.NewRequestWithContext(r.Context(), r.Method, "http://"+leader+r.URL.RequestURI(), r.Body)
	if err != nil {
		jetty.Error(w, r, http.StatusInternalServerError, "Server Error")
		return
	}
	request.Header = r.Header.Clone()
	request.Header.Del("Accept-Encoding")
	request.Header.Set("X-Marathon-Via", via)
	request.Host = r.Host
	request.ContentLength = r.ContentLength
	answer, err := s.client.Do(request)
	if err != nil {
		refuse(w, r, err)
		return
	}
	defer answer.Body.Close()
	s.pass(w, r, answer, via)
}

func refuse(w http.ResponseWriter, r *http.Request, err error) {
	var timeout net.Error
	switch {
	case errors.Is(err, context.Canceled):
	case errors.Is(err, syscall.ECONNREFUSED):
		jetty.Error(w, r, http.StatusBadGateway, "Connection to leader refused.")
	case errors.As(err, &timeout) && timeout.Timeout():
		jetty.Error(w, r, http.StatusGatewayTimeout, "Connection to leader timed out.")
	default:
		jetty.Error(w, r, http.StatusInternalServerError, "Server Error")
	}
}

// pass copies an answer in the shape the proxy gives it: unknown headers in
// lower case, a date for Expires, Vary without Accept.
func (s *Standby) pass(w http.ResponseWriter, r *http.Request, answer *http.Response, via string) {
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		jetty.Error(w, r, http.StatusInternalServerError, "Server Error")
		return
	}
	h := w.Header()
	for name, values := range answer.Header {
		switch name {
		case "Content-Length", "Connection", "Date", "Transfer-Encoding":
		case "Expires":
			h.Set(name, "Wed, 01 Jan 1800 00:00:00 GMT")
		case "Vary":
			for _, value := range values {
				if value != "Accept" {
					h.Add(name, value)
				}
			}
		case "X-Frame-Options", "X-Xss-Protection", "Marathon-Deployment-Id":
			h[strings.ToLower(name)] = values
		default:
			h[name] = values
		}
	}
	h.Set("X-Marathon-Via", via)
	if len(body) == 0 {
		h.Set("Content-Type", "none/none")
	}
	if answer.StatusCode == http.StatusInternalServerError {
		jetty.SetReason(w, "Server Error")
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(answer.StatusCode)
	_, _ = w.Write(body)
}
