package flags_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	flagdata "toots.test/standins/flags"
	"toots.test/standins/internal/flags"
)

func table(t *testing.T, component string) *flags.Table {
	t.Helper()
	loaded, err := flags.LoadTable(flagdata.FS, component)
	if err != nil {
		t.Fatal(err)
	}
	return loaded
}

// The texts are those real 1.11.0 programs print for these arguments.
func TestWrongFlagsAreRefusedInTheRecordedWords(t *testing.T) {
	cases := []struct{ component, arg, want string }{
		{"mesos-master", "--bogus=1", "Failed to load unknown flag 'bogus'"},
		{"mesos-master", "--port=abc", "Failed to load flag 'port': Failed to load value 'abc': Failed to convert into required type"},
		{"mesos-master", "--port=99999", "Failed to load flag 'port': Failed to load value '99999': Failed to convert into required type"},
		{"mesos-master", "--quorum=two", "Failed to load flag 'quorum': Failed to load value 'two': Failed to convert into required type"},
		{"mesos-master", "--registry_store_timeout=5", "Failed to load flag 'registry_store_timeout': Failed to load value '5': Invalid duration '5'"},
		{"mesos-master", "--no-cluster", "Failed to load non-boolean flag 'cluster' via 'no-cluster'"},
		{"mesos-master", "--cluster", "Failed to load non-boolean flag 'cluster': Missing value"},
		{"mesos-master", "--zk=file:///nope", "Failed to load flag 'zk': Failed to load value 'file:///nope': Error reading file '/nope': No such file or directory"},
		{"mesos-agent", "--bogus", "Failed to load unknown flag 'bogus'"},
		{"mesos-agent", "--quiet", "Flag 'work_dir' is required, but it was not provided"},
	}
	for _, c := range cases {
		if _, err := table(t, c.component).Parse([]string{c.arg}, nil); err == nil || err.Error() != c.want {
			t.Errorf("%s %s: got %v, want %s", c.component, c.arg, err, c.want)
		}
	}
	_, err := table(t, "mesos-master").Parse([]string{"--quiet", "--quiet"}, nil)
	if want := "Flag 'quiet' is already loaded via name 'quiet'"; err == nil || err.Error() != want {
		t.Errorf("duplicate: got %v, want %s", err, want)
	}
}

func TestFlagsOfSpecialBuildsAreUnknown(t *testing.T) {
	_, err := table(t, "mesos-agent").Parse([]string{"--work_dir=/w", "--eth0_name=e"}, nil)
	if err == nil || err.Error() != "Failed to load unknown flag 'eth0_name'" {
		t.Errorf("got %v", err)
	}
}

func TestEveryFlagOfTheTablesLoads(t *testing.T) {
	for _, component := range []string{"mesos-master", "mesos-agent"} {
		loaded := table(t, component)
		if len(loaded.Specs) < 70 {
			t.Fatalf("%s has only %d flags", component, len(loaded.Specs))
		}
		for name, spec := range loaded.Specs {
			arg := "--" + name
			if !spec.Bool {
				value := spec.Default
				if value == "" {
					value = "1secs"
				}
				if name == "quorum" {
					value = "2"
				}
				arg += "=" + value
			}
			args := []string{arg}
			if name != "work_dir" {
				args = append(args, "--work_dir=/w")
			}
			if _, err := loaded.Parse(args, nil); err != nil {
				t.Errorf("%s %s: %v", component, arg, err)
			}
		}
	}
}

func TestAFlagBeatsTheEnvironmentAndUnknownVariablesAreIgnored(t *testing.T) {
	environ := []string{"MESOS_CLUSTER=envc", "MESOS_NATIVE_JAVA_LIBRARY=/x", "MESOS_QUIET=", "MESOS_QUORUM=1", "PATH=/bin"}
	values, err := table(t, "mesos-master").Parse([]string{"--cluster=flagc", "ignored"}, environ)
	if err != nil {
		t.Fatal(err)
	}
	if values.Get("cluster") != "flagc" || values.Get("quorum") != "1" || !values.Bool("quiet") {
		t.Errorf("cluster %q quorum %q quiet %v", values.Get("cluster"), values.Get("quorum"), values.Bool("quiet"))
	}
	if _, err := table(t, "mesos-master").Parse(nil, []string{"MESOS_QUORUM=two"}); err == nil {
		t.Error("a bad value in the environment was accepted")
	}
}

func TestNegationAliasesDurationsAndFiles(t *testing.T) {
	file := filepath.Join(t.TempDir(), "zk")
	if err := os.WriteFile(file, []byte("zk://u:secret@h:2181/mesos\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	values, err := table(t, "mesos-master").Parse([]string{"--no-hostname_lookup", "--slave_ping_timeout=2mins", "--zk=file://" + file}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if values.Bool("hostname_lookup") || values.Duration("agent_ping_timeout") != 2*time.Minute {
		t.Errorf("lookup %v, ping %v", values.Bool("hostname_lookup"), values.Duration("agent_ping_timeout"))
	}
	if values.Get("zk") != "zk://u:secret@h:2181/mesos" || values.Shown()["zk"] != file {
		t.Errorf("zk is %q, shown as %q", values.Get("zk"), values.Shown()["zk"])
	}
	if _, err := table(t, "mesos-master").Parse([]string{"--slave_ping_timeout=2mins", "--agent_ping_timeout=1mins"}, nil); err == nil {
		t.Error("alias and flag together were accepted")
	}
}
