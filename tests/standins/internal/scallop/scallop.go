// Package scallop reads command lines as the Scala library Scallop does, which
// Marathon and Chronos use: --flag value or --flag=value, toggles without a
// value, everything unknown, missing, repeated or left over is fatal.
//
// The tables marathon.tsv and chronos.tsv list the flags of the real programs.
package scallop

import (
	_ "embed" // the flag tables
	"fmt"
	"strconv"
	"strings"
)

//go:embed marathon.tsv
var marathonTable string

//go:embed chronos.tsv
var chronosTable string

// Flag is one row of a table.
type Flag struct {
	Name, Default string
	Toggle        bool
	Required      bool
}

// Parser knows the flags of one program.
type Parser struct {
	flags map[string]Flag
	order []string
	// Integers lists number flags that have no default to tell their type by.
	Integers []string
}

// Marathon is the parser of Marathon 1.11.
func Marathon() *Parser {
	p := newParser(marathonTable)
	p.Integers = []string{"http_max_concurrent_requests", "max_apps", "metrics_datadog_port", "metrics_statsd_port"}
	return p
}

// Chronos is the parser of Chronos 3.0.2.
func Chronos() *Parser {
	p := newParser(chronosTable)
	p.Integers = []string{"decline_offer_duration"}
	return p
}

func newParser(table string) *Parser {
	p := &Parser{flags: map[string]Flag{}}
	for _, row := range strings.Split(strings.TrimSpace(table), "\n")[1:] {
		column := append(strings.Split(row, "\t"), "", "", "")
		f := Flag{Name: column[0], Toggle: column[1] == "bool", Required: column[2] == "yes", Default: column[3]}
		if strings.HasPrefix(f.Default, "<") || strings.HasPrefix(f.Default, "$") || strings.HasPrefix(f.Default, "min(") {
			f.Default = "" // depends on the machine
		}
		p.flags[f.Name] = f
		p.order = append(p.order, f.Name)
	}
	return p
}

// Flags lists the table in order.
func (p *Parser) Flags() []Flag {
	var flags []Flag
	for _, name := range p.order {
		flags = append(flags, p.flags[name])
	}
	return flags
}

// Error is what Scallop reports; print it with the prefix "[scallop] Error: ".
type Error string

func (e Error) Error() string { return "[scallop] Error: " + string(e) }

// Values are the flags of one run.
type Values struct {
	given  map[string][]string
	parser *Parser
}

// Parse reads arguments without the program's name.
func (p *Parser) Parse(args []string) (*Values, error) {
	v := &Values{given: map[string][]string{}, parser: p}
	var excess []string
	for i := 0; i < len(args); i++ {
		name, value, assigned := strings.Cut(strings.TrimLeft(args[i], "-"), "=")
		if !isOption(args[i]) {
			excess = append(excess, args[i])
			continue
		}
		flag, known := p.flags[name]
		if !known || !strings.HasPrefix(args[i], "--") {
			return nil, Error(fmt.Sprintf("Unknown option '%s'", name))
		}
		switch {
		case flag.Toggle && assigned:
			return nil, Error(fmt.Sprintf("Bad arguments for option '%s': '%s' - too many arguments", name, value))
		case flag.Toggle:
			v.given[name] = append(v.given[name], "true")
		case assigned:
			v.given[name] = append(v.given[name], value)
		case i+1 < len(args) && !isOption(args[i+1]):
			i++
			v.given[name] = append(v.given[name], args[i])
		default:
			return nil, oneArgument(name, nil)
		}
	}
	if v.Has("help") {
		return v, nil
	}
	if len(excess) > 0 {
		return nil, Error(fmt.Sprintf("Excess arguments provided: '%s'", strings.Join(excess, " ")))
	}
	return v, p.verify(v)
}

// isOption tells an option from a value; a negative number is a value.
func isOption(arg string) bool {
	if len(arg) < 2 || arg[0] != '-' {
		return false
	}
	_, err := strconv.ParseFloat(arg, 64)
	return err != nil
}

func oneArgument(name string, values []string) error {
	return Error(fmt.Sprintf("Bad arguments for option '%s': '%s' - you should provide exactly one argument for this option",
		name, strings.Join(values, " ")))
}

func (p *Parser) verify(v *Values) error {
	for _, name := range p.order {
		flag, values := p.flags[name], v.given[name]
		if len(values) > 1 {
			return oneArgument(name, values)
		}
		if len(values) == 1 && !flag.Toggle && !p.fits(flag, values[0]) {
			return Error(fmt.Sprintf("Bad arguments for option '%s': '%s' - wrong arguments format", name, values[0]))
		}
		if flag.Required && len(values) == 0 && flag.Default == "" {
			return Error(fmt.Sprintf("Required option '%s' not found", name))
		}
	}
	return nil
}

// fits checks the type, which the default tells.
func (p *Parser) fits(flag Flag, value string) bool {
	integer := false
	for _, name := range p.Integers {
		integer = integer || name == flag.Name
	}
	if _, err := strconv.ParseInt(flag.Default, 10, 64); err == nil || integer {
		_, err = strconv.ParseInt(value, 10, 64)
		return err == nil
	}
	if _, err := strconv.ParseFloat(flag.Default, 64); err == nil {
		_, err = strconv.ParseFloat(value, 64)
		return err == nil
	}
	return true
}

// Has reports whether the flag was given.
func (v *Values) Has(name string) bool { return len(v.given[name]) > 0 }

// Get is the flag's value or its default.
func (v *Values) Get(name string) string {
	if v.Has(name) {
		return v.given[name][0]
	}
	return v.parser.flags[name].Default
}

// Int is a number flag.
func (v *Values) Int(name string) int {
	n, _ := strconv.Atoi(v.Get(name))
	return n
}

// Float is a number flag with a fraction.
func (v *Values) Float(name string) float64 {
	n, _ := strconv.ParseFloat(v.Get(name), 64)
	return n
}

// Bool is a toggle; --disable_x turns x off.
func (v *Values) Bool(name string) bool {
	if v.Has("disable_" + name) {
		return false
	}
	return v.Get(name) == "true"
}

// Usage lists the options.
func (p *Parser) Usage() string {
	var out strings.Builder
	for _, flag := range p.Flags() {
		if flag.Toggle {
			fmt.Fprintf(&out, "      --%s\n", flag.Name)
		} else {
			fmt.Fprintf(&out, "      --%s  <arg>\n", flag.Name)
		}
	}
	return out.String()
}
