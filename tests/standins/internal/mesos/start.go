package mesos

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"syscall"

	flagdata "toots.test/standins/flags"
	"toots.test/standins/internal/flags"
)

// LoadFlags reads a program's flags, answers --help and --version, and exits with the real program's messages on wrong flags.
func LoadFlags(component, program string) *flags.Values {
	table, err := flags.LoadTable(flagdata.FS, component)
	if err != nil {
		Abort("flag table: %v", err)
	}
	values, err := table.Parse(os.Args[1:], flags.Environ())
	if err != nil {
		fmt.Fprintf(os.Stderr, "%v\n\nSee `%s --help` for a list of supported flags.\n", err, program)
		os.Exit(1)
	}
	if values.Bool("version") {
		fmt.Println("mesos 1.11.0 (toots stand-in)")
		os.Exit(0)
	}
	if values.Bool("help") {
		fmt.Println(table.Usage(program))
		os.Exit(0)
	}
	for _, warning := range values.Warning {
		Log("W", "%s", warning)
	}
	return values
}

// Announce says at the start that this is not the real program.
func Announce(program string) {
	Log("I", "This is a stand-in for %s 1.11.0, not Apache Mesos; for tests only", program)
	Log("I", "Version: %s", Version)
}

// OwnAddress is the --ip (or the address of the host name, as libprocess takes it) and the --hostname (or what the address
// resolves to, unless told not to look up).
func OwnAddress(values *flags.Values) (ip, hostname string) {
	for _, name := range []string{"ip", "advertise_ip"} {
		if text := values.Get(name); text != "" && net.ParseIP(text) == nil {
			Log("E", "EXIT with status 1: Failed to load flag '%s': Failed to load value '%s': Failed to parse IP as either IPv4 or IPv6:%s", name, text, text)
			fmt.Fprintln(os.Stderr, "\nUsage:  [options]")
			os.Exit(1)
		}
	}
	ip = values.Get("ip")
	if ip == "" {
		ip = hostAddress()
	}
	hostname = values.Get("hostname")
	if hostname == "" {
		hostname = ip
		if names, err := net.LookupAddr(ip); values.Bool("hostname_lookup") && err == nil && len(names) > 0 {
			hostname = trimDot(names[0])
		}
	}
	return ip, hostname
}

func trimDot(name string) string {
	if last := len(name) - 1; last > 0 && name[last] == '.' {
		return name[:last]
	}
	return name
}

func hostAddress() string {
	name, _ := os.Hostname()
	addresses, _ := net.LookupIP(name)
	for _, address := range addresses {
		if address.To4() != nil {
			return address.String()
		}
	}
	return "127.0.0.1"
}

// Reserve binds the address at once, as libprocess does before anything else, and gives the function that begins to
// serve. An address that is not local or a port in use aborts.
func Reserve(ip string, port int) func(http.Handler) {
	address := net.JoinHostPort(ip, strconv.Itoa(port))
	listener, err := net.Listen("tcp", address)
	if err != nil {
		Abort("Failed to initialize: Failed to bind on %s: %s", address, bindReason(err))
	}
	return func(handler http.Handler) {
		go func() { Abort("serving ended: %v", http.Serve(listener, handler)) }()
	}
}

func bindReason(err error) string {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return "Address already in use"
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return "Cannot assign requested address"
	case errors.Is(err, syscall.EACCES):
		return "Permission denied"
	}
	return err.Error()
}
