package netif

import (
	"bytes"
	"context"
	"crypto/sha256"
	"io"
	"math/rand/v2"
	"net"
	"testing"
	"time"

	"ampoule/libos/device"
	"ampoule/libos/netif/netiftest"
)

const (
	offloadTx = device.TxChecksum | device.TSO4 | device.TSO6
	offloadRx = device.RxChecksum | device.LRO4 | device.LRO6
)

func TestUDP(t *testing.T) {
	for _, v := range variants {
		t.Run(v.name, func(t *testing.T) {
			a, b := pair(t, v.a, v.b)
			srv, err := b.ListenPacket("udp", ":53")
			if err != nil {
				t.Fatal(err)
			}
			defer srv.Close()
			go echoPackets(srv)
			for _, host := range []string{addrB4, "[" + addrB6 + "]"} {
				c, err := a.DialContext(context.Background(), "udp", host+":53")
				if err != nil {
					t.Fatal(err)
				}
				for _, n := range []int{1, 2, 63, 512, 1400} {
					exchange(t, c, payload(n))
				}
				c.Close()
			}
		})
	}
}

// exchange sends p and wants it back.
func exchange(t *testing.T, c net.Conn, p []byte) {
	t.Helper()
	got := make([]byte, len(p)+1)
	c.SetReadDeadline(time.Now().Add(5 * time.Second))
	if _, err := c.Write(p); err != nil {
		t.Fatalf("%d bytes: %v", len(p), err)
	}
	n, err := c.Read(got)
	if err != nil || !bytes.Equal(got[:n], p) {
		t.Fatalf("%d bytes: got %d other bytes, %v", len(p), n, err)
	}
}

func echoPackets(c net.PacketConn) {
	b := make([]byte, 4096)
	for {
		n, from, err := c.ReadFrom(b)
		if err != nil {
			return
		}
		c.WriteTo(b[:n], from)
	}
}

func payload(n int) []byte {
	b := make([]byte, n)
	rng := rand.NewChaCha8([32]byte{byte(n), byte(n >> 8)})
	rng.Read(b)
	return b
}

// variants are the devices under which everything has to work.
var variants = []struct {
	name string
	a, b netiftest.Options
}{
	{name: "plain"},
	{name: "tx-offload", a: netiftest.Options{Offload: offloadTx}, b: netiftest.Options{Offload: offloadTx}},
	{name: "all-offload", a: netiftest.Options{Offload: offloadTx | offloadRx}, b: netiftest.Options{Offload: offloadTx | offloadRx}},
	{name: "checksum-only", a: netiftest.Options{Offload: device.TxChecksum}, b: netiftest.Options{Offload: device.RxChecksum}},
	{name: "mixed", a: netiftest.Options{Offload: offloadTx}, b: netiftest.Options{Offload: offloadRx}},
	{name: "pieces", a: netiftest.Options{RxPiece: 40}, b: netiftest.Options{RxPiece: 100, Offload: offloadRx}},
	{name: "jumbo", a: netiftest.Options{MTU: 9000}, b: netiftest.Options{MTU: 9000}},
}

func TestTCP(t *testing.T) {
	for _, v := range variants {
		t.Run(v.name, func(t *testing.T) {
			a, b := pair(t, v.a, v.b)
			transfer(t, a, b, addrB4+":80", 16<<20)
			transfer(t, a, b, "["+addrB6+"]:80", 4<<20)
		})
	}
}

func TestTCPLossy(t *testing.T) {
	for seed := range uint64(3) {
		o := netiftest.Options{Loss: 0.01, Reorder: 0.02, Repeat: 0.005, Seed: 2 * seed}
		p := o
		p.Seed++
		a, b := pair(t, o, p)
		transfer(t, a, b, addrB4+":80", 16<<20)
		transfer(t, a, b, "["+addrB6+"]:80", 1<<20)
		if a.gv.Stats().TCP.Retransmits.Value() == 0 {
			t.Error("nothing was sent twice: the wire lost nothing")
		}
	}
}

// transfer sends n bytes from a to b and back at the same time, and compares
// the checksums.
func transfer(t *testing.T, a, b *Stack, addr string, n int) {
	t.Helper()
	l, err := b.Listen("tcp", ":80")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	data := payload(n)
	want := sha256.Sum256(data)
	served := make(chan [32]byte, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			t.Error(err)
			close(served)
			return
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(30 * time.Second))
		sent := make(chan struct{})
		go func() { c.Write(data); close(sent) }()
		h := sha256.New()
		io.CopyN(h, c, int64(n))
		<-sent
		served <- [32]byte(h.Sum(nil))
	}()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	c, err := a.DialContext(ctx, "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(30 * time.Second))
	go c.Write(data)
	h := sha256.New()
	if _, err := io.CopyN(h, c, int64(n)); err != nil {
		t.Fatalf("down: %v", err)
	}
	if got := [32]byte(h.Sum(nil)); got != want {
		t.Error("down: other data arrived")
	}
	if got := <-served; got != want {
		t.Error("up: other data arrived")
	}
}
