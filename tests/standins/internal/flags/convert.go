package flags

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"
)

var (
	durationForm = regexp.MustCompile(`^([0-9]+(?:\.[0-9]+)?)([a-z]+)$`)
	units        = map[string]time.Duration{
		"ns": time.Nanosecond, "us": time.Microsecond, "ms": time.Millisecond, "secs": time.Second, "mins": time.Minute,
		"hrs": time.Hour, "days": 24 * time.Hour, "weeks": 7 * 24 * time.Hour,
	}
	// The tables tell no type; these are the numbers and durations a default does not give away.
	unsigned  = map[string]int{"port": 16, "quorum": 64, "perf_duration": 0}
	durations = map[string]bool{"offer_timeout": true, "executor_reregistration_retry_interval": true}
)

var errConvert = errors.New("Failed to convert into required type")

// ParseDuration reads a stout duration: a number and one of ns us ms secs mins hrs days weeks.
func ParseDuration(text string) (time.Duration, error) {
	parts := durationForm.FindStringSubmatch(text)
	if parts == nil {
		return 0, fmt.Errorf("Invalid duration '%s'", text)
	}
	unit, known := units[parts[2]]
	if !known {
		return 0, fmt.Errorf("Unknown duration unit '%s'", parts[2])
	}
	number, err := strconv.ParseFloat(parts[1], 64)
	if err != nil {
		return 0, fmt.Errorf("Invalid duration '%s'", text)
	}
	return time.Duration(number * float64(unit)), nil
}

// Duration is a flag's value as a duration; flags are checked when loaded, so a bad one is zero.
func (v *Values) Duration(name string) time.Duration {
	duration, _ := ParseDuration(v.Get(name))
	return duration
}

func convert(spec Spec, text string) (string, error) {
	if path, isFile := strings.CutPrefix(text, "file://"); isFile && !spec.Bool {
		content, err := os.ReadFile(path)
		if err != nil {
			return "", fmt.Errorf("Error reading file '%s': %s", path, Reason(err))
		}
		text = strings.TrimSpace(string(content))
	}
	_, isDuration := ParseDuration(spec.Default)
	switch {
	case spec.Bool:
		return convertBool(text)
	case durations[spec.Name] || isDuration == nil:
		_, err := ParseDuration(text)
		return text, err
	case unsigned[spec.Name] > 0:
		return text, convertUnsigned(text, unsigned[spec.Name])
	case isInteger(spec.Default) && convertUnsigned(text, 64) != nil:
		return "", errConvert
	}
	return text, nil
}

func convertBool(text string) (string, error) {
	switch text {
	case "true", "1":
		return "true", nil
	case "false", "0":
		return "false", nil
	}
	return "", fmt.Errorf("Expecting a boolean (e.g., true or false)")
}

func convertUnsigned(text string, bits int) error {
	if _, err := strconv.ParseUint(text, 10, bits); err != nil {
		return errConvert
	}
	return nil
}

func isInteger(text string) bool { return text != "" && convertUnsigned(text, 64) == nil }

// Reason is the cause of a file error as strerror spells it.
func Reason(err error) string {
	var path *os.PathError
	if !errors.As(err, &path) {
		return err.Error()
	}
	text := path.Err.Error()
	return strings.ToUpper(text[:1]) + text[1:]
}
