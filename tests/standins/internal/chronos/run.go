package chronos

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/go-zookeeper/zk"

	"toots.test/standins/internal/framework"
	"toots.test/standins/internal/jetty"
	"toots.test/standins/internal/latch"
	"toots.test/standins/internal/scallop"
)

// Version names the program and marks it as a stand-in.
const Version = "3.0.2-standin"

// session is what ZooKeeper grants of Curator's default of a minute; no flag
// changes it.
const session = 40 * time.Second

// fatalDelay lies between the loss of the port and the exit.
const fatalDelay = 30 * time.Second

type process struct {
	flags    *scallop.Values
	self     string
	dir      string // of the candidates
	conn     *zk.Conn
	server   *http.Server
	lock     sync.Mutex
	core     *Core
	failed   bool
	resigned context.CancelFunc
}

// Run is the whole program.
func Run(args []string) {
	if len(args) == 1 && args[0] == "--version" {
		fmt.Println("toots stand-in for Chronos " + Version)
		return
	}
	flags, err := scallop.Chronos().Parse(args)
	if err != nil {
		fmt.Println(err) // on stdout, as recorded
		os.Exit(1)
	}
	if flags.Has("help") {
		fmt.Print(scallop.Chronos().Usage())
		return
	}
	log.SetOutput(os.Stdout)
	log.Printf("toots stand-in for Chronos %s", Version)
	hostname := flags.Get("hostname")
	if hostname == "" {
		hostname, _ = os.Hostname()
	}
	p := &process{flags: flags, self: fmt.Sprintf("%s:%d", hostname, flags.Int("http_port")), dir: flags.Get("zk_path") + "/candidate"}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	go p.start()
	caught := <-signals
	if p.conn != nil {
		p.conn.Close()
	}
	if number, ok := caught.(syscall.Signal); ok {
		os.Exit(128 + int(number))
	}
}

// start waits for ZooKeeper as long as it takes and opens the port afterwards.
func (p *process) start() {
	conn, events, err := zk.Connect(servers(p.flags.Get("zk_hosts")), session, zk.WithLogInfo(false), zk.WithLogger(log.Default()))
	if err != nil {
		log.Print(err)
		os.Exit(1)
	}
	p.conn = conn
	for event := range events {
		if event.State == zk.StateHasSession {
			break
		}
	}
	go func() {
		for range events { // the client reconnects by itself
		}
	}()
	if err := latch.EnsurePath(conn, p.dir); err != nil {
		log.Print(err)
	}
	p.listen()
	p.elect()
}

// servers reads h:p,h:p or a zk:// URL, whose path counts for nothing.
func servers(hosts string) []string {
	if list, _, err := framework.ParseZK(hosts); err == nil {
		return list
	}
	return framework.Servers(hosts)
}

func (p *process) listen() {
	if p.flags.Bool("disable_http") {
		return
	}
	listener, err := net.Listen("tcp", net.JoinHostPort(p.flags.Get("http_address"), p.flags.Get("http_port")))
	if err != nil {
		log.Printf("Failed to start HTTP service: %v", err)
		os.Exit(1)
	}
	standby := &Standby{Self: p.self, Leader: p.askLeader, Fatal: p.fatal, client: &http.Client{
		Transport:     &http.Transport{DisableCompression: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
	standby.Leads = func() bool { return p.leading() != nil }
	standby.Local = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if core := p.leading(); core != nil {
			(&API{Core: core, Self: p.self, Defaults: p.defaults()}).ServeHTTP(w, r)
		}
	})
	p.server = &http.Server{Handler: standby}
	go func() { log.Print(p.server.Serve(jetty.Listener{Listener: listener})) }()
}

func (p *process) defaults() Defaults {
	number := func(name string) Float { return Float(p.flags.Float(name)) }
	return Defaults{CPUs: number("mesos_task_cpu"), Mem: number("mesos_task_mem"), Disk: number("mesos_task_disk"), User: p.flags.Get("user")}
}

func (p *process) leading() *Core {
	p.lock.Lock()
	defer p.lock.Unlock()
	return p.core
}

// askLeader hangs while ZooKeeper cannot be asked; a node that vanishes between
// the listing and the reading is an error, as it is for Curator's getLeader.
func (p *process) askLeader() (string, error) {
	for {
		leader, err := latch.Leader(p.conn, p.dir)
		if err == nil || errors.Is(err, zk.ErrNoNode) {
			return leader, err
		}
		time.Sleep(time.Second)
	}
}

// fatal ends the process: the port closes at once, the exit comes later.
func (p *process) fatal(err error) {
	p.lock.Lock()
	defer p.lock.Unlock()
	if p.failed {
		return
	}
	p.failed = true
	log.Printf("Error trying to talk to zookeeper. Exiting. %v", err)
	go func() {
		_ = p.server.Close()
		time.Sleep(fatalDelay)
		os.Exit(1)
	}()
}

// elect takes part forever; a session that expired is followed by a new entry.
func (p *process) elect() {
	var member *latch.Latch
	for {
		if member == nil {
			joined, err := latch.Join(p.conn, p.dir, p.self)
			if err != nil {
				time.Sleep(time.Second)
				continue
			}
			member = joined
		}
		state, changed, err := member.Read()
		if err != nil {
			time.Sleep(time.Second)
			continue
		}
		if !state.Present {
			p.resign()
			member = nil
			continue
		}
		if state.Leading && p.leading() == nil {
			p.lead()
		} else if !state.Leading {
			p.resign()
		}
		<-changed
	}
}

func (p *process) resign() {
	p.lock.Lock()
	defer p.lock.Unlock()
	if p.core != nil {
		log.Print("Not running as leader any more")
		p.resigned()
		p.core = nil
	}
}

func (p *process) lead() {
	core, err := NewCore(zkStore{p.conn, p.flags.Get("zk_path") + "/state"})
	if err != nil {
		log.Printf("failed to load the jobs: %v", err)
		os.Exit(1)
	}
	log.Printf("Elected as leader: %s", p.self)
	core.FailureRetry = time.Duration(p.flags.Int("failure_retry")) * time.Millisecond
	core.MinRevive = time.Duration(p.flags.Int("min_revive_offers_interval")) * time.Millisecond
	ctx, cancel := context.WithCancel(context.Background())
	p.lock.Lock()
	p.core, p.resigned = core, cancel
	p.lock.Unlock()
	go p.register(ctx, core)
	go func() {
		for ctx.Err() == nil {
			core.Tick()
			time.Sleep(500 * time.Millisecond)
		}
	}()
}

func (p *process) register(ctx context.Context, core *Core) {
	_, path, err := framework.ParseZK(p.flags.Get("master"))
	if err != nil {
		log.Printf("only a master in ZooKeeper can be followed: %v", err)
		return
	}
	driver := &framework.Driver{ZK: p.conn, Path: path, Reconnect: true, Handle: core.Handle, Info: func() framework.Info { return p.info(core) }}
	driver.Registered = func(master framework.Master, _ *framework.Session, event framework.Event) {
		log.Printf("Registered as %s to master %s", event.Subscribed.FrameworkID.Value, master.Endpoint())
		core.Registered(event.Subscribed.FrameworkID.Value)
	}
	core.Connect(driver.Session)
	if err := driver.Run(ctx); err != nil && ctx.Err() == nil {
		log.Print(err)
	}
}

func (p *process) info(core *Core) framework.Info {
	info := framework.Info{
		User: p.flags.Get("user"), Name: p.flags.Get("mesos_framework_name"), FailoverTimeout: p.flags.Float("failover_timeout"),
		Checkpoint: true, Roles: []string{p.flags.Get("mesos_role")}, Principal: p.flags.Get("mesos_authentication_principal"),
		WebuiURL: p.flags.Get("webui_url"), Capabilities: []framework.Capability{{Type: "MULTI_ROLE"}},
	}
	info.Hostname, _, _ = net.SplitHostPort(p.self)
	if info.WebuiURL == "" {
		info.WebuiURL = "http://" + p.self
	}
	if id := core.FrameworkID(); id != "" {
		info.ID = &framework.Value{Value: id}
	}
	return info
}
