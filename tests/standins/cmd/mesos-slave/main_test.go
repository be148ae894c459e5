package main

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// TestMain runs the program itself on request, so that tests see its exit codes.
func TestMain(m *testing.M) {
	if os.Getenv("STANDIN_PLAY") != "" {
		main()
	}
	os.Exit(m.Run())
}

func play(t *testing.T, args ...string) (code int, output string) {
	t.Helper()
	command := exec.Command(os.Args[0], args...)
	command.Env = append(os.Environ(), "STANDIN_PLAY=1")
	text, err := command.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return command.ProcessState.ExitCode(), string(text)
}

// Arguments, exit codes and messages as recorded from mesos-agent 1.11.0.
func TestWrongFlagsEndAsRecorded(t *testing.T) {
	base := []string{"--work_dir=" + t.TempDir(), "--ip=127.0.0.1", "--port=0", "--no-systemd_enable_support"}
	master := "--master=127.0.0.1:1"
	cases := []struct {
		args []string
		code int
		want string
	}{
		{nil, 1, "EXIT with status 1: Missing required option `--master` or `--master_detector`"},
		{[]string{master, "--bogus"}, 1, "Failed to load unknown flag 'bogus'"},
		{[]string{master, "--isolation=nonsense"}, 1, "Could not create MesosContainerizer: Unknown or unsupported isolator 'nonsense'"},
		{[]string{master, "--containerizers=foo"}, 1, "Failed to create a containerizer: Unknown or unsupported containerizer: foo"},
		{[]string{master, "--resources=cpus:two"}, 1, "Failed to determine agent resources: Bad type for resource cpus value two type TEXT"},
		{[]string{master, "--attributes=rack"}, 134, "Invalid attribute key:value pair 'rack'"},
		{[]string{"--master=zk://"}, 1, "Failed to create a master detector: Expecting a (chroot) path for ZooKeeper ('/' is not supported)"},
		{[]string{"--master=127.0.0.13"}, 1, "Failed to create a master detector: Failed to parse '127.0.0.13'"},
		{[]string{master, "--reconfiguration_policy=any"}, 1, "Unknown option for 'reconfiguration_policy' flag any."},
	}
	for _, c := range cases {
		code, output := play(t, append(append([]string{}, base...), c.args...)...)
		if code != c.code || !strings.Contains(output, c.want) {
			t.Errorf("%v: exit %d, want %d with %q; it said\n%s", c.args, code, c.code, c.want, output)
		}
	}
	if code, output := play(t, master, "--ip=127.0.0.1"); code != 1 || !strings.Contains(output, "Flag 'work_dir' is required, but it was not provided") {
		t.Errorf("without work_dir: exit %d\n%s", code, output)
	}
}
