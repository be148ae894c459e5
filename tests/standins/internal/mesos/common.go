package mesos

import (
	"net/http"
)

// Common serves what libprocess itself serves in master and agent alike; false if the path is none of these.
func Common(w http.ResponseWriter, r *http.Request, path string) bool {
	switch path {
	case "/logging/toggle":
		serveToggle(w, r)
	case "/files/debug":
		JSON(w, r, map[string]any{})
	case "/files/browse":
		Text(w, http.StatusBadRequest, "Expecting 'path=value' in query.")
	case "/__processes__":
		JSON(w, r, []map[string]any{{"events": []any{}, "id": "standin"}})
	default:
		return false
	}
	return true
}

func serveToggle(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	switch {
	case query.Get("level") == "" && query.Get("duration") == "":
		Text(w, http.StatusOK, "0\n")
	case query.Get("level") == "":
		Text(w, http.StatusBadRequest, "Expecting 'level=value' in query.\n")
	case query.Get("duration") == "":
		Text(w, http.StatusBadRequest, "Expecting 'duration=value' in query.\n")
	default:
		Empty(w, http.StatusOK)
	}
}
