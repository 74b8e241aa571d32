package netif

import (
	"context"
	"io"
	"testing"

	"gvisor.dev/gvisor/pkg/tcpip/header"

	"ampoule/libos/device"
	"ampoule/libos/netif/netiftest"
)

// relinked is a fast path that notes what it is told.
type relinked struct {
	udpEcho
	info chan device.NetInfo
}

func (r *relinked) Relink(i device.NetInfo) { r.info <- i }

// TestDeviceReturns: a device goes and comes back, as it was and with another
// MAC address. Connections live on, and the neighbours and the fast path are
// told of the address.
func TestDeviceReturns(t *testing.T) {
	da, db := netiftest.Pair(netiftest.Options{}, netiftest.Options{Returns: true})
	t.Cleanup(func() { da.Check(t); db.Check(t) })
	a := newTestStack(t, da, testConfig(addrA4, addrA6), testLimits())
	b := newTestStack(t, db, testConfig(addrB4, addrB6), testLimits())
	fast := &relinked{info: make(chan device.NetInfo, 4)}
	b.SetFastPath(fast)
	l, err := b.Listen("tcp", ":8")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		c, err := l.Accept()
		if err == nil {
			io.Copy(c, c)
		}
	}()
	// Over IPv6, since gVisor on the other side does not listen to ARP that
	// nobody asked for.
	c, err := a.DialContext(context.Background(), "tcp", "["+addrB6+"]:8")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	exchange(t, c, []byte("before"))
	same := db.Info().MAC
	for _, mac := range [][6]byte{same, {2, 0, 0, 0, 0, 0x22}, {2, 0, 0, 0, 0, 0x23}} {
		seen := make(chan [6]byte, 64)
		db.Tap(func(f []byte, _ device.Meta) {
			if p, _ := parse(f); p.etherType == typeARP && header.ARP(f[14:]).Op() == header.ARPRequest {
				select {
				case seen <- [6]byte(f[22:28]): // sender's address
				default:
				}
			}
		})
		db.Leave()
		eventually(t, "the device is gone", func() bool { return b.Stats().Gone })
		db.Return(mac)
		if got := <-seen; got != mac {
			t.Errorf("announced %x, want %x", got, mac)
		}
		exchange(t, c, []byte("after"))
		if got := [6]byte([]byte(b.link.LinkAddress())); got != mac {
			t.Errorf("the stack has %x, want %x", got, mac)
		}
		if mac == same {
			continue
		}
		if i := <-fast.info; i.MAC != mac {
			t.Errorf("the fast path was told %x, want %x", i.MAC, mac)
		}
	}
	db.Tap(nil)
}
