package chronos

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"strings"

	"github.com/go-zookeeper/zk"

	"toots.test/standins/internal/latch"
)

// Store keeps jobs and the framework's id.
type Store interface {
	SaveJob(*Job) error
	DeleteJob(name string) error
	Jobs() ([]*Job, error)
	SaveFrameworkID(id string) error
	FrameworkID() (string, error)
}

// zkStore uses Chronos' layout: <zk_path>/state/J_<job>; the jobs are JSON,
// where the real program wraps them into Mesos' state format.
type zkStore struct {
	conn *zk.Conn
	dir  string
}

func (s zkStore) put(name string, data []byte) error {
	path := s.dir + "/" + name
	_, err := s.conn.Set(path, data, -1)
	if !errors.Is(err, zk.ErrNoNode) {
		return err
	}
	if err := latch.EnsurePath(s.conn, s.dir); err != nil {
		return err
	}
	_, err = s.conn.Create(path, data, 0, zk.WorldACL(zk.PermAll))
	return err
}

// SaveJob writes a job.
func (s zkStore) SaveJob(job *Job) error {
	data, err := json.Marshal(job)
	if err != nil {
		return err
	}
	return s.put("J_"+job.Name, data)
}

// DeleteJob removes a job.
func (s zkStore) DeleteJob(name string) error {
	err := s.conn.Delete(s.dir+"/J_"+name, -1)
	if errors.Is(err, zk.ErrNoNode) {
		return nil
	}
	return err
}

// Jobs reads all jobs.
func (s zkStore) Jobs() ([]*Job, error) {
	names, _, err := s.conn.Children(s.dir)
	if errors.Is(err, zk.ErrNoNode) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var jobs []*Job
	for _, name := range names {
		if !strings.HasPrefix(name, "J_") {
			continue
		}
		data, _, err := s.conn.Get(s.dir + "/" + name)
		if err != nil {
			return nil, err
		}
		job := new(Job)
		if err := json.Unmarshal(data, job); err != nil {
			return nil, err
		}
		jobs = append(jobs, job)
	}
	return jobs, nil
}

const idNode = "frameworkId"

// SaveFrameworkID writes the entry of Mesos' state format: name, version, value.
func (s zkStore) SaveFrameworkID(id string) error {
	var entry bytes.Buffer
	version := make([]byte, 16)
	_, _ = rand.Read(version)
	field := func(tag byte, content []byte) { entry.Write(append([]byte{tag, byte(len(content))}, content...)) }
	field(0x0a, []byte(idNode))
	field(0x12, version)
	field(0x1a, append([]byte{0x0a, byte(len(id))}, id...))
	return s.put(idNode, entry.Bytes())
}

// FrameworkID reads the id; it is empty before the first registration.
func (s zkStore) FrameworkID() (string, error) {
	data, _, err := s.conn.Get(s.dir + "/" + idNode)
	if errors.Is(err, zk.ErrNoNode) {
		return "", nil
	}
	header := 2 + len(idNode) + 2 + 16 + 4
	if err != nil || len(data) < header {
		return "", err
	}
	return string(data[header:]), nil
}
