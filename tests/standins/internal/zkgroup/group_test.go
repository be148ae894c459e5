package zkgroup

import (
	"fmt"
	"os"
	"testing"
	"time"
)

// Set STANDINS_ZOOKEEPER=host:port to try against a real server.
func TestMembersAreSeenInOrderAndVanishWithTheirNode(t *testing.T) {
	server := os.Getenv("STANDINS_ZOOKEEPER")
	if server == "" {
		t.Skip("skipped: STANDINS_ZOOKEEPER names no ZooKeeper server")
	}
	url, err := ParseURL(fmt.Sprintf("zk://%s/standins-%d", server, time.Now().UnixNano()))
	if err != nil {
		t.Fatal(err)
	}
	client, err := Connect(url, 4*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer client.conn.Close()
	seen, joined, gone := make(chan []Member, 100), make(chan string, 10), make(chan string, 10)
	client.Watch("", "json.info", func(members []Member) { seen <- members })
	for _, data := range []string{"a", "b"} {
		client.Join("", "json.info", []byte(data), func(name string) { joined <- name }, func(name string) { gone <- name })
		select {
		case <-joined:
		case <-time.After(10 * time.Second):
			t.Fatal("not joined within 10 s")
		}
	}
	until := func(what string, ok func([]Member) bool) []Member {
		for deadline := time.After(10 * time.Second); ; {
			select {
			case members := <-seen:
				if ok(members) {
					return members
				}
			case <-deadline:
				t.Fatalf("%s was not seen within 10 s", what)
			}
		}
	}
	first := until("two members", func(m []Member) bool { return len(m) == 2 && string(m[0].Data) == "a" && string(m[1].Data) == "b" })[0]
	if err := client.conn.Delete(url.Path+"/"+first.Name, -1); err != nil {
		t.Fatal(err)
	}
	until("the second as the first", func(m []Member) bool { return len(m) > 0 && string(m[0].Data) == "b" })
	if name := <-gone; name != first.Name {
		t.Errorf("told that %s is gone, not %s", name, first.Name)
	}
	until("the deleted one joined anew behind", func(m []Member) bool { return len(m) == 2 && string(m[1].Data) == "a" })
}
