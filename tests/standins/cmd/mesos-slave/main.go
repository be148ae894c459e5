// The stand-in for mesos-slave (mesos-agent) 1.11.0: used in the lab where the real image is not available.
package main

import (
	"encoding/json"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"toots.test/standins/internal/docker"
	"toots.test/standins/internal/flags"
	"toots.test/standins/internal/mesos"
	"toots.test/standins/internal/mesos/agent"
	"toots.test/standins/internal/zkgroup"
)

func main() {
	mesos.ExitOnTerminate()
	values := mesos.LoadFlags("mesos-agent", filepath.Base(os.Args[0]))
	mesos.Announce("mesos-agent")
	if !values.Given("master") && !values.Given("master_detector") {
		mesos.Exit("Missing required option `--master` or `--master_detector`")
	}
	ip, hostname := mesos.OwnAddress(values)
	port, _ := strconv.Atoi(values.Get("port"))
	reserve := mesos.Reserve(ip, port)
	systemd(values)
	containerizers(values)
	watch := detector(values)
	if err := os.MkdirAll(values.Get("work_dir"), 0o755); err != nil {
		mesos.Exit("Failed to create work directory '%s': %s", values.Get("work_dir"), flags.Reason(err))
	}
	attributes, err := agent.ParseAttributes(values.Get("attributes"))
	if err != nil {
		mesos.Abort("%v", err)
	}
	resources, err := agent.Resources(values.Get("resources"), values.Get("work_dir"))
	if err != nil {
		mesos.Exit("Failed to determine agent resources: %v", err)
	}
	if advertised := values.Get("advertise_ip"); advertised != "" {
		ip = advertised
	}
	logins, err := docker.ParseLogins(values.Get("docker_config"))
	if err != nil {
		mesos.Exit("Failed to load docker config: %v", err)
	}
	standin := agent.New(agent.Config{
		Flags: values.Shown(), IP: ip, Hostname: hostname, Port: port, WorkDir: values.Get("work_dir"), Policy: values.Get("reconfiguration_policy"),
		Info:   mesos.AgentInfo{Hostname: hostname, Port: port, Resources: resources, Attributes: attributes, Checkpoint: true},
		Docker: enabled(values, "docker"), Mesos: enabled(values, "mesos"), Containers: values.Get("containerizers"),
		DockerSocket: values.Get("docker_socket"), Logins: logins, SandboxDir: values.Get("sandbox_directory"),
		// The lab's package has the vendor's name for the program.
		ClusterD: filepath.Base(os.Args[0]) == "mesos-agent",
	})
	reserve(standin.Handler())
	leaveOnUser1(standin)
	standin.Start()
	watch(standin)
	select {}
}

func leaveOnUser1(standin *agent.Agent) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGUSR1)
	go func() {
		<-signals
		standin.Leave()
	}()
}

// systemd refuses as the real program where systemd is the machine's init but its folder is not there.
func systemd(values *flags.Values) {
	folder := values.Get("systemd_runtime_directory")
	init, _ := filepath.EvalSymlinks("/sbin/init")
	if !values.Bool("systemd_enable_support") || !strings.Contains(init, "systemd") {
		return
	}
	if _, err := os.Stat(folder); err != nil {
		mesos.Exit("Failed to initialize systemd: Failed to locate systemd runtime directory: %s", folder)
	}
}

func enabled(values *flags.Values, containerizer string) bool {
	for _, one := range strings.Split(values.Get("containerizers"), ",") {
		if one == containerizer {
			return true
		}
	}
	return false
}

// isolators of a usual Linux build.
var isolators = map[string]bool{"posix/cpu": true, "posix/mem": true, "posix/disk": true, "posix/rlimits": true, "disk/du": true, "environment_secret": true,
	"filesystem/posix": true, "filesystem/linux": true, "filesystem/shared": true, "volume/sandbox_path": true, "volume/host_path": true, "volume/image": true,
	"volume/secret": true, "volume/csi": true, "cgroups/all": true, "cgroups/blkio": true, "cgroups/cpu": true, "cgroups/cpuset": true, "cgroups/devices": true,
	"cgroups/hugetlb": true, "cgroups/mem": true, "cgroups/net_cls": true, "cgroups/net_prio": true, "cgroups/perf_event": true, "cgroups/pids": true,
	"appc/runtime": true, "docker/runtime": true, "docker/volume": true, "linux/capabilities": true, "linux/devices": true, "linux/nnp": true,
	"namespaces/ipc": true, "namespaces/pid": true, "network/cni": true, "gpu/nvidia": true}

func containerizers(values *flags.Values) {
	for _, one := range strings.Split(values.Get("containerizers"), ",") {
		if one != "mesos" && one != "docker" {
			mesos.Exit("Failed to create a containerizer: Unknown or unsupported containerizer: %s", one)
		}
	}
	for _, one := range strings.Split(values.Get("isolation"), ",") {
		if enabled(values, "mesos") && !isolators[one] {
			mesos.Exit("Failed to create a containerizer: Could not create MesosContainerizer: Unknown or unsupported isolator '%s'", one)
		}
	}
}

// detector checks --master and gives what follows the leading master: through ZooKeeper, or a fixed address.
func detector(values *flags.Values) func(*agent.Agent) {
	text := values.Get("master")
	if !strings.HasPrefix(text, "zk://") {
		return fixed(text)
	}
	url, err := zkgroup.ParseURL(text)
	if err == nil && url.Path == "/" {
		err = zkgroup.ErrNoPath
	}
	if err != nil {
		mesos.Exit("Failed to create a master detector: %v", err)
	}
	return func(standin *agent.Agent) {
		client, err := zkgroup.Connect(url, values.Duration("zk_session_timeout"))
		if err != nil {
			mesos.Exit("Failed to create a master detector: %v", err)
		}
		client.OnLost(func() { standin.Detected(nil) })
		client.Watch("", "json.info", func(members []zkgroup.Member) {
			var leader mesos.MasterInfo
			if len(members) == 0 || json.Unmarshal(members[0].Data, &leader) != nil {
				standin.Detected(nil)
				return
			}
			standin.Detected(&leader.Address)
		})
	}
}

func fixed(text string) func(*agent.Agent) {
	host, port, err := net.SplitHostPort(strings.TrimPrefix(text, "master@"))
	number, parseErr := strconv.Atoi(port)
	addresses, lookupErr := net.LookupHost(host)
	if err != nil || parseErr != nil || lookupErr != nil || len(addresses) == 0 {
		mesos.Exit("Failed to create a master detector: Failed to parse '%s'", text)
	}
	return func(standin *agent.Agent) {
		standin.Detected(&mesos.Address{Hostname: host, IP: addresses[0], Port: number})
	}
}
