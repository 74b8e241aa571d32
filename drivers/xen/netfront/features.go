package netfront

import (
	"context"
	"errors"
	"strconv"
	"strings"

	"ampoule/drivers/xen/xenbus"
	"ampoule/libos/device"
	"ampoule/libos/format"
	"ampoule/libos/iopage"
)

// Sizes of an Ethernet header and of an 802.1Q tag, and the largest frame that
// can be received: an IP packet of 64 KiB less one and a tagged header.
const (
	etherLen = 14
	vlanLen  = 4
	maxFrame = 65535 + etherLen + vlanLen
)

// Bounds of an MTU: what IPv4 wants at least (RFC 791), and what fits into the
// largest frame to send.
const (
	minMTU = 68
	maxMTU = 65535 - etherLen - vlanLen
)

// allOffloads is all that the protocol has.
const allOffloads = device.TxChecksum | device.RxChecksum | device.TSO4 | device.TSO6 | device.LRO4 | device.LRO6

// offer is what a backend can do besides what Info says.
type offer struct {
	sg    bool // frames to send may take several pages
	split bool // event channels
}

// negotiate reads what the backend offers, and the first time sets info.
func (d *Device) negotiate(ctx context.Context, p *xenbus.Peer) (o offer, err error) {
	keys, err := p.Read(ctx, []string{"mac", "mtu"}, []string{
		"feature-rx-copy", "feature-sg", "feature-split-event-channels", "feature-no-csum-offload",
		"feature-ipv6-csum-offload", "feature-gso-tcpv4", "feature-gso-tcpv6",
	})
	if err != nil {
		return o, err
	}
	if !keys.Offers("feature-rx-copy") {
		return o, errors.New("the backend does not copy what we receive (feature-rx-copy)")
	}
	o = offer{sg: keys.Offers("feature-sg"), split: keys.Offers("feature-split-event-channels")}
	// What we receive is ours to allow; what we send is the backend's.
	can := device.RxChecksum | device.LRO4 | device.LRO6
	if keys.Offers("feature-ipv6-csum-offload") && !keys.Offers("feature-no-csum-offload") {
		can |= device.TxChecksum
		if o.sg && keys.Offers("feature-gso-tcpv4") {
			can |= device.TSO4
		}
		if o.sg && keys.Offers("feature-gso-tcpv6") {
			can |= device.TSO6
		}
	}
	info, err := parseInfo(keys.Front)
	if err != nil {
		return o, err
	}
	info.Offload = without(can, d.conf.Without)
	if !o.sg {
		info.MTU = min(info.MTU, iopage.Size-etherLen-vlanLen)
	}
	if d.wire.known {
		if err := d.compare(info); err != nil {
			return o, err
		}
	} else {
		d.info, d.wire.known = info, true
	}
	d.setMAC(info.MAC)
	return o, nil
}

// without leaves out offloads, and those that make no sense without them.
func without(f, not device.Feature) device.Feature {
	f &^= not
	if f&device.TxChecksum == 0 {
		f &^= device.TSO4 | device.TSO6
	}
	if f&device.RxChecksum == 0 {
		f &^= device.LRO4 | device.LRO6
	}
	return f
}

// compare refuses a backend that offers less than what Info has promised.
func (d *Device) compare(now device.NetInfo) error {
	if less := d.info.Offload &^ now.Offload; less != 0 {
		return format.Errorf("the backend came back without the offloads %#x", less)
	}
	if now.MTU < d.info.MTU {
		return format.Errorf("the backend came back with an MTU of %d, which was %d", now.MTU, d.info.MTU)
	}
	return nil
}

// parseInfo reads MAC and MTU, which the toolstack has written.
func parseInfo(keys map[string]string) (i device.NetInfo, err error) {
	i = device.NetInfo{MTU: 1500, Batch: batch, Returns: true}
	if i.MAC, err = parseMAC(keys["mac"]); err != nil {
		return i, err
	}
	v, have := keys["mtu"]
	if !have {
		return i, nil
	}
	n, err := strconv.ParseUint(v, 10, 32)
	if err != nil || n < minMTU {
		return i, format.Errorf("MTU %.16q is not a number from %d", v, minMTU)
	}
	i.MTU = int(min(n, maxMTU))
	return i, nil
}

// parseMAC reads "00:16:3e:01:02:03". (encoding/hex would do, and brings fmt.)
func parseMAC(s string) (mac [6]byte, err error) {
	parts := strings.SplitN(s, ":", 7)
	ok := len(parts) == len(mac)
	for i := 0; ok && i < len(mac); i++ {
		n, err := strconv.ParseUint(parts[i], 16, 8)
		ok = err == nil && len(parts[i]) == 2
		mac[i] = byte(n)
	}
	if !ok || mac[0]&1 != 0 || mac == [6]byte{} {
		return [6]byte{}, format.Errorf("MAC %.24q is not an address of one station", s)
	}
	return mac, nil
}
