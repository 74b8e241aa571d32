package netif

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"ampoule/libos/netif/netiftest"
)

// constant lies where a write is a fault. Its period is no power of two.
const (
	constant31  = "what is sent from where it lies"
	constant256 = constant31 + constant31 + constant31 + constant31 + constant31 + constant31 + constant31 + constant31
	constant2k  = constant256 + constant256 + constant256 + constant256 + constant256 + constant256 + constant256 + constant256
	constant16k = constant2k + constant2k + constant2k + constant2k + constant2k + constant2k + constant2k + constant2k
	constant128 = constant16k + constant16k + constant16k + constant16k + constant16k + constant16k + constant16k + constant16k
	constant1m  = constant128 + constant128 + constant128 + constant128 + constant128 + constant128 + constant128 + constant128
)

// between is both ends of one connection of which the second is watched: told has a
// token when it is worth trying again.
func between(t *testing.T, oa, ob netiftest.Options, host string) (a, b *Conn, told chan struct{}) {
	t.Helper()
	a, b = joined(t, oa, ob, host)
	told = make(chan struct{}, 1)
	b.Watch(func() {
		select {
		case told <- struct{}{}:
		default:
		}
	})
	return a, b, told
}

// writeAll writes parts as there is room.
func writeAll(c *Conn, told chan struct{}, parts [][]byte) error {
	for len(parts) > 0 {
		n, err := c.TryWrite(parts)
		if err != nil {
			return err
		}
		for len(parts) > 0 && n >= len(parts[0]) {
			n, parts = n-len(parts[0]), parts[1:]
		}
		if len(parts) == 0 {
			return nil
		}
		parts[0] = parts[0][n:]
		select {
		case <-told:
		case <-time.After(20 * time.Second):
			return fmt.Errorf("nothing is told with %d parts left", len(parts))
		}
	}
	return nil
}

// mixture is parts of text, some whole, some in pieces of any length, between others.
func mixture(text string) (parts [][]byte, whole []byte) {
	all := view(text)
	add := func(b []byte) { parts, whole = append(parts, b), append(whole, b...) }
	add([]byte("head"))
	add(all)
	for i := range 200 {
		add(payload(i * 7 % 400))
		add(nil)
		at := i * 3001 % len(all)
		add(all[at:min(at+i*i, len(all))])
	}
	add(payload(40000))
	add(all[1:])
	add(all[5:100])
	return parts, whole
}

func TestSendFrom(t *testing.T) {
	lossy := netiftest.Options{Loss: 0.01, Reorder: 0.02, Repeat: 0.005, Seed: 5}
	large := lossy
	large.Offload = offloadTx
	tails, lossyTails := netiftest.Options{Offload: offloadTx, Constants: constant1m}, large
	lossyTails.Constants = constant1m[1000:]
	all := append(variants[:len(variants):len(variants)], []struct {
		name string
		a, b netiftest.Options
	}{{"lossy", lossy, lossy}, {"lossy-offload", lossy, large}, {"lossy-tails", lossy, lossyTails}, {"tails", tails, tails},
		{"tails-no-offload", tails, netiftest.Options{Constants: constant1m}}}...)
	k := NewConstant(constant1m)
	for _, v := range all {
		hosts := []string{addrB4, addrB6}
		if v.b.Loss > 0 {
			hosts = hosts[:1] // takes its time
		}
		for _, host := range hosts {
			t.Run(v.name+"/"+host, func(t *testing.T) {
				v.b.Tailed = new(atomic.Int64)
				a, b, told := between(t, v.a, v.b, host)
				b.SendFrom(k)
				parts, want := mixture(constant1m)
				wrote := make(chan error, 1)
				go func() {
					err := writeAll(b, told, parts)
					b.CloseWrite()
					wrote <- err
				}()
				a.SetDeadline(time.Now().Add(30 * time.Second))
				got, err := io.ReadAll(a)
				if err != nil || !bytes.Equal(got, want) {
					t.Errorf("%d octets came of %d, or others: %v", len(got), len(want), err)
				}
				if err := <-wrote; err != nil {
					t.Error(err)
				}
				_, trimmed := b.ep.(constantEndpoint)
				if n := v.b.Tailed.Load(); trimmed && v.b.Constants != "" && n < 2<<20 || v.b.Constants == "" && n > 0 {
					t.Errorf("%d octets were sent from where they lie", n)
				}
			})
		}
	}
}

// TestSendFromHeap: memory that could be written and reused is not.
func TestSendFromHeap(t *testing.T) {
	text := strings.Clone(constant1m[:100<<10])
	sum := sha256.Sum256([]byte(text))
	a, b, told := between(t, netiftest.Options{Offload: offloadTx, Loss: 0.02}, netiftest.Options{Offload: offloadTx, Loss: 0.02}, addrB4)
	b.SendFrom(NewConstant(text))
	for range 5 {
		go writeAll(b, told, [][]byte{[]byte("head"), view(text), []byte("tail")})
		a.SetDeadline(time.Now().Add(30 * time.Second))
		got := make([]byte, len(text)+8)
		if _, err := io.ReadFull(a, got); err != nil || string(got) != "head"+text+"tail" {
			t.Fatalf("other octets came: %v", err)
		}
		// What goes the other way is written to the stack's memory.
		if _, err := a.Write(bytes.Repeat([]byte{0xff}, 10000)); err != nil {
			t.Fatal(err)
		}
		for n := 0; n < 10000; {
			k, err := b.TryRead(got)
			if err != nil {
				t.Fatal(err)
			}
			if n += k; k == 0 {
				time.Sleep(time.Millisecond)
			}
		}
	}
	if sha256.Sum256([]byte(text)) != sum {
		t.Error("the string has changed")
	}
}

// TestSendFromStalled: a peer that takes nothing for a while gets all of it then, one
// that resets ends the writer.
func TestSendFromStalled(t *testing.T) {
	for _, reset := range []bool{false, true} {
		a, b, told := between(t, netiftest.Options{Offload: offloadTx}, netiftest.Options{Offload: offloadTx}, addrB4)
		b.SendFrom(NewConstant(constant1m))
		parts, want := mixture(constant1m)
		wrote := make(chan error, 1)
		go func() { wrote <- writeAll(b, told, parts) }()
		time.Sleep(1500 * time.Millisecond) // windows close, probes are sent
		if reset {
			a.Abort()
			if err := <-wrote; err == nil {
				t.Error("the writer goes on after a reset")
			}
			continue
		}
		a.SetDeadline(time.Now().Add(30 * time.Second))
		got := make([]byte, len(want))
		if n, err := io.ReadFull(a, got); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d octets came, or others: %v", n, err)
		}
		if err := <-wrote; err != nil {
			t.Error(err)
		}
	}
}
