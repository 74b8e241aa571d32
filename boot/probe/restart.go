package probe

import "ampoule/libos/rt/rtabi"

// Restart takes device n of out back to where Start left it, whatever was done
// with it since: reset, which ends every access of its to memory, then the same
// features, the same pages, cleared, and the same vectors. Its configuration
// is not read again. A device that fails is stopped, its entries in out become
// zero, and the fault is added; its number is not given to another.
func Restart(bus *Bus, req *Request, out *Result, n int) Code {
	if uint(n) >= rtabi.MaxDevices || uint32(n) >= out.NDevices || out.from[n] >= rtabi.MaxDevices {
		return NoDevice
	}
	f, d, p := &out.Found[out.from[n]], &out.Devices[n], &out.Ports[n]
	c := f.restart(bus, req, d, p)
	if c != OK {
		out.drop(bus, f, uint32(n), c)
	}
	return c
}

func (f *Found) restart(bus *Bus, req *Request, d *rtabi.Device, p *Port) Code {
	if !f.reset(bus) {
		return ResetStuck
	}
	features, c := f.negotiate(bus, req)
	if c != OK {
		return c
	}
	if features != d.Features {
		return FeaturesRefused
	}
	if f.pci() {
		bus.Write16(f.common()+pciConfigVector, noVector)
	}
	for q := range d.Queues {
		size := d.Queues[q].Size
		if size == 0 {
			continue
		}
		if f.selectQueue(bus, uint32(q)) < size {
			return QueueMissing
		}
		if f.queueReady(bus) {
			return QueueBusy
		}
		bus.ClearPage(p.Desc[q])
		bus.ClearPage(uint64(d.Queues[q].Ring))
		if c := f.attach(bus, uint32(q), size, p.Desc[q], uint64(d.Queues[q].Ring)); c != OK {
			return c
		}
	}
	return f.goLive(bus)
}
