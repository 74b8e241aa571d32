package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"hash"
	"io"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"time"

	"ampoule/tools/load"
	"ampoule/tools/xenrig/wire"
)

// service reads "echo:SIZE" or "dns:NAME".
func service(s string) (load.Service, error) {
	kind, arg, _ := strings.Cut(s, ":")
	switch kind {
	case "echo":
		n, err := strconv.Atoi(arg)
		if err != nil || n < 4 || n > 65000 {
			return load.Service{}, fmt.Errorf("service %q: want a size of 4 to 65000", s)
		}
		return load.Echo(n), nil
	case "dns":
		return load.DNS(arg), nil
	}
	return load.Service{}, fmt.Errorf("service %q: want echo:SIZE or dns:NAME", s)
}

// udpLoad keeps some requests under way until so many are answered.
func udpLoad(ctx context.Context, args []string) (wire.LoadResult, error) {
	f := flag.NewFlagSet("load", flag.ContinueOnError)
	addr := f.String("addr", "", "address of the guest")
	kind := f.String("service", "echo:100", "echo:SIZE or dns:NAME")
	var l load.Loop
	f.IntVar(&l.Requests, "n", 1000, "requests")
	f.IntVar(&l.Clients, "clients", 1, "requests under way at once")
	f.DurationVar(&l.Timeout, "timeout", time.Second, "for one answer")
	if err := f.Parse(args); err != nil {
		return wire.LoadResult{}, err
	}
	s, err := service(*kind)
	if err != nil {
		return wire.LoadResult{}, err
	}
	var d net.Dialer
	r, err := l.Run(ctx, d.DialContext, *addr, s)
	out := wire.LoadResult{Answered: r.Answered, Retries: r.Retries, Failed: r.Failed, Elapsed: r.Elapsed}
	if r.First != nil {
		out.First = r.First.Error()
	}
	return out, err
}

// stream sends random bytes to an echo service over TCP, ends its direction and
// compares what comes back.
func stream(ctx context.Context, args []string) (wire.StreamResult, error) {
	f := flag.NewFlagSet("stream", flag.ContinueOnError)
	addr := f.String("addr", "", "address of the guest")
	size := f.Int64("bytes", 1<<20, "bytes to send")
	if err := f.Parse(args); err != nil {
		return wire.StreamResult{}, err
	}
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", *addr)
	if err != nil {
		return wire.StreamResult{}, err
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.Close() })()
	start := time.Now()
	sent := make(chan hash.Hash, 1)
	sendErr := make(chan error, 1)
	go func() {
		h := sha256.New()
		source := rand.NewChaCha8([32]byte{1})
		_, err := io.CopyBuffer(struct{ io.Writer }{io.MultiWriter(c, h)}, io.LimitReader(source, *size), make([]byte, 64<<10))
		sendErr <- errors.Join(err, c.(*net.TCPConn).CloseWrite())
		sent <- h
	}()
	got := sha256.New()
	n, err := io.Copy(struct{ io.Writer }{got}, c)
	if err != nil {
		return wire.StreamResult{}, fmt.Errorf("after %d bytes: %w", n, err)
	}
	if err := <-sendErr; err != nil {
		return wire.StreamResult{}, fmt.Errorf("sending: %w", err)
	}
	if h := <-sent; n != *size || !bytes.Equal(h.Sum(nil), got.Sum(nil)) {
		return wire.StreamResult{}, fmt.Errorf("%d bytes came back of %d, or others", n, *size)
	}
	return wire.StreamResult{Bytes: n, Elapsed: time.Since(start)}, nil
}

// keep holds one TCP connection to an echo service and uses it every so often
// until it is stopped. It tells w when the connection stands.
func keep(ctx context.Context, args []string, w io.Writer) (wire.KeepResult, error) {
	f := flag.NewFlagSet("keep", flag.ContinueOnError)
	addr := f.String("addr", "", "address of the guest")
	every := f.Duration("every", 20*time.Millisecond, "between two messages")
	patience := f.Duration("patience", 3*time.Minute, "for one answer; a save on a busy machine takes a minute")
	if err := f.Parse(args); err != nil {
		return wire.KeepResult{}, err
	}
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", *addr)
	if err != nil {
		return wire.KeepResult{}, err
	}
	defer c.Close()
	const grace = 5 * time.Second // for the message under way when told to stop
	defer context.AfterFunc(ctx, func() { c.SetDeadline(time.Now().Add(grace)) })()
	fmt.Fprintln(w, "connected")
	var r wire.KeepResult
	for ctx.Err() == nil {
		start := time.Now()
		c.SetDeadline(start.Add(*patience))
		if err := roundTrip(c, fmt.Appendf(nil, "message %09d\n", r.RoundTrips)); err != nil {
			r.Error = err.Error()
			return r, nil
		}
		r.RoundTrips++
		r.Longest = max(r.Longest, time.Since(start))
		select {
		case <-ctx.Done():
		case <-time.After(*every):
		}
	}
	return r, nil
}

func roundTrip(c net.Conn, message []byte) error {
	if _, err := c.Write(message); err != nil {
		return err
	}
	answer := make([]byte, len(message))
	if _, err := io.ReadFull(c, answer); err != nil {
		return err
	}
	if !bytes.Equal(answer, message) {
		return fmt.Errorf("%q came back as %q", message, answer)
	}
	return nil
}
