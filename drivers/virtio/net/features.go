package virtionet

import (
	"ampoule/drivers/virtio"
	"ampoule/libos/device"
	"ampoule/libos/format"
)

// Feature bits of a network device (virtio 1.2, section 5.1.3).
const (
	FeatureChecksum      = 1 << 0  // VIRTIO_NET_F_CSUM
	FeatureGuestChecksum = 1 << 1  // VIRTIO_NET_F_GUEST_CSUM
	FeatureMTU           = 1 << 3  // VIRTIO_NET_F_MTU
	FeatureMAC           = 1 << 5  // VIRTIO_NET_F_MAC
	FeatureGuestTSO4     = 1 << 7  // VIRTIO_NET_F_GUEST_TSO4
	FeatureGuestTSO6     = 1 << 8  // VIRTIO_NET_F_GUEST_TSO6
	FeatureHostTSO4      = 1 << 11 // VIRTIO_NET_F_HOST_TSO4
	FeatureHostTSO6      = 1 << 12 // VIRTIO_NET_F_HOST_TSO6
	FeatureMergeable     = 1 << 15 // VIRTIO_NET_F_MRG_RXBUF
)

// Features is all that this driver can use. Boot negotiates Accept of what the
// device offers.
const Features = FeatureChecksum | FeatureGuestChecksum | FeatureMTU | FeatureMAC |
	FeatureGuestTSO4 | FeatureGuestTSO6 | FeatureHostTSO4 | FeatureHostTSO6 |
	FeatureMergeable | virtio.FeatureEventIndex | virtio.FeatureVersion1

// Accept is the set to negotiate with a device that offers offered: Features
// less what makes no sense without a feature that is missing (virtio 1.2,
// section 5.1.3.1). Large receive without mergeable buffers is left out too:
// it would take buffers of 64 KiB for every frame.
//
// It is pure, and safe before the Go runtime is up.
//
//go:nosplit
func Accept(offered uint64) uint64 {
	f := offered & Features
	if f&FeatureChecksum == 0 {
		f &^= FeatureHostTSO4 | FeatureHostTSO6
	}
	if f&FeatureGuestChecksum == 0 || f&FeatureMergeable == 0 {
		f &^= FeatureGuestTSO4 | FeatureGuestTSO6
	}
	return f
}

// checkFeatures refuses a negotiated set that this driver can't serve.
func checkFeatures(f uint64) error {
	if f&virtio.FeatureVersion1 == 0 {
		return format.Errorf("features %#x: not a virtio 1.x device", f)
	}
	if extra := f &^ Accept(f); extra != 0 {
		return format.Errorf("features %#x: %#x should not have been negotiated", f, extra)
	}
	return nil
}

// offloads translates a negotiated set.
func offloads(f uint64) (o device.Feature) {
	for _, m := range [...]struct {
		bit uint64
		is  device.Feature
	}{
		{FeatureChecksum, device.TxChecksum},
		{FeatureGuestChecksum, device.RxChecksum},
		{FeatureHostTSO4, device.TSO4},
		{FeatureHostTSO6, device.TSO6},
		{FeatureGuestTSO4, device.LRO4},
		{FeatureGuestTSO6, device.LRO6},
	} {
		if f&m.bit != 0 {
			o |= m.is
		}
	}
	return o
}
