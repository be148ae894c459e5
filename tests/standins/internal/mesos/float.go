// Package mesos holds what the stand-ins for the Mesos master and agent share: the JSON of the protobuf messages,
// resources, answers in libprocess' manner, build facts, and the ways to end.
package mesos

import (
	"strconv"
	"strings"
	"time"
)

// Float is a number that always shows a fraction in JSON, as Mesos prints doubles: readers may tell 1.0 from 1.
type Float float64

// MarshalJSON prints 1 as 1.0.
func (f Float) MarshalJSON() ([]byte, error) {
	text := strconv.FormatFloat(float64(f), 'f', -1, 64)
	if !strings.Contains(text, ".") {
		text += ".0"
	}
	return []byte(text), nil
}

// Seconds is a time as seconds since the epoch.
func Seconds(at time.Time) Float {
	if at.IsZero() {
		return 0
	}
	return Float(float64(at.UnixNano()/1000) / 1e6)
}

// Nanos is a time in the v1 API.
type Nanos struct {
	Nanoseconds int64 `json:"nanoseconds"`
}

// NanosOf converts a time.
func NanosOf(at time.Time) Nanos { return Nanos{at.UnixNano()} }
