// Package flags parses command lines and environments as strictly as Mesos' stout flags do
// (mesos 3rdparty/stout/include/stout/flags/flags.hpp). Which flags exist is data: the tables of package flagdata.
package flags

import (
	"bufio"
	"fmt"
	"io/fs"
	"regexp"
	"strings"
)

// Spec is one row of a flag table.
type Spec struct {
	Name     string
	Bool     bool
	Required bool
	Default  string
}

// Table is the set of flags one program knows.
type Table struct {
	Specs   map[string]Spec
	Aliases map[string]string // deprecated alias -> flag
}

// Rows reads a tab separated file without its heading line.
func Rows(fsys fs.FS, name string) ([][]string, error) {
	file, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	var rows [][]string
	scanner := bufio.NewScanner(file)
	for first := true; scanner.Scan(); first = false {
		if !first && strings.TrimSpace(scanner.Text()) != "" {
			rows = append(rows, strings.Split(scanner.Text(), "\t"))
		}
	}
	return rows, scanner.Err()
}

// LoadTable reads the table of a Mesos component ("mesos-master", "mesos-agent"). Flags that exist only in
// special builds (mesos-conditional.tsv) are left out: the usual build refuses them as unknown.
func LoadTable(fsys fs.FS, component string) (*Table, error) {
	rows, err := Rows(fsys, component+".tsv")
	if err != nil {
		return nil, err
	}
	table := &Table{Specs: map[string]Spec{}, Aliases: map[string]string{}}
	for _, row := range rows {
		if len(row) < 3 {
			return nil, fmt.Errorf("short row in %s.tsv: %q", component, row)
		}
		spec := Spec{Name: row[0], Bool: row[1] == "bool", Required: row[2] == "yes"}
		if len(row) > 3 {
			spec.Default = plainDefault(row[3])
		}
		table.Specs[spec.Name] = spec
	}
	conditional, err := Rows(fsys, "mesos-conditional.tsv")
	if err != nil {
		return nil, err
	}
	for _, row := range conditional {
		if row[0] == component {
			delete(table.Specs, row[1])
		}
	}
	aliases, err := Rows(fsys, "mesos-aliases.tsv")
	if err != nil {
		return nil, err
	}
	for _, row := range aliases {
		if _, known := table.Specs[row[2]]; row[0] == component && known {
			table.Aliases[row[1]] = row[2]
		}
	}
	return table, nil
}

var packaged = regexp.MustCompile(`^<[A-Z]+>.*\(packages: (.+)\)$`)

// plainDefault takes the packaged build's value where a default depends on the build or the machine.
func plainDefault(text string) string {
	if found := packaged.FindStringSubmatch(text); found != nil {
		return found[1]
	}
	if text == "linux if root and cgroup freezer available, else posix" {
		return "linux"
	}
	value, _, _ := strings.Cut(text, " (fallback ")
	return value
}
