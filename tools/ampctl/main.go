// Ampctl is the operator's command for the management plane of appliances: it makes
// keys for a first set-up, shows status, certificates, logs and metrics, and changes
// certificates on one appliance or on many at once. README.md describes it.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"

	"ampoule/tools/ampctl/cli"

	"golang.org/x/sys/unix"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second interrupt ends it at once
	code := cli.Main(ctx, os.Args[1:], cli.IO{
		In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Terminal: terminal(os.Stderr), Getenv: os.Getenv, Now: time.Now,
	})
	stop()
	os.Exit(code)
}

// terminal says whether a file is one.
func terminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}
