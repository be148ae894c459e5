package master

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"toots.test/standins/internal/mesos"
)

var schedulerCalls = map[string]bool{"SUBSCRIBE": true, "TEARDOWN": true, "ACCEPT": true, "DECLINE": true, "REVIVE": true, "KILL": true,
	"SHUTDOWN": true, "ACKNOWLEDGE": true, "RECONCILE": true, "MESSAGE": true, "REQUEST": true, "SUPPRESS": true, "UPDATE_FRAMEWORK": true,
	"ACCEPT_INVERSE_OFFERS": true, "DECLINE_INVERSE_OFFERS": true, "ACKNOWLEDGE_OPERATION_STATUS": true, "RECONCILE_OPERATIONS": true}

const schedulerMessage = "scheduler::Call"

type filters struct {
	RefuseSeconds *float64 `json:"refuse_seconds"`
}

// refuse is how long an agent's offers stay away; 5 s unless told.
func (f *filters) refuse() time.Duration {
	if f == nil || f.RefuseSeconds == nil {
		return 5 * time.Second
	}
	return time.Duration(*f.RefuseSeconds * float64(time.Second))
}

// scheduler serves POST /api/v1/scheduler.
func (m *Master) scheduler(w http.ResponseWriter, r *http.Request) {
	call, protobuf, ok := mesos.ReadCall(w, r, schedulerMessage, func(kind string) bool { return schedulerCalls[kind] })
	if !ok {
		return
	}
	if protobuf {
		mesos.Text(w, http.StatusNotAcceptable, "Expecting 'Accept' to allow 'application/json': this is a stand-in")
		return
	}
	if call.Type == "SUBSCRIBE" {
		m.serveSubscription(w, r, call)
		return
	}
	var id mesos.ID
	if raw, there := call.Body["framework_id"]; !there || json.Unmarshal(raw, &id) != nil {
		mesos.Text(w, http.StatusBadRequest, "Failed to validate scheduler::Call: Expecting 'framework_id' to be present")
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	fw, known := m.frameworks[id.Value]
	if !known || fw.stream == nil {
		mesos.Text(w, http.StatusForbidden, "Framework is not subscribed")
		return
	}
	switch got := r.Header.Get("Mesos-Stream-Id"); got {
	case fw.stream.id:
	case "":
		mesos.Text(w, http.StatusBadRequest, "All non-subscribe calls should include the 'Mesos-Stream-Id' header")
		return
	default:
		mesos.Text(w, http.StatusBadRequest, fmt.Sprintf("The stream ID '%s' included in this request didn't match the stream ID currently associated with framework ID '%s'", got, fw.id))
		return
	}
	fw.calls["calls"]++
	fw.calls["calls/"+lower(call.Type)]++
	if m.handle(w, fw, call) {
		mesos.Empty(w, http.StatusAccepted)
	}
}

func (m *Master) serveSubscription(w http.ResponseWriter, r *http.Request, call mesos.Call) {
	var body struct {
		FrameworkInfo *mesos.FrameworkInfo `json:"framework_info"`
	}
	if !call.Field(w, schedulerMessage, &body) {
		return
	}
	if body.FrameworkInfo == nil {
		mesos.Text(w, http.StatusBadRequest, "Failed to validate scheduler::Call: Expecting 'framework_info' to be present")
		return
	}
	out := newStream()
	m.mu.Lock()
	fw, err := m.subscribe(*body.FrameworkInfo, out)
	if err != nil {
		out.send(event("ERROR", map[string]any{"message": err.Error()}))
		out.close()
	} else {
		fw.calls["calls"]++
		fw.calls["calls/subscribe"]++
		out.send(event("SUBSCRIBED", map[string]any{"framework_id": mesos.ID{Value: fw.id},
			"heartbeat_interval_seconds": mesos.Float(heartbeat.Seconds()), "master_info": m.v1Info()}))
		mesos.Log("I", "Subscribed framework '%s' (%s)", fw.info.Name, fw.id)
	}
	m.mu.Unlock()
	m.poke()
	out.serve(w, r, true)
	if fw != nil {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.disconnected(fw, out)
	}
}

// handle does one call of a subscribed framework; false if it answered an error itself. The caller holds mu.
func (m *Master) handle(w http.ResponseWriter, fw *framework, call mesos.Call) bool {
	switch call.Type {
	case "ACCEPT":
		var body acceptCall
		if !call.Field(w, schedulerMessage, &body) {
			return false
		}
		m.accept(fw, body)
	case "DECLINE":
		var body declineCall
		if !call.Field(w, schedulerMessage, &body) {
			return false
		}
		m.decline(fw, body)
	case "KILL":
		var body killCall
		if !call.Field(w, schedulerMessage, &body) {
			return false
		}
		m.kill(fw, body)
	case "ACKNOWLEDGE":
		var body ackCall
		if !call.Field(w, schedulerMessage, &body) {
			return false
		}
		m.acknowledge(fw, body)
	case "RECONCILE":
		var body reconcileCall
		if !call.Field(w, schedulerMessage, &body) {
			return false
		}
		m.reconcile(fw, body)
	case "REVIVE":
		fw.suppressed, fw.filters = false, map[string]time.Time{}
		m.poke()
	case "SUPPRESS":
		fw.suppressed = true
	case "TEARDOWN":
		m.removeFramework(fw)
	}
	return true
}
