package marathon

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"os/user"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/go-zookeeper/zk"

	"toots.test/standins/internal/framework"
	"toots.test/standins/internal/jetty"
	"toots.test/standins/internal/latch"
	"toots.test/standins/internal/scallop"
)

// Exit codes as in core/base/CrashStrategy.scala.
const (
	exitFlags          = 1
	exitZKConnect      = 100
	exitZKLost         = 101
	exitLeadershipLost = 103
	exitElectionFault  = 104
	exitUncaught       = 107
	exitBind           = 111
)

var zkURL = regexp.MustCompile(`^zk://([^/@]*@)?([^/,:]+(:\d+)?(,[^/,:]+(:\d+)?)*)(/[^/]+)+$`)

// Arguments puts MARATHON_* of the environment before the command line.
func Arguments(environ, args []string) []string {
	var all []string
	for _, entry := range environ {
		name, value, _ := strings.Cut(entry, "=")
		flag, ours := strings.CutPrefix(name, "MARATHON_")
		if !ours || strings.HasPrefix(flag, "APP_") {
			continue
		}
		all = append(all, "--"+strings.ToLower(flag))
		if value != "" {
			all = append(all, value)
		}
	}
	return append(all, args...)
}

// ParseFlags reads and validates the command line.
func ParseFlags(args []string) (*scallop.Values, error) {
	flags, err := scallop.Marathon().Parse(args)
	if err != nil || flags.Has("help") {
		return flags, err
	}
	url := flags.Get("zk")
	if !zkURL.MatchString(url) {
		return nil, scallop.Error(fmt.Sprintf("Bad arguments for option 'zk': '%s' - %s is not a valid zk url; it should formatted like "+
			"zk://user:pass@host1:port1,host2:port2/path, or zk://host1:port1,host2:port2/marathon", url, url))
	}
	if flags.Int("group_versions_cache_size") <= 2*flags.Int("max_running_deployments") {
		return nil, scallop.Error("group_versions_cache_size should be greater than 2 * max_running_deployments")
	}
	if flags.Has("plugin_dir") != flags.Has("plugin_conf") {
		return nil, scallop.Error("plugin_dir and plugin_conf need to be given together")
	}
	return flags, nil
}

// process is one Marathon.
type process struct {
	flags      *scallop.Values
	hostname   string
	self       string
	conn       *zk.Conn
	base       string // path of --zk
	standby    *Standby
	lock       sync.Mutex
	leader     string
	core       *Core // of the leader
	ui         string
	abdicated  bool
	ending     atomic.Bool
	stopLeader context.CancelFunc
}

// Run is the whole program; it ends by os.Exit from any of its parts, as the
// real one does on purpose.
func Run(args []string) {
	if len(args) == 1 && args[0] == "--version" {
		fmt.Println("toots stand-in for Marathon " + Version)
		return
	}
	flags, err := ParseFlags(Arguments(os.Environ(), args))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(exitFlags)
	}
	if flags.Has("help") {
		fmt.Print(scallop.Marathon().Usage())
		return
	}
	log.SetOutput(os.Stdout)
	log.Printf("toots stand-in for Marathon %s", Version)
	p := &process{flags: flags, hostname: flags.Get("hostname")}
	if p.hostname == "" {
		p.hostname, _ = os.Hostname()
	}
	p.self = fmt.Sprintf("%s:%d", p.hostname, flags.Int("http_port"))
	p.connect()
	p.listen()
	go p.elect()
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	caught := <-signals
	if number, ok := caught.(syscall.Signal); ok {
		p.end(128 + int(number))
	}
}

// end takes the latch away at once, so that another instance can lead, and exits. The
// closed connection must not be taken for a lost one.
func (p *process) end(code int) {
	p.ending.Store(true)
	p.conn.Close()
	os.Exit(code)
}

// connect waits for ZooKeeper within the connection timeout; afterwards the
// first loss of the connection is the end.
func (p *process) connect() {
	servers, path, err := framework.ParseZK(p.flags.Get("zk"))
	if err != nil {
		log.Print(err)
		os.Exit(exitFlags)
	}
	p.base = path
	session := time.Duration(p.flags.Int("zk_session_timeout")) * time.Millisecond
	conn, events, err := zk.Connect(servers, session, zk.WithLogInfo(false), zk.WithLogger(log.Default()))
	if err != nil {
		log.Print(err)
		os.Exit(exitZKConnect)
	}
	deadline := time.After(time.Duration(p.flags.Int("zk_connection_timeout")) * time.Millisecond)
	for connected := false; !connected; {
		select {
		case event := <-events:
			connected = event.State == zk.StateHasSession
		case <-deadline:
			log.Print("Failed to connect to ZK. Marathon will exit now.")
			os.Exit(exitZKConnect)
		}
	}
	p.conn = conn
	go func() {
		for event := range events {
			lost := event.State == zk.StateDisconnected || event.State == zk.StateExpired
			if lost && !p.ending.Load() {
				log.Print("Lost connection to ZooKeeper. Marathon will exit now.")
				os.Exit(exitZKLost)
			}
		}
	}()
}

func (p *process) listen() {
	if p.flags.Bool("disable_http") {
		return
	}
	port := p.flags.Int("http_port")
	if port < 0 || port > 65535 {
		log.Printf("port out of range:%d", port)
		os.Exit(exitUncaught)
	}
	listener, err := net.Listen("tcp", net.JoinHostPort(p.flags.Get("http_address"), itoa(port)))
	if err != nil {
		log.Print(err)
		os.Exit(exitBind)
	}
	read := time.Duration(p.flags.Int("leader_proxy_read_timeout")) * time.Millisecond
	p.standby = NewStandby(p.self, time.Duration(p.flags.Int("leader_proxy_connection_timeout"))*time.Millisecond, read)
	p.standby.Leader, p.standby.Leads = p.leaderID, func() bool { return p.api() != nil }
	p.standby.Local = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if api := p.api(); api != nil {
			api.ServeHTTP(w, r)
		}
	})
	server := &http.Server{Handler: p.authenticate(p.standby)}
	go func() { log.Print(server.Serve(jetty.Listener{Listener: listener})) }()
}

// authenticate asks for the credentials of --http_credentials.
func (p *process) authenticate(next http.Handler) http.Handler {
	credentials := p.flags.Get("http_credentials")
	if credentials == "" {
		credentials = os.Getenv("MESOSPHERE_HTTP_CREDENTIALS")
	}
	if credentials == "" {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name, secret, _ := r.BasicAuth()
		if subtle.ConstantTimeCompare([]byte(name+":"+secret), []byte(credentials)) != 1 {
			w.Header().Set("WWW-Authenticate", `basic realm="null"`)
			jetty.Error(w, r, http.StatusUnauthorized, "Unauthorized")
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (p *process) leaderID() string {
	p.lock.Lock()
	defer p.lock.Unlock()
	return p.leader
}

// api is the leader's API or nil on a standby.
func (p *process) api() *API {
	p.lock.Lock()
	defer p.lock.Unlock()
	if p.core == nil {
		return nil
	}
	core, ui := p.core, p.ui
	leader := p.leader
	if p.abdicated {
		leader = ""
	}
	return &API{Core: core, Self: p.self, Leader: func() string { return leader }, Abdicate: p.abdicate,
		Info: func() map[string]any {
			return Info(p.flags, p.self, leader, core.FrameworkID(), ui, p.user(), p.hostname)
		}}
}

func (p *process) user() string {
	if name := p.flags.Get("mesos_user"); name != "" {
		return name
	}
	if current, err := user.Current(); err == nil {
		return current.Username
	}
	return "root"
}

// elect takes part until the process ends.
func (p *process) elect() {
	member, err := latch.Join(p.conn, p.base+"/leader-curator", p.self)
	if err != nil {
		log.Printf("failed to join the election: %v", err)
		os.Exit(exitElectionFault)
	}
	for {
		state, changed, err := member.Read()
		if err != nil {
			log.Printf("failed to read the election: %v", err)
			time.Sleep(time.Second)
			continue
		}
		if state.Duplicate {
			log.Printf("Multiple election participants have the same id: %s. This is not allowed.", p.self)
			os.Exit(exitElectionFault)
		}
		p.become(state)
		<-changed
	}
}

func (p *process) become(state latch.State) {
	p.lock.Lock()
	p.leader = state.Leader
	leads := p.core != nil
	abdicated := p.abdicated
	p.lock.Unlock()
	switch {
	case abdicated:
	case leads && !state.Leading:
		log.Print("Lost leadership; exiting")
		os.Exit(exitLeadershipLost)
	case !leads && state.Leading:
		p.lead()
	}
}

// abdicate answers a little longer, then the process ends.
func (p *process) abdicate() {
	p.lock.Lock()
	p.abdicated = true
	p.stopLeader()
	p.lock.Unlock()
	go func() {
		time.Sleep(300 * time.Millisecond)
		p.end(exitLeadershipLost)
	}()
}

// lead loads the state and begins to schedule.
func (p *process) lead() {
	log.Printf("Elected (leader is %s)", p.self)
	ms := func(name string) time.Duration { return time.Duration(p.flags.Int(name)) * time.Millisecond }
	settings := Settings{PortMin: p.flags.Int("local_port_min"), PortMax: p.flags.Int("local_port_max"), DeclineOffers: ms("decline_offer_duration"),
		MinRevive: ms("min_revive_offers_interval"), MaxPerOffer: p.flags.Int("max_instances_per_offer"), EnvPrefix: p.flags.Get("env_vars_prefix")}
	store := zkStore{p.conn, p.base + "/state"}
	core, err := NewCore(settings, store, &Bus{})
	if err == nil {
		err = latch.EnsurePath(p.conn, p.base+"/state/internal:storage:version")
	}
	if err == nil {
		err = store.Put("runtime-configuration", "id", []byte("{}"))
	}
	if err != nil {
		log.Printf("failed to load the state: %v", err)
		os.Exit(exitUncaught)
	}
	ctx, cancel := context.WithCancel(context.Background())
	p.lock.Lock()
	p.core, p.stopLeader = core, cancel
	p.lock.Unlock()
	go p.register(ctx, core)
	go func() {
		for ctx.Err() == nil {
			core.Tick()
			core.CheckHealth()
			time.Sleep(500 * time.Millisecond)
		}
	}()
}

// register keeps the framework at the master; its loss ends the leadership.
func (p *process) register(ctx context.Context, core *Core) {
	_, path, err := framework.ParseZK(p.flags.Get("master"))
	if err != nil {
		log.Printf("only a master in ZooKeeper can be followed: %v", err)
		return
	}
	driver := &framework.Driver{ZK: p.conn, Path: path, Handle: core.Handle, Info: func() framework.Info { return p.frameworkInfo(core) }}
	driver.Registered = func(master framework.Master, _ *framework.Session, event framework.Event) {
		id := event.Subscribed.FrameworkID.Value
		log.Printf("Registered as %s to master '%s'", id, master.ID)
		core.SetFrameworkID(id)
		p.lock.Lock()
		p.ui = master.UI()
		p.lock.Unlock()
		core.Registered()
	}
	core.Connect(driver.Session)
	if err := driver.Run(ctx); errors.Is(err, framework.ErrDisconnected) {
		log.Print("Disconnected from Mesos; exiting")
		p.end(exitLeadershipLost)
	}
}

func (p *process) frameworkInfo(core *Core) framework.Info {
	info := framework.Info{
		User: p.user(), Name: p.flags.Get("framework_name"), FailoverTimeout: p.flags.Float("failover_timeout"),
		Checkpoint: p.flags.Bool("checkpoint"), Roles: []string{p.flags.Get("mesos_role")}, Hostname: p.hostname,
		Principal: p.flags.Get("mesos_authentication_principal"), WebuiURL: p.flags.Get("webui_url"),
	}
	if info.WebuiURL == "" {
		info.WebuiURL = "http://" + p.self
	}
	for _, capability := range []string{"MULTI_ROLE", "TASK_KILLING_STATE", "PARTITION_AWARE", "REGION_AWARE"} {
		info.Capabilities = append(info.Capabilities, framework.Capability{Type: capability})
	}
	if id := core.FrameworkID(); id != "" {
		info.ID = &framework.Value{Value: id}
	}
	return info
}
