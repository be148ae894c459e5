package mesos

import (
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// Log prints a line in the manner of glog; level is one of I, W, E, F.
func Log(level, format string, args ...any) {
	fmt.Fprintf(os.Stderr, "%s%s %5d standin] %s\n", level, time.Now().Format("0102 15:04:05.000000"), os.Getpid(), fmt.Sprintf(format, args...))
}

// Exit ends with status 1, as `EXIT with status 1` of the real program.
func Exit(format string, args ...any) {
	Log("E", "EXIT with status 1: "+format, args...)
	os.Exit(1)
}

// Abort ends with status 134, which is what a shell or Docker tells of the real program's abort().
func Abort(format string, args ...any) {
	Log("F", format, args...)
	fmt.Fprintln(os.Stderr, "*** Check failure stack trace: ***")
	os.Exit(134)
}

// ExitOnTerminate makes SIGTERM and SIGINT end the process at once with the shell's status (143, 130), also as
// process 1 of a container. Nothing is closed: like the real program it leaves its ZooKeeper session to time out.
func ExitOnTerminate() {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	go func() {
		got := (<-signals).(syscall.Signal)
		Log("W", "RAW: Received signal %s; exiting", map[syscall.Signal]string{syscall.SIGTERM: "SIGTERM", syscall.SIGINT: "SIGINT"}[got])
		os.Exit(128 + int(got))
	}()
}
