package registrator

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
)

// Version names the program and marks it as a stand-in.
const Version = "v7-standin"

// Options is the command line.
type Options struct {
	IP, Tags, Deregister         string
	Internal, Cleanup            bool
	TTLRefresh, TTL, Resync      int
	RetryAttempts, RetryInterval int
	URI                          string
}

// ErrUsage means that the usage was printed: exit code 2.
var ErrUsage = errors.New("usage")

// Flags defines the flags of v7 on a set of their own.
func Flags(o *Options, output io.Writer) *flag.FlagSet {
	set := flag.NewFlagSet("registrator", flag.ContinueOnError)
	set.SetOutput(output)
	set.StringVar(&o.IP, "ip", "", "IP for ports mapped to the host")
	set.BoolVar(&o.Internal, "internal", false, "Use internal ports instead of published ones")
	set.IntVar(&o.TTLRefresh, "ttl-refresh", 0, "Frequency with which service TTLs are refreshed")
	set.IntVar(&o.TTL, "ttl", 0, "TTL for services (default is no expiry)")
	set.StringVar(&o.Tags, "tags", "", "Append tags for all registered services")
	set.IntVar(&o.Resync, "resync", 0, "Frequency with which services are resynchronized")
	set.StringVar(&o.Deregister, "deregister", "always", "Deregister exited services \"always\" or \"on-success\"")
	set.IntVar(&o.RetryAttempts, "retry-attempts", 0, "Max retry attempts to establish a connection with the backend. Use -1 for infinite retries")
	set.IntVar(&o.RetryInterval, "retry-interval", 2000, "Interval (in millisecond) between retry-attempts.")
	set.BoolVar(&o.Cleanup, "cleanup", false, "Remove dangling services")
	set.Usage = func() {
		fmt.Fprintf(output, "Usage of registrator:\n  registrator [options] <registry URI>\n\n")
		set.PrintDefaults()
	}
	return set
}

// Parse reads the command line. ErrUsage has been explained on output; any
// other error is a wrong combination and ends with exit code 1.
func Parse(args []string, output io.Writer) (Options, error) {
	var o Options
	set := Flags(&o, output)
	if err := set.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return o, err
		}
		return o, ErrUsage
	}
	if set.NArg() != 1 {
		if set.NArg() == 0 {
			fmt.Fprint(output, "Missing required argument for registry URI.\n\n")
		} else {
			fmt.Fprintln(output, "Extra unparsed arguments:")
			fmt.Fprintln(output, " ", strings.Join(set.Args()[1:], " "))
			fmt.Fprint(output, "Options should come before the registry URI argument.\n\n")
		}
		set.Usage()
		return o, ErrUsage
	}
	o.URI = set.Arg(0)
	switch {
	case (o.TTL == 0) != (o.TTLRefresh == 0):
		return o, errors.New("-ttl and -ttl-refresh must be specified together or not at all")
	case o.TTL > 0 && o.TTL <= o.TTLRefresh:
		return o, errors.New("-ttl must be greater than -ttl-refresh")
	case o.RetryInterval <= 0:
		return o, errors.New("-retry-interval must be greater than 0")
	case o.Deregister != "always" && o.Deregister != "on-success":
		return o, errors.New(`-deregister must be "always" or "on-success"`)
	}
	return o, nil
}
