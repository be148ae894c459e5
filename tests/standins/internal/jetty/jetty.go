// Package jetty gives net/http the two traits of Jetty that clients of Marathon
// and Chronos see: reason phrases that the status code does not determine, and
// HTML error pages.
package jetty

import (
	"bytes"
	"fmt"
	"html"
	"net"
	"net/http"
	"strconv"
)

// reasonHeader carries a reason phrase from a handler to the connection, which
// removes it again. net/http itself offers no way to set the phrase.
const reasonHeader = "X-Reason-Phrase"

// noReason stands for an empty phrase, as Marathon sends with 422.
const noReason = "-"

// SetReason sets the phrase of the status line; call it before WriteHeader.
func SetReason(w http.ResponseWriter, reason string) {
	if reason == "" {
		reason = noReason
	}
	w.Header().Set(reasonHeader, reason)
}

// Reason is the phrase that SetReason asked for, for tests without a listener.
func Reason(header http.Header) string {
	if header.Get(reasonHeader) == noReason {
		return ""
	}
	return header.Get(reasonHeader)
}

// Error answers with a page as Jetty makes it.
func Error(w http.ResponseWriter, r *http.Request, status int, reason string) {
	page := fmt.Sprintf("<html>\n<head>\n<meta http-equiv=\"Content-Type\" content=\"text/html;charset=ISO-8859-1\"/>\n"+
		"<title>Error %d %s</title>\n</head>\n<body><h2>HTTP ERROR %d</h2>\n<p>Problem accessing %s. Reason:\n<pre>    %s</pre></p>\n</body>\n</html>\n",
		status, html.EscapeString(reason), status, html.EscapeString(r.URL.Path), html.EscapeString(reason))
	w.Header().Set("Cache-Control", "must-revalidate,no-cache,no-store")
	w.Header().Set("Content-Type", "text/html;charset=iso-8859-1")
	w.Header().Set("Content-Length", strconv.Itoa(len(page)))
	SetReason(w, reason)
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = w.Write([]byte(page))
	}
}

// Listener rewrites the status lines of the answers that ask for it.
type Listener struct{ net.Listener }

// Accept wraps the connection.
func (l Listener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return reasonConn{conn}, nil
}

type reasonConn struct{ net.Conn }

// Write finds the header block of an answer: net/http flushes after each answer,
// so a block begins a write and fits into one.
func (c reasonConn) Write(p []byte) (int, error) {
	rewritten, changed := rewrite(p)
	if !changed {
		return c.Conn.Write(p)
	}
	if _, err := c.Conn.Write(rewritten); err != nil {
		return 0, err
	}
	return len(p), nil
}

func rewrite(p []byte) ([]byte, bool) {
	if !bytes.HasPrefix(p, []byte("HTTP/1.")) {
		return nil, false
	}
	head, body, found := bytes.Cut(p, []byte("\r\n\r\n"))
	key := []byte("\r\n" + reasonHeader + ": ")
	at := bytes.Index(head, key)
	if !found || at < 0 {
		return nil, false
	}
	reason, after, _ := bytes.Cut(head[at+len(key):], []byte("\r\n"))
	statusLine, headers, _ := bytes.Cut(head[:at], []byte("\r\n"))
	if string(reason) == noReason {
		reason = nil
	}
	fields := bytes.SplitN(statusLine, []byte(" "), 3)
	var out bytes.Buffer
	fmt.Fprintf(&out, "%s %s %s\r\n", fields[0], fields[1], reason)
	for _, part := range [][]byte{headers, after} {
		if len(part) > 0 {
			out.Write(part)
			out.WriteString("\r\n")
		}
	}
	out.WriteString("\r\n")
	out.Write(body)
	return out.Bytes(), true
}
