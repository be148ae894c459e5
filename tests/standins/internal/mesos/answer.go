package mesos

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

// Text answers plain text as libprocess does.
func Text(w http.ResponseWriter, status int, body string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	write(w, status, body)
}

// Empty answers a status without a body.
func Empty(w http.ResponseWriter, status int) { write(w, status, "") }

// NotFound is libprocess' 404.
func NotFound(w http.ResponseWriter) { Text(w, http.StatusNotFound, "404 Not Found.") }

// MethodNotAllowed is libprocess' 405.
func MethodNotAllowed(w http.ResponseWriter, allowed, got string) {
	w.Header().Set("Allow", allowed)
	Text(w, http.StatusMethodNotAllowed, fmt.Sprintf("405 Method Not Allowed. Expecting one of { '%s' }, but received '%s'.", allowed, got))
}

// JSON answers a document; with ?jsonp=f it is wrapped in a call of f.
func JSON(w http.ResponseWriter, r *http.Request, value any) {
	body, err := Encode(value)
	if err != nil {
		Text(w, http.StatusInternalServerError, err.Error())
		return
	}
	if callback := r.URL.Query().Get("jsonp"); callback != "" {
		w.Header().Set("Content-Type", "text/javascript")
		write(w, http.StatusOK, callback+"("+body+");")
		return
	}
	w.Header().Set("Content-Type", "application/json")
	write(w, http.StatusOK, body)
}

// Encode is JSON without Go's escaping of <, > and &.
func Encode(value any) (string, error) {
	var text strings.Builder
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(value)
	return strings.TrimSuffix(text.String(), "\n"), err
}

func write(w http.ResponseWriter, status int, body string) {
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write([]byte(body))
}

var knownMethods = map[string]bool{"GET": true, "HEAD": true, "POST": true, "PUT": true, "DELETE": true, "OPTIONS": true, "PATCH": true,
	"CONNECT": true, "TRACE": true}

// Guard closes the connection on a method libprocess' parser does not know, and folds a leading `//`.
func Guard(next http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !knownMethods[r.Method] {
			if hijacker, ok := w.(http.Hijacker); ok {
				if connection, _, err := hijacker.Hijack(); err == nil {
					_ = connection.Close()
					return
				}
			}
			panic(http.ErrAbortHandler)
		}
		for strings.HasPrefix(r.URL.Path, "//") {
			r.URL.Path = r.URL.Path[1:]
		}
		next(w, r)
	})
}
