package registrator

import (
	"log"
	"regexp"
	"strings"
	"sync"
	"time"
)

// ownID matches the ids that Registrator gives: host, container, port.
var ownID = regexp.MustCompile(`^(.+?):([a-zA-Z0-9][a-zA-Z0-9_.-]+):[0-9]+(?::udp)?$`)

// Bridge keeps the agent's services in step with the containers.
type Bridge struct {
	Docker     *DockerClient
	Consul     *ConsulClient
	Settings   Settings
	Cleanup    bool
	Deregister string

	lock     sync.Mutex
	services map[string][]Service
	dead     map[string]deadContainer
}

// deadContainer is one that left its services behind (-deregister on-success).
type deadContainer struct {
	services []Service
	until    time.Time
}

// Add registers the services of a container that was started.
func (b *Bridge) Add(id string) {
	b.lock.Lock()
	defer b.lock.Unlock()
	b.add(id, false)
}

func (b *Bridge) add(id string, quiet bool) {
	if b.services == nil {
		b.services, b.dead = map[string][]Service{}, map[string]deadContainer{}
	}
	if dead, ok := b.dead[id]; ok {
		b.services[id] = dead.services
		delete(b.dead, id)
	}
	if b.services[id] != nil {
		log.Println("container, ", short(id), ", already exists, ignoring")
		return
	}
	container, err := b.Docker.Inspect(id)
	if err != nil {
		log.Println("unable to inspect container:", short(id), err)
		return
	}
	services, ignored := Services(container, b.Settings)
	if !quiet {
		for _, reason := range ignored {
			log.Println("ignored:", short(id), reason)
		}
	}
	for _, service := range services {
		if err := b.Consul.Register(service); err != nil {
			log.Println("register failed:", service.ID, err)
			continue
		}
		b.services[id] = append(b.services[id], service)
		log.Println("added:", short(id), service.ID)
	}
}

// Remove takes the services of a container away that has died.
func (b *Bridge) Remove(id string) {
	b.lock.Lock()
	defer b.lock.Unlock()
	if b.shouldDeregister(id) {
		for _, service := range b.services[id] {
			b.deregister(id, service)
		}
		for _, service := range b.dead[id].services {
			b.deregister(id, service)
		}
		delete(b.dead, id)
	} else if b.Settings.TTL > 0 && b.services[id] != nil {
		// Kept until its time to live has passed; a restart takes them up again.
		b.dead[id] = deadContainer{b.services[id], time.Now().Add(time.Duration(b.Settings.TTL) * time.Second)}
	}
	delete(b.services, id)
}

// shouldDeregister looks at how the container ended: with on-success only an
// exit of 0 or one by a signal counts.
func (b *Bridge) shouldDeregister(id string) bool {
	if b.Deregister == "always" {
		return true
	}
	container, err := b.Docker.Inspect(id)
	if err != nil {
		return true
	}
	return container.State.ExitCode == 0 || container.State.ExitCode&128 == 128
}

func (b *Bridge) deregister(id string, service Service) {
	if err := b.Consul.Deregister(service.ID); err != nil {
		log.Println("deregister failed:", service.ID, err)
		return
	}
	log.Println("removed:", short(id), service.ID)
}

// Sync registers everything that runs and, with -cleanup, removes what is left
// of containers that are gone.
func (b *Bridge) Sync(quiet bool) {
	b.lock.Lock()
	defer b.lock.Unlock()
	running, err := b.Docker.Running()
	if err != nil {
		if quiet {
			log.Println("error listing containers, skipping sync")
			return
		}
		log.Fatal(err)
	}
	log.Printf("Syncing services on %d containers", len(running))
	present := map[string]bool{}
	for _, id := range running {
		present[id] = true
		known := b.services[id]
		if known == nil {
			b.add(id, quiet)
			continue
		}
		for _, service := range known {
			if err := b.Consul.Register(service); err != nil {
				log.Println("sync register failed:", service.ID, err)
			}
		}
	}
	if b.Cleanup {
		b.removeVanished(present)
		b.removeDangling()
	}
}

// removeVanished drops what this process registered for containers that went
// away without an event.
func (b *Bridge) removeVanished(present map[string]bool) {
	for id, services := range b.services {
		if present[id] {
			continue
		}
		log.Printf("stale: Removing service %s because it does not exist", short(id))
		for _, service := range services {
			b.deregister(id, service)
		}
		delete(b.services, id)
	}
}

// removeDangling drops what an earlier process of this host registered. Ids of
// other hosts and ids of another form are left alone.
func (b *Bridge) removeDangling() {
	log.Println("Cleaning up dangling services")
	listed, err := b.Consul.Services()
	if err != nil {
		log.Println("cleanup failed:", err)
		return
	}
	for id, name := range listed {
		parts := ownID.FindStringSubmatch(id)
		if parts == nil || parts[1] != b.Settings.Hostname || b.holds(name, parts[2]) {
			continue
		}
		log.Println("dangling:", id)
		if err := b.Consul.Deregister(id); err != nil {
			log.Println("deregister failed:", id, err)
			continue
		}
		log.Println(id, "removed")
	}
}

func (b *Bridge) holds(name, container string) bool {
	for _, services := range b.services {
		for _, service := range services {
			if service.Name == name && service.container == container {
				return true
			}
		}
	}
	return false
}

// Refresh forgets dead containers whose time has passed. The Consul adapter has
// no time to live of its own, so nothing else is refreshed.
func (b *Bridge) Refresh() {
	b.lock.Lock()
	defer b.lock.Unlock()
	for id, dead := range b.dead {
		if time.Now().After(dead.until) {
			delete(b.dead, id)
		}
	}
}

func short(id string) string {
	id = strings.TrimSpace(id)
	return id[:min(12, len(id))]
}
