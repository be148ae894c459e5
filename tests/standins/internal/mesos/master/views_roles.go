package master

import (
	"sort"

	"toots.test/standins/internal/mesos"
)

// role is a role that frameworks or weights know.
type role struct {
	name       string
	weight     mesos.Float
	frameworks []string
	used       mesos.Quantities
	offered    mesos.Quantities
}

// roles lists the roles in use; the caller holds mu.
func (m *Master) roles() []role {
	byName := map[string]*role{}
	get := func(name string) *role {
		if byName[name] == nil {
			byName[name] = &role{name: name, weight: 1, frameworks: []string{}}
		}
		return byName[name]
	}
	for _, weight := range m.registrar.Registry().Weights {
		get(weight.Role).weight = weight.Weight
	}
	used, offered := map[string][][]mesos.Resource{}, map[string][][]mesos.Resource{}
	for _, fw := range m.sortedFrameworks() {
		for _, name := range fw.info.AllRoles() {
			one := get(name)
			one.frameworks = append(one.frameworks, fw.id)
		}
		for _, task := range fw.tasks {
			used[fw.info.AllRoles()[0]] = append(used[fw.info.AllRoles()[0]], task.Resources)
		}
	}
	for _, one := range m.offers {
		offered[one.role] = append(offered[one.role], one.resources)
	}
	list := []role{}
	for name, one := range byName {
		one.used, one.offered = mesos.Sum(used[name]...), mesos.Sum(offered[name]...)
		list = append(list, *one)
	}
	sort.Slice(list, func(i, j int) bool { return list[i].name < list[j].name })
	return list
}

func (m *Master) rolesView() object {
	list := []object{}
	for _, one := range m.roles() {
		used := one.used.Present()
		list = append(list, object{"name": one.name, "weight": one.weight, "resources": used, "allocated": used, "offered": one.offered.Present(),
			"reserved": object{}, "frameworks": one.frameworks,
			"quota": object{"role": one.name, "guarantee": object{}, "limit": object{}, "consumed": used}})
	}
	return object{"roles": list}
}

func (m *Master) v1Roles() object {
	list := []object{}
	for _, one := range m.roles() {
		shown := object{"name": one.name, "weight": one.weight}
		var ids []mesos.ID
		for _, id := range one.frameworks {
			ids = append(ids, mesos.ID{Value: id})
		}
		if len(ids) > 0 {
			shown["frameworks"] = ids
		}
		if used := one.used.List("", ""); len(used) > 0 {
			shown["resources"] = used
		}
		list = append(list, shown)
	}
	if len(list) == 0 {
		return object{}
	}
	return object{"roles": list}
}
