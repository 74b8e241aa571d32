//go:build !ampoule

package platform

import (
	"testing"

	"ampoule/boot/probe"
	"ampoule/boot/pvh"
	"ampoule/drivers/virtio"
	virtioblk "ampoule/drivers/virtio/blk"
	virtionet "ampoule/drivers/virtio/net"
	virtiorng "ampoule/drivers/virtio/rng"
)

// Boot negotiates for drivers that it must not import; this holds the two
// together.
func TestFeatures(t *testing.T) {
	if pvh.WantNet != virtionet.Features {
		t.Errorf("boot wants %#x of network devices, the driver %#x", uint64(pvh.WantNet), uint64(virtionet.Features))
	}
	if pvh.WantBlock != virtioblk.Features {
		t.Errorf("boot wants %#x of disks, the driver %#x", uint64(pvh.WantBlock), uint64(virtioblk.Features))
	}
	if pvh.WantRNG != virtiorng.Features {
		t.Errorf("boot wants %#x of entropy devices, the driver %#x", uint64(pvh.WantRNG), uint64(virtiorng.Features))
	}
}

// Whatever a device offers, boot must choose what the driver accepts.
func TestConsistent(t *testing.T) {
	var bits []uint64
	for b := uint64(1); b != 0; b <<= 1 {
		if virtionet.Features&b != 0 {
			bits = append(bits, b)
		}
	}
	for set := range uint64(1) << len(bits) {
		offered := uint64(0)
		for i, b := range bits {
			if set>>i&1 != 0 {
				offered |= b
			}
		}
		if got, want := probe.Consistent(virtio.NetworkCard, offered), virtionet.Accept(offered); got != want {
			t.Fatalf("of %#x boot takes %#x, the driver %#x", offered, got, want)
		}
	}
	if got := probe.Consistent(virtio.EntropySource, ^uint64(0)); got != ^uint64(0) {
		t.Errorf("of an entropy device's features boot takes %#x", got)
	}
}
