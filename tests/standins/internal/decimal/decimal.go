// Package decimal prints numbers as the JSON of Scala programs does: a floating
// point number always has a fraction.
package decimal

import (
	"strconv"
	"strings"
)

// Float prints 32 as 32.0.
type Float float64

// MarshalJSON writes the text of String.
func (f Float) MarshalJSON() ([]byte, error) { return []byte(f.String()), nil }

// String is the same text, which also appears in a task's environment.
func (f Float) String() string {
	text := strconv.FormatFloat(float64(f), 'f', -1, 64)
	if !strings.Contains(text, ".") {
		text += ".0"
	}
	return text
}
