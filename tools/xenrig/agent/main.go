// Command agent is the rig's hand in dom0: it runs commands, takes and gives
// files, connects to guests, and makes load whose answers it checks by content.
// It is linked statically and lies in dom0's initramfs.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"ampoule/tools/xenrig/wire"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "agent:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return fmt.Errorf("want serve, load, stream, keep or peek")
	}
	var result any
	var err error
	switch args[0] {
	case "serve":
		return serve(ctx, fmt.Sprintf(":%d", wire.Port))
	case "peek":
		return peek(args[1:], os.Stdout)
	case "load":
		result, err = udpLoad(ctx, args[1:])
	case "stream":
		result, err = stream(ctx, args[1:])
	case "keep":
		result, err = keep(ctx, args[1:], os.Stdout)
	default:
		return fmt.Errorf("unknown command %q", args[0])
	}
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(result)
}
