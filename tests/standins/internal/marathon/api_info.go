package marathon

import (
	"net/http"
	"runtime"
	"slices"
	"strings"
	"time"

	"toots.test/standins/internal/jetty"
	"toots.test/standins/internal/scallop"
)

// Version names the program and marks it as a stand-in.
const Version = "1.11.24-standin"

// heartbeat is a blank line of the event stream.
const heartbeat = 10 * time.Second

// Info builds /v2/info; frameworkID and ui are null until Mesos has answered.
func Info(flags *scallop.Values, self, leader, frameworkID, ui, user, hostname string) map[string]any {
	config := map[string]any{
		"access_control_allow_origin": list(flags.Get("access_control_allow_origin")), "checkpoint": flags.Bool("checkpoint"),
		"default_network_name": null(flags.Get("default_network_name")), "env_vars_prefix": null(flags.Get("env_vars_prefix")),
		"executor": flags.Get("executor"), "features": []string{}, "framework_name": flags.Get("framework_name"), "ha": flags.Bool("ha"),
		"hostname": hostname, "master": flags.Get("master"), "mesos_bridge_name": flags.Get("mesos_bridge_name"),
		"mesos_leader_ui_url": null(ui), "mesos_role": flags.Get("mesos_role"), "mesos_user": user, "new_group_enforce_role": "Off",
		"store_cache": flags.Bool("store_cache"), "webui_url": null(flags.Get("webui_url")), "maintenance_mode": flags.Bool("maintenance_mode"),
		"launch_token": flags.Int("launch_tokens"), "leader_proxy_connection_timeout_ms": flags.Int("leader_proxy_connection_timeout"),
		"leader_proxy_read_timeout_ms": flags.Int("leader_proxy_read_timeout"),
	}
	for _, name := range []string{"decline_offer_duration", "failover_timeout", "launch_token_refresh_interval", "local_port_max", "local_port_min",
		"max_instances_per_offer", "mesos_heartbeat_failure_threshold", "mesos_heartbeat_interval", "min_revive_offers_interval",
		"offer_matching_timeout", "on_elected_prepare_timeout", "reconciliation_initial_delay", "reconciliation_interval", "scale_apps_initial_delay",
		"scale_apps_interval", "task_launch_confirm_timeout", "task_launch_timeout", "task_lost_expunge_initial_delay", "task_lost_expunge_interval",
		"task_reservation_timeout"} {
		config[name] = flags.Int(name)
	}
	if features := flags.Get("enable_features"); features != "" {
		config["features"] = strings.Split(features, ",")
	}
	zookeeper := map[string]any{"zk": flags.Get("zk"), "zk_compression": flags.Bool("zk_compression")}
	for _, name := range []string{"zk_compression_threshold", "zk_connection_timeout", "zk_max_node_size", "zk_max_versions", "zk_session_timeout", "zk_timeout"} {
		zookeeper[name] = flags.Int(name)
	}
	return map[string]any{
		"name": "marathon", "version": Version, "buildref": "standin", "elected": leader == self, "leader": null(leader),
		"frameworkId": null(frameworkID), "marathon_config": config, "zookeeper_config": zookeeper,
		"http_config": map[string]any{"http_port": flags.Int("http_port"), "https_port": flags.Int("https_port")},
	}
}

func null(text string) any {
	if text == "" {
		return nil
	}
	return text
}

func list(text string) any {
	if text == "" {
		return nil
	}
	return strings.Split(text, ",")
}

// metrics shows Dropwizard's form with the counts that this program has.
func (a *API) metrics(q *request) {
	if q.part(1) != "" {
		q.notFound()
		return
	}
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	c := a.Core
	c.lock.Lock()
	running, staged := 0, 0
	for _, i := range c.instances {
		switch i.State {
		case "TASK_RUNNING":
			running++
		case "TASK_STAGING", "TASK_STARTING":
			staged++
		}
	}
	count := func(name string) map[string]int { return map[string]int{"count": c.counters[name]} }
	gauge := func(value any) map[string]any { return map[string]any{"value": value} }
	q.jsonLocked(c, 200, map[string]any{
		"version": "4.0.0",
		"counters": map[string]any{
			"marathon.deployments.counter": count("deployments"), "marathon.mesos.offers.incoming.counter": count("offers.incoming"),
			"marathon.mesos.offers.declined.counter": count("offers.declined"), "marathon.mesos.offers.used.counter": count("offers.used"),
			"marathon.mesos.calls.revive.counter": count("calls.revive"),
		},
		"gauges": map[string]any{
			"marathon.apps.active.gauge": gauge(len(c.apps)), "marathon.deployments.active.gauge": gauge(len(c.deployments)),
			"marathon.instances.running.gauge": gauge(running), "marathon.instances.staged.gauge": gauge(staged),
			"marathon.jvm.memory.heap.used.gauge.bytes": gauge(memory.HeapAlloc),
		},
		"histograms": map[string]any{}, "meters": map[string]any{}, "timers": map[string]any{},
	})
}

// events streams; lines end with CR LF, a blank line is the heartbeat.
func (a *API) events(q *request) {
	if !strings.Contains(q.r.Header.Get("Accept"), "text/event-stream") {
		q.w.Header().Del("Expires")
		jetty.Error(q.w, q.r, http.StatusMethodNotAllowed, "HTTP method GET is not supported by this URL")
		return
	}
	flusher, ok := q.w.(http.Flusher)
	if !ok {
		jetty.Error(q.w, q.r, http.StatusInternalServerError, "Server Error")
		return
	}
	listener, stop := a.Core.Bus.Listen()
	defer stop()
	q.w.Header().Set("Content-Type", "text/event-stream;charset=utf-8")
	q.w.Header().Set("Connection", "close")
	q.w.WriteHeader(http.StatusOK)
	flusher.Flush()
	client, _, _ := strings.Cut(q.r.RemoteAddr, ":")
	a.Core.Bus.Publish("event_stream_attached", map[string]any{"remoteAddress": client})
	wanted := q.query["event_type"]
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	for {
		text := "\r\n"
		select {
		case <-q.r.Context().Done():
			return
		case event := <-listener:
			if len(wanted) > 0 && !slices.Contains(wanted, event.Type) {
				continue
			}
			text = "event: " + event.Type + "\r\ndata: " + string(event.Data) + "\r\n\r\n"
		case <-beat.C:
		}
		if _, err := q.w.Write([]byte(text)); err != nil {
			return
		}
		flusher.Flush()
	}
}
