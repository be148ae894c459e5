package chronos

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Schedule is R[n]/start/period; Repeats below 0 is forever.
type Schedule struct {
	Repeats int
	Start   time.Time
	period  string
}

const stampForm = "2006-01-02T15:04:05.000Z"

var (
	repeats = regexp.MustCompile(`^R(\d*)$`)
	period  = regexp.MustCompile(`^P(?:(\d+)Y)?(?:(\d+)M)?(?:(\d+)W)?(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?)?$`)
)

// ParseSchedule reads a schedule; an empty start is now.
func ParseSchedule(text string, now time.Time) (Schedule, error) {
	bad := fmt.Errorf("Cannot parse schedule '%s' (wtf bro)", text)
	parts := strings.Split(text, "/")
	if len(parts) != 3 {
		return Schedule{}, bad
	}
	count := repeats.FindStringSubmatch(parts[0])
	if count == nil || !period.MatchString(parts[2]) || len(parts[2]) < 3 {
		return Schedule{}, bad
	}
	s := Schedule{Repeats: -1, Start: now, period: parts[2]}
	if count[1] != "" {
		n, err := strconv.Atoi(count[1])
		if err != nil {
			return Schedule{}, bad
		}
		s.Repeats = n
	}
	if parts[1] != "" {
		start, err := parseTime(parts[1])
		if err != nil {
			return Schedule{}, bad
		}
		s.Start = start
	}
	return s, nil
}

func parseTime(text string) (time.Time, error) {
	var failure error
	for _, form := range []string{time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02T15:04", "2006-01-02"} {
		t, err := time.Parse(form, text)
		if err == nil {
			return t.UTC(), nil
		}
		failure = err
	}
	return time.Time{}, failure
}

// String is the form that Chronos shows after a run.
func (s Schedule) String() string {
	count := "R"
	if s.Repeats >= 0 {
		count += strconv.Itoa(s.Repeats)
	}
	return count + "/" + s.Start.UTC().Format(stampForm) + "/" + s.period
}

// Due reports whether a run is to begin.
func (s Schedule) Due(now time.Time) bool { return s.Repeats != 0 && !now.Before(s.Start) }

// Next is the schedule after a run; runs that were missed are left out.
func (s Schedule) Next(now time.Time) Schedule {
	if s.Repeats > 0 {
		s.Repeats--
	}
	for {
		after := s.add()
		if !after.After(s.Start) { // a period of nothing runs once
			s.Repeats = 0
			return s
		}
		s.Start = after
		if s.Start.After(now) {
			return s
		}
	}
}

func (s Schedule) add() time.Time {
	field := period.FindStringSubmatch(s.period)
	number := func(n int) int {
		value, _ := strconv.Atoi(field[n])
		return value
	}
	seconds, _ := strconv.ParseFloat("0"+field[7], 64)
	clock := time.Duration(number(5))*time.Hour + time.Duration(number(6))*time.Minute + time.Duration(seconds*float64(time.Second))
	return s.Start.AddDate(number(1), number(2), 7*number(3)+number(4)).Add(clock)
}
