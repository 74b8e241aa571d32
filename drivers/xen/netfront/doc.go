// Package netfront drives a Xen network interface (public/io/netif.h) and
// implements device.Net.
//
// Purpose: frames between I/O pages and the backend, with no copy on this side
// and no allocation per frame. It uses one transmit and one receive ring, split
// event channels where they are offered, checksum and TCP segmentation offload
// both ways, and frames of several pages both ways. The backend must copy what
// we receive (feature-rx-copy, as all of the last ten years do). There is no
// control ring, no multi-queue (one vCPU needs one pair), no multicast filter
// and no XDP.
//
// # Receive
//
// The ring holds whole pages; the backend copies a frame to the start of one and
// goes on in further ones, and Recv hands out those very pages as a chain. A
// request's id is its slot, since a backend answers every request in the
// request's own slot; nothing else is believed. Extra info takes the slot, and
// with it the page, of a request: that page is offered again.
//
// What a frame's blank checksum covers is not in the protocol: it is found in
// the frame, as the backend does when we send (TCP or UDP, over IPv4 or IPv6
// with or without extension headers; a fragment has no such checksum).
//
// # Transmit
//
// Each page of a frame is one request that names the page's fixed grant; no
// head room is needed. A page goes back to the pool when its own request is
// answered. Answers raise no event: they are looked for when a part of the ring
// is in use, when room or pages are needed, and when Recv finds the pool empty.
// A backend without scatter-gather gets frames of several pages copied into one.
//
// # Which pages are whose
//
// Grants are never revoked, so the rule must be kept here: from its request to
// its response a page is the backend's and nobody else's, also when the backend
// is gone, was found to break the protocol, or the device was closed. All such
// pages go back to the pool together, once the ring is torn down: when the
// backend is Closed (it has unmapped everything before it says so), when its
// directory is gone or it has begun anew (see xenbus), or when the VM was
// restored. A page that the gate finds in use even so (xen.Gate.InUse), as one
// that a dead backend left mapped, stays out of the pool until it is not, and a
// ring in use is not connected again.
//
// # When the backend goes and comes back
//
// All methods answer device.ErrGone from the moment the backend leaves, and both
// event sources become ready once; after a Recv that answered ErrGone, Ready is
// not ready until the device is back, so a receiver just goes on to wait. When it is back, the methods work as before,
// Ready becomes ready once, and Config.Link is told, so that the network stack
// can announce itself. Info stays the same but for the MAC address, which is that
// of the vif there is: a backend that comes back with less than was offered at
// first is refused, and Cause says so. A vif that was removed for good may be
// replaced by one of another number (Move).
//
// # Bounds
//
// Receive keeps at most Config.RxBuffers pages in the ring and leaves
// Config.TxReserve pages of the pool alone, so it can't starve transmit. When
// that stops the refill, Recv hands out frames until Config.RxLow pages are left
// in the ring; further frames are dropped, counted, and their pages offered
// again: the work per call is bounded by the ring.
//
// # Who may call
//
// One mutex guards each direction, so all methods may be called from any
// goroutine; but the two event sources belong to one goroutine each, as
// event.Source says.
//
// # Misbehaving backends
//
// A backend that breaks the ring protocol (an id that is not of the slot or not
// in flight, more responses than requests, a length outside the page, a frame
// of more pages than any frame has) is out of use until the toolstack makes it
// anew; Cause says why. A frame with impossible metadata is dropped and counted;
// a backend that delivers nothing else is out of use too. A length that is
// within bounds but more than was written shows a page's old content, which a
// backend sees anyway.
package netfront
