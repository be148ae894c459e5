package marathon

import (
	"encoding/json"
	"math"
	"net/http"
	"path"
	"strings"
)

// groupView shows a group; what is in it follows from the ids of the apps.
func (c *Core) groupView(id string) map[string]any {
	apps, members := []*App{}, map[string]bool{}
	prefix := strings.TrimSuffix(id, "/") + "/"
	collect := func(member string) {
		rest := strings.TrimPrefix(member, prefix)
		if first, _, deeper := strings.Cut(rest, "/"); deeper {
			members[prefix+first] = true
		}
	}
	for _, app := range union(c.apps, nil) {
		if !strings.HasPrefix(app, prefix) {
			continue
		}
		if path.Dir(app) == strings.TrimSuffix(prefix, "/") || path.Dir(app) == id {
			apps = append(apps, c.apps[app])
		}
		collect(app)
	}
	for group := range c.groups {
		if strings.HasPrefix(group, prefix) {
			collect(group + "/")
		}
	}
	groups := []any{}
	for _, member := range sortedKeys(members) {
		groups = append(groups, c.groupView(member))
	}
	view := map[string]any{"id": id, "apps": apps, "pods": []any{}, "groups": groups, "dependencies": []any{}, "version": c.version}
	if path.Dir(id) == "/" && id != "/" { // only top groups enforce a role
		view["enforceRole"] = false
	}
	return view
}

func sortedKeys(set map[string]bool) []string {
	apps := map[string]*App{}
	for key := range set {
		apps[key] = nil
	}
	return union(apps, nil)
}

func (c *Core) groupExists(id string) bool {
	if id == "/" || c.groups[id] {
		return true
	}
	for member := range c.apps {
		if strings.HasPrefix(member, id+"/") {
			return true
		}
	}
	for member := range c.groups {
		if strings.HasPrefix(member, id+"/") {
			return true
		}
	}
	return false
}

func (a *API) groupsRoute(q *request) {
	id := CleanID(strings.Join(q.parts[2:], "/"))
	switch q.method() {
	case http.MethodGet:
		a.Core.lock.Lock()
		if !a.Core.groupExists(id) {
			a.Core.unlock()
			q.problem(missing("Group", id, true))
			return
		}
		q.jsonLocked(a.Core, 200, a.Core.groupView(id))
	case http.MethodPost, http.MethodPut:
		a.writeGroup(q, id)
	case http.MethodDelete:
		a.deleteGroup(q, id)
	default:
		q.notFound()
	}
}

func (a *API) deleteGroup(q *request, id string) {
	d, problem := a.Core.Apply(Change{Force: q.force(), Edit: func(apps map[string]*App) *Problem {
		if !a.Core.groupExists(id) {
			return missing("Group", id, false)
		}
		a.Core.emptyGroup(id, apps)
		return nil
	}})
	if problem != nil {
		q.problem(problem)
		return
	}
	q.deployed(200, d)
}

// emptyGroup removes what is below a group, and the group.
func (c *Core) emptyGroup(id string, apps map[string]*App) {
	prefix := strings.TrimSuffix(id, "/") + "/"
	for app := range apps {
		if strings.HasPrefix(app, prefix) {
			delete(apps, app)
		}
	}
	for group := range c.groups {
		if group == id || strings.HasPrefix(group, prefix) {
			delete(c.groups, group)
		}
	}
}

func (a *API) writeGroup(q *request, id string) {
	body, problem := q.body()
	var value any
	if problem == nil {
		value, problem = readJSON(body)
	}
	object, ok := value.(map[string]any)
	if problem == nil && !ok {
		problem = invalid(detail{"/", []string{"error.expected.jsobject"}})
	}
	if problem != nil {
		q.problem(problem)
		return
	}
	if own, given := object["id"].(string); given {
		id = absolute(own, id)
	}
	created := false
	dry := q.query.Get("dryRun") == "true"
	d, problem := a.Core.Apply(Change{Force: q.force(), DryRun: dry, Edit: func(apps map[string]*App) *Problem {
		exists := a.Core.groupExists(id)
		if q.r.Method == http.MethodPost && exists && id != "/" {
			return &Problem{Status: 409, Message: "Group " + id + " is already created. Use PUT to change this group."}
		}
		created = !exists
		return a.Core.editGroup(id, object, apps, dry)
	}})
	switch {
	case problem != nil:
		q.problem(problem)
	case dry:
		q.json(200, map[string]any{"steps": d.Steps})
	case created:
		q.w.Header().Set("Location", "http://"+q.r.Host+id)
		q.deployed(201, d)
	default:
		q.deployed(200, d)
	}
}

// editGroup scales a group or puts its content in place of the present one.
func (c *Core) editGroup(id string, object map[string]any, apps map[string]*App, dry bool) *Problem {
	prefix := strings.TrimSuffix(id, "/") + "/"
	if factor, ok := object["scaleBy"].(json.Number); ok {
		by, err := factor.Float64()
		if err != nil || by < 0 {
			return invalid(detail{"/scaleBy", []string{"error.min"}})
		}
		for _, app := range apps {
			if strings.HasPrefix(app.ID, prefix) {
				app.Instances = int(math.Ceil(float64(app.Instances) * by))
			}
		}
		return nil
	}
	kept := map[string]bool{}
	if problem := c.fillGroup(id, object, apps, kept, dry); problem != nil {
		return problem
	}
	for app := range apps {
		direct := path.Dir(app) == id
		_, replacesApps := object["apps"]
		_, replacesGroups := object["groups"]
		if strings.HasPrefix(app, prefix) && !kept[app] && (direct && replacesApps || !direct && replacesGroups) {
			delete(apps, app)
		}
	}
	return nil
}

func (c *Core) fillGroup(id string, object map[string]any, apps map[string]*App, kept map[string]bool, dry bool) *Problem {
	if !dry {
		c.groups[id] = true
	}
	list, _ := object["apps"].([]any)
	for _, entry := range list {
		fields, _ := entry.(map[string]any)
		own, _ := fields["id"].(string)
		if own == "" {
			_, problem := appOf(entry, "", true)
			return problem
		}
		fields["id"] = absolute(own, id)
		app, problem := appOf(entry, "", true)
		if problem != nil {
			return problem
		}
		if before := apps[app.ID]; before != nil { // service ports stay
			for n, port := range app.servicePorts() {
				if old := before.servicePorts(); *port == 0 && n < len(old) {
					*port = *old[n]
				}
			}
		}
		apps[app.ID], kept[app.ID] = app, true
	}
	groups, _ := object["groups"].([]any)
	for _, entry := range groups {
		fields, _ := entry.(map[string]any)
		own, _ := fields["id"].(string)
		if own == "" {
			return invalid(detail{"/groups", []string{"error.path.missing"}})
		}
		if problem := c.fillGroup(absolute(own, id), fields, apps, kept, dry); problem != nil {
			return problem
		}
	}
	return nil
}
