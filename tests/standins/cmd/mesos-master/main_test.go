package main

import (
	"errors"
	"net"
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

// Arguments, exit codes and messages as recorded from mesos-master 1.11.0.
func TestWrongFlagsEndAsRecorded(t *testing.T) {
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	_, taken, _ := net.SplitHostPort(busy.Addr().String())
	work, here := "--work_dir="+t.TempDir(), "--ip=127.0.0.1"
	zk, free := "--zk=zk://127.0.0.1:1/mesos", "--port=0"
	cases := []struct {
		args []string
		code int
		want string
	}{
		{[]string{"--version"}, 0, "mesos 1.11.0 (toots stand-in)"},
		{[]string{"--help"}, 0, "Usage: mesos-master [options]"},
		{[]string{work, here, free, "--bogus=1"}, 1, "Failed to load unknown flag 'bogus'\n\nSee `mesos-master --help` for a list of supported flags."},
		{[]string{here, free}, 1, "EXIT with status 1: --work_dir needed for replicated log based registry"},
		{[]string{work, here, free, zk}, 1, "EXIT with status 1: Need to specify --quorum for replicated log based registry when using ZooKeeper"},
		{[]string{work, "--ip=300.1.2.3", free}, 1, "Failed to parse IP as either IPv4 or IPv6:300.1.2.3"},
		{[]string{work, "--ip=203.0.113.9", free}, 134, "Failed to bind on 203.0.113.9:0: Cannot assign requested address"},
		{[]string{work, here, "--port=" + taken}, 134, "Address already in use"},
		{[]string{work, here, free, zk, "--quorum=0"}, 134, "CHECK_SOME(lowestBeginPosition): is NONE"},
		{[]string{work, here, free, "--quorum=1", "--zk=127.0.0.1:1/mesos"}, 1, "Error parsing ZooKeeper URL: Expecting 'zk://' at the beginning of the URL"},
		{[]string{work, here, free, "--quorum=1", "--zk=zk://127.0.0.1:1"}, 1, "Failed to create a master contender: Expecting a (chroot) path for ZooKeeper ('/' is not supported)"},
		{[]string{work, here, free, "--agent_ping_timeout=0secs"}, 1, "Expected `--agent_ping_timeout` to be between 1secs and 15mins"},
		{[]string{work, here, free, "--registry=foo"}, 1, "'foo' is not a supported option for registry persistence"},
		{[]string{"--work_dir=/proc/x", here, free}, 1, "Failed to create work directory '/proc/x': No such file or directory"},
		{[]string{work, here, free, "--credentials=/nope"}, 1, "Failed to read credentials file '/nope': No such file or directory (see --credentials flag)"},
		{[]string{work, here, free, "--agent_reregister_timeout=1mins"}, 1, "Invalid value '1mins' for --agent_reregister_timeout: Must be at least 10mins"},
		{[]string{work, here, free, "--ip_discovery_command=true"}, 1, "Only one of `--ip` or `--ip_discovery_command` should be specified"},
	}
	for _, c := range cases {
		code, output := play(t, c.args...)
		if code != c.code || !strings.Contains(output, c.want) {
			t.Errorf("%v: exit %d, want %d with %q; it said\n%s", c.args, code, c.code, c.want, output)
		}
	}
}
