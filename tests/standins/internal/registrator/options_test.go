package registrator

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"strings"
	"testing"
)

func TestFlagsAreThoseOfV7(t *testing.T) {
	table, err := os.ReadFile("../../testdata/registrator/flags.tsv")
	if err != nil {
		t.Fatal(err)
	}
	set := Flags(new(Options), new(bytes.Buffer))
	rows := strings.Split(strings.TrimRight(string(table), "\n"), "\n")[1:]
	for _, row := range rows {
		column := strings.Split(row, "\t")
		defined := set.Lookup(column[0])
		if defined == nil {
			t.Errorf("flag %s is missing", column[0])
		} else if defined.DefValue != column[3] {
			t.Errorf("flag %s: default %q, want %q", column[0], defined.DefValue, column[3])
		}
	}
	count := 0
	set.VisitAll(func(*flag.Flag) { count++ })
	if count != len(rows) {
		t.Errorf("%d flags, want %d", count, len(rows))
	}
}

func TestCommandLinesEndAsRecorded(t *testing.T) {
	const uri = "consul://127.0.0.1:8500"
	for _, c := range []struct {
		args  []string
		usage bool
		text  string
	}{
		{[]string{"-nonsense", uri}, true, "flag provided but not defined: -nonsense\nUsage of registrator:\n  registrator [options] <registry URI>\n"},
		{[]string{"-explicit", uri}, true, "flag provided but not defined: -explicit"},
		{[]string{"-resync", "abc", uri}, true, `invalid value "abc" for flag -resync: parse error`},
		{[]string{}, true, "Missing required argument"},
		{[]string{uri, "-cleanup"}, true, "Extra unparsed arguments:"},
		{[]string{"-ttl", "5", uri}, false, "-ttl and -ttl-refresh must be specified together or not at all"},
		{[]string{"-ttl", "5", "-ttl-refresh", "5", uri}, false, "-ttl must be greater than -ttl-refresh"},
		{[]string{"-deregister", "maybe", uri}, false, `-deregister must be "always" or "on-success"`},
		{[]string{"-retry-interval=0", uri}, false, "-retry-interval must be greater than 0"},
	} {
		var output bytes.Buffer
		_, err := Parse(c.args, &output)
		if err == nil || errors.Is(err, ErrUsage) != c.usage {
			t.Errorf("%v: error %v", c.args, err)
			continue
		}
		if text := output.String() + err.Error(); !strings.Contains(text, c.text) {
			t.Errorf("%v: %q lacks %q", c.args, text, c.text)
		}
	}
	options, err := Parse([]string{"-cleanup", "--ip=10.0.0.1", "-resync", "30", uri}, new(bytes.Buffer))
	if err != nil || !options.Cleanup || options.IP != "10.0.0.1" || options.Resync != 30 || options.URI != uri {
		t.Errorf("got %+v, %v", options, err)
	}
}
