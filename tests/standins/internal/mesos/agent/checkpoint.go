package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"toots.test/standins/internal/mesos"
)

// Checkpoint holds the state that survives a restart: meta/slaves/ID/standin.json, with meta/slaves/latest pointing at the folder.
type Checkpoint struct {
	Info       mesos.AgentInfo // the first one; a permissive policy does not replace it
	Frameworks map[string]mesos.FrameworkInfo
	Runs       []*Run
}

// Run is one run of a task.
type Run struct {
	Framework string
	Info      mesos.TaskInfo
	Task      mesos.Task
	Container string // UUID
	Directory string
	Docker    bool
	PID       int
	Born      string             // start time of the process, so that a reused pid is not taken for it
	Pending   []mesos.TaskStatus // not acknowledged, oldest first
	Killing   string             // why it is being killed; empty: it is not
	Ended     bool
}

func metaPath(workDir string) string { return filepath.Join(workDir, "meta", "slaves") }

// load reads the newest checkpoint; nil if there is none.
func load(workDir string) (*Checkpoint, error) {
	content, err := os.ReadFile(filepath.Join(metaPath(workDir), "latest", "standin.json"))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var checkpoint Checkpoint
	if err := json.Unmarshal(content, &checkpoint); err != nil {
		return nil, fmt.Errorf("checkpoint: %w", err)
	}
	return &checkpoint, nil
}

// save writes the checkpoint of a registered agent.
func (c *Checkpoint) save(workDir string) error {
	if c.Info.ID == nil {
		return nil
	}
	folder := filepath.Join(metaPath(workDir), c.Info.ID.Value)
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	content, err := json.Marshal(c)
	if err != nil {
		return err
	}
	// A name of its own for each write: the status loop and a shutdown may save at the same time, and
	// with one shared name the second rename finds no file.
	staging, err := os.CreateTemp(folder, "standin.json.")
	if err != nil {
		return err
	}
	_, err = staging.Write(content)
	if err := errors.Join(err, staging.Close()); err != nil {
		_ = os.Remove(staging.Name())
		return err
	}
	if err := os.Rename(staging.Name(), filepath.Join(folder, "standin.json")); err != nil {
		return err
	}
	link := filepath.Join(metaPath(workDir), "latest")
	if target, err := os.Readlink(link); err == nil && target == folder {
		return nil
	}
	_ = os.Remove(link)
	return os.Symlink(folder, link)
}

// Compatible reports whether an agent may continue with a checkpointed info under a policy.
func Compatible(policy string, old, now mesos.AgentInfo) bool {
	if old.Hostname != now.Hostname || old.Port != now.Port {
		return false
	}
	oldTotal, nowTotal := mesos.Sum(old.Resources), mesos.Sum(now.Resources)
	if !nowTotal.Contains(oldTotal) || (policy == "equal" && !oldTotal.Contains(nowTotal)) {
		return false
	}
	has := map[string]string{}
	for _, one := range now.Attributes {
		has[one.Name] = one.Text.Value
	}
	for _, one := range old.Attributes {
		if has[one.Name] != one.Text.Value {
			return false
		}
	}
	return policy == "additive" || len(old.Attributes) == len(now.Attributes)
}

const incompatible = `Failed to perform recovery: Incompatible agent info detected. 

------------------------------------------------------------
Old agent info:
%s

New agent info:
%s

------------------------------------------------------------
If recovery failed due to a change in configuration and you want to
keep the current agent id, you might want to change the
` + "`--reconfiguration_policy`" + ` flag to a more permissive value.

To restart this agent with a new agent id instead, do as follows:
rm -f %s/latest
This ensures that the agent does not recover old live executors.`

// refuseIncompatible ends the agent as the real program does.
func refuseIncompatible(workDir string, old, now mesos.AgentInfo) {
	first, _ := mesos.Encode(old)
	second, _ := mesos.Encode(now)
	mesos.Exit(incompatible, first, second, metaPath(workDir))
}
