// Package virtionet drives a virtio network device (virtio 1.2, section 5.1)
// and implements device.Net.
//
// Purpose: frames between I/O pages and the device, with no copy and no
// allocation after New. It uses one receive and one transmit queue, checksum
// and TCP segmentation offload both ways, mergeable receive buffers, and the
// event index. There is no control queue: no VLAN or MAC filter, no promiscuous
// mode, no multiqueue (one vCPU needs one pair), no link status.
//
// # Receive
//
// The ring holds whole pages. The device puts its header and the frame at the
// start of a page and goes on in further pages when the frame is larger; Recv
// hands out those very pages as a chain. The header's bytes are the head room
// that Send needs, so a received frame can be sent back as it is:
//
//	page    0           12                       12+n
//	        | header    | frame                  | old content
//	        ^ HeadRoom  ^ window of n bytes
//
// A released page goes to the pool, and Recv refills the ring from the pool.
// The descriptor of a page stays as it is when the page leaves the ring: when
// the same page comes back, which the pool's last-in-first-out order makes the
// usual case, it is offered again without a gate call. Keep RxBuffers at half of
// the queue or below to leave ids for the pages that are elsewhere.
//
// # Transmit
//
// Send places the header before the frame, in the head room, so that a frame of
// one page takes one descriptor. Pages that the device is done with go back to
// the pool in bulk: when a part of the ring is in use, when room or pages are
// needed, and when Recv finds the pool empty.
//
// The tail of a frame (iopage.Buf.SetTail) is memory that the gate lets the transmit queue
// name besides I/O pages: read-only data of the image. It takes a descriptor for each
// 4 KiB, wherever it begins, and nothing gives it back.
//
// # Bounds
//
// Receive keeps at most Config.RxBuffers pages in the ring and leaves
// Config.TxReserve pages of the pool alone, so it can't starve transmit. When
// that stops the refill, Recv hands out frames until Config.RxLow pages are left
// in the ring; further frames are dropped, counted, and their pages offered
// again: the queue lives on, and the work per call is bounded.
//
// # Who may call
//
// One mutex guards each direction, so all methods may be called from any
// goroutine; but the two event sources belong to one goroutine each, as
// event.Source says.
//
// # Misbehaving devices
//
// A device that breaks the ring protocol (an id that is not in flight, a used
// index ahead of what it was given, a length outside the buffer, a num_buffers
// that is zero or more than what arrived) is out of use from then on: every
// method answers device.ErrGone, Cause says why, and pages that the device had
// are not used again. A frame with impossible metadata (checksum field outside
// the frame, segmentation without a segment size, shorter than an Ethernet
// header) is dropped and counted. A length that is within bounds but more than
// was written shows a page's old content, which a device sees anyway.
package virtionet
