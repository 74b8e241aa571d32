package xentest

import (
	"sync"

	"ampoule/drivers/xen"
	"ampoule/drivers/xen/abi"
)

// Console is xenconsoled: it takes and gives only what a test asks for.
type Console struct {
	d    *Dom0
	page []byte
	mu   sync.Mutex
	port xen.Port
}

func newConsole(d *Dom0) *Console {
	c := &Console{d: d, page: mapPages(d.tb, 1), port: d.bind(nil)}
	for _, off := range []int{abi.ConsoleInCons, abi.ConsoleInProd, abi.ConsoleOutCons, abi.ConsoleOutProd} {
		store(c.page, off, 0xffffff00)
	}
	return c
}

// Line is the console's page and port.
func (c *Console) Line() (xen.Line, error) {
	return xen.Line{Page: xen.PageOf(c.page), Port: c.Port()}, nil
}

// Port is the VM's port.
func (c *Console) Port() xen.Port {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.port
}

// restore gives the console a new port.
func (c *Console) restore() {
	port := c.d.bind(nil)
	c.mu.Lock()
	c.port = port
	c.mu.Unlock()
}

// Take takes up to n bytes that the VM wrote.
func (c *Console) Take(n int) (b []byte) {
	prod, cons := load(c.page, abi.ConsoleOutProd), load(c.page, abi.ConsoleOutCons)
	for ; cons != prod && len(b) < n; cons++ {
		b = append(b, c.page[abi.ConsoleOutAt+cons%abi.ConsoleOut])
	}
	store(c.page, abi.ConsoleOutCons, cons)
	return b
}

// Type puts bytes into the input ring, and says how many there was room for.
func (c *Console) Type(b string) (n int) {
	prod, cons := load(c.page, abi.ConsoleInProd), load(c.page, abi.ConsoleInCons)
	for ; n < len(b) && prod-cons < abi.ConsoleIn; prod++ {
		c.page[abi.ConsoleInAt+prod%abi.ConsoleIn] = b[n]
		n++
	}
	store(c.page, abi.ConsoleInProd, prod)
	return n
}

// SetOutCons and SetInProd move an index, whatever is in the ring.
func (c *Console) SetOutCons(v uint32) { store(c.page, abi.ConsoleOutCons, v) }

// SetInProd moves the index of the input, whatever is in the ring.
func (c *Console) SetInProd(v uint32) { store(c.page, abi.ConsoleInProd, v) }

// OutProd and InCons are the VM's indexes.
func (c *Console) OutProd() uint32 { return load(c.page, abi.ConsoleOutProd) }

// InCons is how far the VM has taken the input.
func (c *Console) InCons() uint32 { return load(c.page, abi.ConsoleInCons) }
