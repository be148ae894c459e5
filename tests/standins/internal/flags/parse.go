package flags

import (
	"fmt"
	"os"
	"sort"
	"strings"
)

// Values are the loaded flags of one program.
type Values struct {
	table   *Table
	given   map[string]string // as written
	loaded  map[string]string // what counts: files read, booleans spelled out
	Warning []string
}

type raw struct {
	value    string
	hasValue bool
}

// Parse loads args (without the program name) over the environment, in the order and with the texts of the real program.
func (t *Table) Parse(args, environ []string) (*Values, error) {
	values := &Values{table: t, given: map[string]string{}, loaded: map[string]string{}}
	pending, err := t.fromArguments(args)
	if err != nil {
		return nil, err
	}
	t.addEnvironment(pending, environ)
	via := map[string]string{}
	for _, name := range sortedKeys(pending) {
		for _, one := range pending[name] {
			if err := values.load(name, one, via); err != nil {
				return nil, err
			}
		}
	}
	for _, name := range sortedKeys(t.Specs) {
		if _, there := values.loaded[name]; !there && t.Specs[name].Required && !values.Bool("help") && !values.Bool("version") {
			return nil, fmt.Errorf("Flag '%s' is required, but it was not provided", name)
		}
	}
	return values, nil
}

func (t *Table) fromArguments(args []string) (map[string][]raw, error) {
	pending := map[string][]raw{}
	for _, arg := range args {
		if arg == "--" {
			break
		}
		if !strings.HasPrefix(arg, "--") {
			continue // the real programs ignore what does not look like a flag
		}
		name, value, has := strings.Cut(arg[2:], "=")
		pending[name] = append(pending[name], raw{value, has})
	}
	return pending, nil
}

// addEnvironment adds MESOS_X where no argument speaks of x; unknown variables are ignored.
func (t *Table) addEnvironment(pending map[string][]raw, environ []string) {
	for _, variable := range environ {
		key, value, _ := strings.Cut(variable, "=")
		name, isMesos := strings.CutPrefix(key, "MESOS_")
		name = strings.ToLower(name)
		flag := t.resolve(name)
		spec, known := t.Specs[flag]
		if !isMesos || !known || t.inArguments(pending, flag) {
			continue
		}
		pending[name] = []raw{{value, value != "" || !spec.Bool}}
	}
}

func (t *Table) resolve(name string) string {
	if flag, ok := t.Aliases[name]; ok {
		return flag
	}
	return name
}

func (t *Table) inArguments(pending map[string][]raw, flag string) bool {
	for name := range pending {
		if t.resolve(name) == flag || t.resolve(strings.TrimPrefix(name, "no-")) == flag {
			return true
		}
	}
	return false
}

func (v *Values) load(name string, given raw, via map[string]string) error {
	base, negated := name, false
	if _, known := v.table.Specs[v.table.resolve(name)]; !known && strings.HasPrefix(name, "no-") {
		base, negated = name[3:], true
	}
	flag := v.table.resolve(base)
	spec, known := v.table.Specs[flag]
	suffix := ""
	if negated {
		suffix = fmt.Sprintf(" via '%s'", name)
	}
	if !known {
		return fmt.Errorf("Failed to load unknown flag '%s'%s", base, suffix)
	}
	if how, twice := via[flag]; twice {
		return fmt.Errorf("Flag '%s' is already loaded via %s", flag, how)
	}
	via[flag] = fmt.Sprintf("name '%s'", base)
	if base != flag {
		via[flag] = fmt.Sprintf("alias '%s'", base)
		v.Warning = append(v.Warning, fmt.Sprintf("Loaded deprecated flag '%s' via '%s'", flag, base))
	}
	text, err := boolOrValue(spec, base, suffix, negated, given)
	if err != nil {
		return err
	}
	v.given[flag] = text
	v.loaded[flag], err = convert(spec, text)
	if err != nil {
		return fmt.Errorf("Failed to load flag '%s': Failed to load value '%s': %w", base, text, err)
	}
	if path, isFile := strings.CutPrefix(text, "file://"); isFile && flag == "zk" {
		v.given[flag] = path // only the path shows in /flags, never the passwords in the file
	}
	return nil
}

func boolOrValue(spec Spec, name, suffix string, negated bool, given raw) (string, error) {
	switch {
	case spec.Bool && negated && given.hasValue && given.value != "":
		return "", fmt.Errorf("Failed to load boolean flag '%s'%s with value '%s'", name, suffix, given.value)
	case spec.Bool && negated:
		return "false", nil
	case spec.Bool && (!given.hasValue || given.value == ""):
		return "true", nil
	case spec.Bool:
		return given.value, nil
	case negated:
		return "", fmt.Errorf("Failed to load non-boolean flag '%s'%s", name, suffix)
	case !given.hasValue:
		return "", fmt.Errorf("Failed to load non-boolean flag '%s': Missing value", name)
	}
	return given.value, nil
}

// Get is the value that counts, or the default.
func (v *Values) Get(name string) string {
	if value, ok := v.loaded[name]; ok {
		return value
	}
	return v.table.Specs[name].Default
}

// Given reports whether the flag was set by argument or environment.
func (v *Values) Given(name string) bool { _, ok := v.loaded[name]; return ok }

// Bool is a boolean flag's value.
func (v *Values) Bool(name string) bool { return v.Get(name) == "true" }

// Shown is what /flags tells: every flag that has a value.
func (v *Values) Shown() map[string]string {
	shown := map[string]string{}
	for name, spec := range v.table.Specs {
		if value, ok := v.given[name]; ok {
			shown[name] = value
		} else if spec.Default != "" {
			shown[name] = spec.Default
		}
	}
	return shown
}

// Environ is the process environment; a variable so that programs need not import os for it.
func Environ() []string { return os.Environ() }

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	sort.Strings(keys)
	return keys
}
