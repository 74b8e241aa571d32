package virtio

import "ampoule/libos/rt/rtabi"

// Chains gives out descriptor ids and remembers which of them form a chain. The
// last chain freed is the first to be used again, so that its entries are still
// in the cache. The zero value has no ids; see Init.
type Chains struct {
	n    int                       // free ids
	free [rtabi.MaxQueueSize]uint8 // a stack of n
	size [rtabi.MaxQueueSize]uint8 // by head: ids of the chain after the head
	next [rtabi.MaxQueueSize]uint8 // by id: the following id of the chain
}

// Init makes all ids of a queue of n entries free.
func (c *Chains) Init(n int) {
	c.n = n
	for i := range c.free[:n] {
		c.free[i] = uint8(n - 1 - i)
	}
}

// Free is the number of ids that Take and Extend can give.
func (c *Chains) Free() int { return c.n }

// Take gives the head of a new chain of one descriptor. The caller has made
// sure by Free that there is an id.
func (c *Chains) Take() uint8 {
	c.n--
	id := c.free[uint8(c.n)]
	c.size[id] = 0
	return id
}

// Extend gives one more id to the chain of head, whose last id is tail. The
// caller has made sure by Free that there is an id.
func (c *Chains) Extend(head, tail uint8) uint8 {
	c.n--
	id := c.free[uint8(c.n)]
	c.next[tail] = id
	c.size[head]++
	return id
}

// Put makes all ids of the chain of head free.
func (c *Chains) Put(head uint8) {
	c.free[uint8(c.n)] = head
	c.n++
	for left := c.size[head]; left > 0; left-- {
		head = c.next[head]
		c.free[uint8(c.n)] = head
		c.n++
	}
}
