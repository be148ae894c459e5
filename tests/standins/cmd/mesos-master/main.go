// The stand-in for mesos-master 1.11.0: used in the lab where the real image is not available.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"toots.test/standins/internal/flags"
	"toots.test/standins/internal/mesos"
	"toots.test/standins/internal/mesos/master"
	"toots.test/standins/internal/zkgroup"
)

const program = "mesos-master"

func main() {
	mesos.ExitOnTerminate()
	values := mesos.LoadFlags(program, program)
	if ping := values.Duration("agent_ping_timeout"); ping < time.Second || ping > 15*time.Minute {
		fmt.Fprintf(os.Stderr, "Expected `--agent_ping_timeout` to be between 1secs and 15mins\n\nSee `%s --help` for a list of supported flags.\n", program)
		os.Exit(1)
	}
	mesos.Announce(program)
	shown := values.Shown()
	ip := discovered(values)
	own, hostname := mesos.OwnAddress(values)
	if ip != "" {
		own = ip
	}
	port, _ := strconv.Atoi(values.Get("port"))
	reserve := mesos.Reserve(own, port)
	replica, quorum := openLog(values)
	url := zookeeper(values)
	check(values)
	address := own + ":" + strconv.Itoa(port)
	peers := master.NewHTTPPeers(address)
	config := master.Config{
		Flags: shown, IP: own, Hostname: hostname, Port: port, Cluster: values.Get("cluster"),
		PingTimeout: values.Duration("agent_ping_timeout"), MaxPings: number(values, "max_agent_ping_timeouts"),
		Reregister: values.Duration("agent_reregister_timeout"), Allocation: values.Duration("allocation_interval"),
		Fetch: values.Duration("registry_fetch_timeout"), Store: values.Duration("registry_store_timeout"),
		FetchText: values.Get("registry_fetch_timeout"), StoreText: values.Get("registry_store_timeout"),
		Replica: replica, Peers: peers, Ensemble: peers.Size, Quorum: quorum,
		MaxCompleted: number(values, "max_completed_tasks_per_framework"), MaxCompletedFW: number(values, "max_completed_frameworks"),
	}
	if advertised := values.Get("advertise_ip"); advertised != "" {
		config.IP = advertised
	}
	standin := master.New(config)
	reserve(standin.Handler())
	if url == nil {
		info := standin.Info()
		go master.RecoverReplica(replica, peers, quorum, values.Bool("log_auto_initialize"))
		standin.Detected(&info)
	} else {
		elect(standin, *url, values, peers, address)
		go master.RecoverReplica(replica, peers, quorum, values.Bool("log_auto_initialize"))
	}
	select {}
}

func number(values *flags.Values, name string) int {
	value, _ := strconv.Atoi(values.Get(name)) // checked when loaded
	return value
}

// discovered runs --ip_discovery_command.
func discovered(values *flags.Values) string {
	command := values.Get("ip_discovery_command")
	if command == "" {
		return ""
	}
	if values.Given("ip") {
		mesos.Exit("Only one of `--ip` or `--ip_discovery_command` should be specified")
	}
	output, err := exec.Command("sh", "-c", command).Output()
	if err != nil {
		mesos.Exit("Failed to execute '%s'; the command was either not found or exited with a non-zero exit status: 1", command)
	}
	return strings.TrimSpace(string(output))
}

// openLog checks the flags of the registry in the real program's order and opens the log.
func openLog(values *flags.Values) (*master.Replica, int) {
	mesos.Log("I", "Using 'hierarchical' allocator")
	switch registry := values.Get("registry"); registry {
	case "in_memory":
		return master.MemoryReplica(), 1
	case "replicated_log":
	default:
		mesos.Exit("'%s' is not a supported option for registry persistence", registry)
	}
	workDir := values.Get("work_dir")
	if workDir == "" {
		mesos.Exit("--work_dir needed for replicated log based registry")
	}
	if err := os.MkdirAll(workDir, 0o755); err != nil {
		mesos.Exit("Failed to create work directory '%s': %s", workDir, flags.Reason(err))
	}
	quorum := 1
	if values.Get("zk") != "" {
		if !values.Given("quorum") {
			mesos.Exit("Need to specify --quorum for replicated log based registry when using ZooKeeper")
		}
		if _, err := zkgroup.ParseURL(values.Get("zk")); err != nil {
			mesos.Exit("Error parsing ZooKeeper URL: %v", err)
		}
		quorum = number(values, "quorum")
	}
	if quorum == 0 {
		mesos.Abort("CHECK_SOME(lowestBeginPosition): is NONE ")
	}
	replica, err := master.OpenReplica(workDir)
	if err != nil {
		mesos.Exit("Failed to recover the log: %v", err)
	}
	return replica, quorum
}

func zookeeper(values *flags.Values) *zkgroup.URL {
	if values.Get("zk") == "" {
		return nil
	}
	url, err := zkgroup.ParseURL(values.Get("zk"))
	if err == nil && url.Path == "/" {
		err = zkgroup.ErrNoPath
	}
	if err != nil {
		mesos.Exit("Failed to create a master contender: %v", err)
	}
	return &url
}

// check refuses what the real master refuses once it runs.
func check(values *flags.Values) {
	if values.Duration("agent_reregister_timeout") < 10*time.Minute {
		mesos.Exit("Invalid value '%s' for --agent_reregister_timeout: Must be at least 10mins", values.Get("agent_reregister_timeout"))
	}
	if path := strings.TrimPrefix(values.Get("credentials"), "file://"); values.Given("credentials") {
		if _, err := os.Stat(path); err != nil && strings.HasPrefix(path, "/") {
			mesos.Exit("Failed to read credentials file '%s': %s (see --credentials flag)", path, flags.Reason(err))
		}
	}
	for flag, realm := range map[string]string{"authenticate_http_readonly": "mesos-master-readonly", "authenticate_http_readwrite": "mesos-master-readwrite"} {
		if values.Bool(flag) && !values.Given("credentials") {
			mesos.Exit("Failed to create HTTP authenticator module 'basic': No credentials provided for the default 'basic' HTTP authenticator for realm '%s'", realm)
		}
	}
}

// elect joins the masters and the log replicas in ZooKeeper and follows who leads.
func elect(standin *master.Master, url zkgroup.URL, values *flags.Values, peers *master.HTTPPeers, address string) {
	client, err := zkgroup.Connect(url, values.Duration("zk_session_timeout"))
	if err != nil {
		mesos.Exit("Failed to create a master contender: %v", err)
	}
	info, err := json.Marshal(standin.Info())
	if err != nil {
		mesos.Abort("%v", err)
	}
	client.OnLost(func() {
		mesos.Log("W", "Lost the ZooKeeper session")
		peers.Set([]string{"log-replica(1)@" + address}) // only itself
		standin.Detected(nil)
	})
	client.Join("/log_replicas", "", []byte("log-replica(1)@"+address), func(string) {}, func(string) {})
	client.Watch("/log_replicas", "", func(members []zkgroup.Member) {
		var pids []string
		for _, member := range members {
			pids = append(pids, string(member.Data))
		}
		peers.Set(pids)
	})
	joined := func(name string) { mesos.Log("I", "New candidate %s has entered the contest for leadership", name) }
	client.Join("", "json.info", info, joined, func(string) { standin.LostCandidacy() })
	client.Watch("", "json.info", func(members []zkgroup.Member) {
		if len(members) == 0 {
			standin.Detected(nil)
			return
		}
		var leader mesos.MasterInfo
		if err := json.Unmarshal(members[0].Data, &leader); err != nil {
			mesos.Log("E", "Failed to parse the leader's info %s: %v", members[0].Name, err)
			return
		}
		standin.Detected(&leader)
	})
}
