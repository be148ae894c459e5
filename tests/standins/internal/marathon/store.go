package marathon

import (
	"errors"
	"fmt"
	"strings"

	"github.com/go-zookeeper/zk"

	"toots.test/standins/internal/latch"
)

// Store keeps what a new leader needs: entries of a kind under an id.
type Store interface {
	Put(kind, id string, data []byte) error
	Delete(kind, id string) error
	Load(kind string) (map[string][]byte, error)
}

// zkStore uses Marathon's layout: <base>/<kind>/<bucket>/<id>; the contents are
// JSON, where the real program writes protobuf.
type zkStore struct {
	conn *zk.Conn
	base string
}

// bucket spreads ids over sixteen nodes by Java's hash of a string.
func bucket(id string) string {
	var hash int32
	for _, c := range id {
		hash = 31*hash + c
	}
	return fmt.Sprintf("%x", max(hash%16, -(hash%16)))
}

func (s zkStore) path(kind, id string) string {
	name, version, versioned := strings.Cut(id, "@")
	path := s.base + "/" + kind + "/" + bucket(name) + "/" + name
	if versioned {
		path += "/" + version
	}
	return path
}

// Put writes an entry; `id@version` is a version below its entry.
func (s zkStore) Put(kind, id string, data []byte) error {
	path := s.path(kind, id)
	_, err := s.conn.Set(path, data, -1)
	if !errors.Is(err, zk.ErrNoNode) {
		return err
	}
	if err := latch.EnsurePath(s.conn, path[:strings.LastIndex(path, "/")]); err != nil {
		return err
	}
	_, err = s.conn.Create(path, data, 0, zk.WorldACL(zk.PermAll))
	return err
}

// Delete empties the entry and keeps its node where versions are below it, as
// Marathon keeps the versions of deleted apps.
func (s zkStore) Delete(kind, id string) error {
	path := s.path(kind, id)
	err := s.conn.Delete(path, -1)
	if errors.Is(err, zk.ErrNotEmpty) {
		_, err = s.conn.Set(path, nil, -1)
	}
	if errors.Is(err, zk.ErrNoNode) {
		return nil
	}
	return err
}

// Load reads all entries of a kind that hold something.
func (s zkStore) Load(kind string) (map[string][]byte, error) {
	entries := map[string][]byte{}
	buckets, err := s.children(s.base + "/" + kind)
	if err != nil {
		return nil, err
	}
	for _, b := range buckets {
		ids, err := s.children(s.base + "/" + kind + "/" + b)
		if err != nil {
			return nil, err
		}
		for _, id := range ids {
			data, _, err := s.conn.Get(s.base + "/" + kind + "/" + b + "/" + id)
			if err != nil {
				return nil, err
			}
			if len(data) > 0 {
				entries[id] = data
			}
		}
	}
	return entries, nil
}

func (s zkStore) children(path string) ([]string, error) {
	names, _, err := s.conn.Children(path)
	if errors.Is(err, zk.ErrNoNode) {
		return nil, nil
	}
	return names, err
}

// MemoryStore is a store for tests.
type MemoryStore map[string][]byte

// Put keeps the entry.
func (m MemoryStore) Put(kind, id string, data []byte) error {
	m[kind+"|"+id] = data
	return nil
}

// Delete forgets the entry.
func (m MemoryStore) Delete(kind, id string) error {
	delete(m, kind+"|"+id)
	return nil
}

// Load lists the entries of a kind without versions.
func (m MemoryStore) Load(kind string) (map[string][]byte, error) {
	entries := map[string][]byte{}
	for key, data := range m {
		if id, ok := strings.CutPrefix(key, kind+"|"); ok && !strings.Contains(id, "@") {
			entries[id] = data
		}
	}
	return entries, nil
}
