// Package exits starts the frameworks' binaries and compares how they end with
// what was recorded of the real programs.
package exits

import (
	"bytes"
	"errors"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"
)

func build(t *testing.T, name string) string {
	t.Helper()
	binary := t.TempDir() + "/" + name
	output, err := exec.Command("go", "build", "-o", binary, "toots.test/standins/cmd/"+name).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	return binary
}

// run waits for the end, at most for the limit; -1 is a program that still ran.
func run(t *testing.T, limit time.Duration, binary string, args ...string) (int, string, string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	command := exec.Command(binary, args...)
	command.Stdout, command.Stderr = &stdout, &stderr
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	timer := time.AfterFunc(limit, func() { _ = command.Process.Kill() })
	defer timer.Stop()
	err := command.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return command.ProcessState.ExitCode(), stdout.String(), stderr.String()
}

func TestFlagsEndTheProgramsAsRecorded(t *testing.T) {
	marathon, chronos, registrator := build(t, "marathon"), build(t, "chronos"), build(t, "registrator")
	const consul = "consul://127.0.0.1:1"
	for _, c := range []struct {
		binary         string
		args           string
		code           int
		stdout, stderr string
	}{
		{marathon, "--zk zk://127.0.0.1:1/marathon", 1, "", "[scallop] Error: Required option 'master' not found\n"},
		{marathon, "--master m --no_such_flag x", 1, "", "[scallop] Error: Unknown option 'no_such_flag'\n"},
		{marathon, "--master m --zk zk://127.0.0.1:1/marathon --zk_connection_timeout 300", 100, "Failed to connect to ZK. Marathon will exit now.", ""},
		{chronos, "--no_such_flag x", 1, "[scallop] Error: Unknown option 'no_such_flag'\n", ""},
		{chronos, "--zk_hosts 127.0.0.1:1", -1, "toots stand-in for Chronos", ""},
		{registrator, "-nonsense " + consul, 2, "", "flag provided but not defined: -nonsense\n"},
		{registrator, "-ttl 5 " + consul, 1, "-ttl and -ttl-refresh must be specified together or not at all\n", ""},
		{registrator, consul, 1, "Connecting to backend (0/0)\n", ""},
		{registrator, "-retry-attempts 2 -retry-interval 10 " + consul, 1, "Connecting to backend (2/2)\n", ""},
	} {
		code, stdout, stderr := run(t, 2*time.Second, c.binary, strings.Fields(c.args)...)
		if code != c.code || !strings.Contains(stdout, c.stdout) || !strings.Contains(stderr, c.stderr) {
			t.Errorf("%s %s: exit %d, want %d\nstdout %s\nstderr %s", c.binary, c.args, code, c.code, stdout, stderr)
		}
	}
	t.Setenv("MARATHON_NO_SUCH_FLAG", "1")
	if code, _, stderr := run(t, time.Second, marathon, "--master", "m"); code != 1 || !strings.Contains(stderr, "Unknown option 'no_such_flag'") {
		t.Errorf("a flag of the environment: exit %d, %s", code, stderr)
	}
}

// TestPortInUse needs a ZooKeeper: STANDINS_ZOOKEEPER=host:port.
func TestPortInUse(t *testing.T) {
	server := os.Getenv("STANDINS_ZOOKEEPER")
	if server == "" {
		t.Skip("skipped: STANDINS_ZOOKEEPER names no ZooKeeper")
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	port := strconv.Itoa(listener.Addr().(*net.TCPAddr).Port)
	marathon, chronos := build(t, "marathon"), build(t, "chronos")
	args := []string{"--master", "zk://" + server + "/none", "--http_address", "127.0.0.1", "--http_port", port}
	if code, _, _ := run(t, 5*time.Second, marathon, append(args, "--zk", "zk://"+server+"/exits-marathon")...); code != 111 {
		t.Errorf("marathon: exit %d, recorded 111", code)
	}
	if code, _, _ := run(t, 5*time.Second, chronos, append(args, "--zk_hosts", server, "--zk_path", "/exits-chronos")...); code != 1 {
		t.Errorf("chronos: exit %d, recorded 1", code)
	}
}

// TestElection starts one Marathon and looks at its node, then ends it.
func TestElection(t *testing.T) {
	server := os.Getenv("STANDINS_ZOOKEEPER")
	if server == "" {
		t.Skip("skipped: STANDINS_ZOOKEEPER names no ZooKeeper")
	}
	conn, _, err := zk.Connect([]string{server}, 10*time.Second, zk.WithLogInfo(false))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	command := exec.Command(build(t, "marathon"), "--master", "zk://"+server+"/none", "--zk", "zk://"+server+"/exits-election",
		"--http_address", "127.0.0.1", "--http_port", "0", "--hostname", "127.0.0.1")
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	const dir = "/exits-election/leader-curator"
	var children []string
	for deadline := time.Now().Add(5 * time.Second); len(children) == 0 && time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		children, _, _ = conn.Children(dir)
	}
	if len(children) != 1 || !strings.HasPrefix(children[0], "_c_") || !strings.Contains(children[0], "-latch-00000") {
		t.Fatalf("children %v", children)
	}
	if data, _, err := conn.Get(dir + "/" + children[0]); err != nil || string(data) != "127.0.0.1:0" {
		t.Errorf("data %q, %v", data, err)
	}
	_ = command.Process.Signal(os.Interrupt)
	_ = command.Wait()
	if code := command.ProcessState.ExitCode(); code != 130 {
		t.Errorf("exit %d", code)
	}
	if left, _, _ := conn.Children(dir); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}
