// Package blkfront is the frontend of Xen's disk protocol (public/io/blkif.h):
// one ring page, one event channel, requests of one page each, ABI x86_64.
// Neither barriers nor persistent grants, indirect segments or several queues are
// asked for.
//
// All memory that a backend sees is granted at boot: the ring page, and Depth I/O
// pages that the disk keeps for ever. Calls are served one after the other, each
// with up to Depth requests in flight. A backend without feature-flush-cache has
// no cache to flush; Flush does nothing then.
//
// # A backend that goes
//
// A call waits while there is no backend, up to Config.Timeout, and makes its
// requests again that the former one has not answered: after a restore, or when
// a backend is closed and comes back. They have the same content, so twice is as
// good as once. When a backend left by itself with writes that were not flushed,
// the next Flush answers device.ErrIO, as those may be lost. A disk that comes
// back with another size is not used.
//
// # What a hostile backend can do
//
// Lie about content. An answer to what is not in flight, a status that there is
// none, an index that jumps or silence beyond Timeout end the connection, and
// this backend is not used again (see package xenbus): calls fail at once until the
// toolstack makes another. Ids count up, so that an
// old answer is not taken for a new one.
package blkfront
